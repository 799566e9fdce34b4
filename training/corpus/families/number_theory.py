"""Greatest common divisor, least common multiple, and odd and even numbers with their proofs."""

from __future__ import annotations

import random
import re

from corpus.problem import Family, Problem, pick
from corpus.step_check import check_steps
from corpus.worked import divide, multiply, subtract

_GCD_ZH = ("求{a}和{b}的最大公约数。", "{a}与{b}的最大公因数是多少？", "请用辗转相除法求{a}和{b}的最大公约数。",
           "计算gcd({a},{b})。", "两根绳子长{a}厘米和{b}厘米，剪成同样长的小段且没有剩余，每段最长多少厘米？")
_GCD_EN = ("What is the greatest common divisor of {a} and {b}?", "Find the GCD of {a} and {b}.",
           "Compute gcd({a},{b}).",
           "Use Euclid's algorithm to find the greatest common divisor of {a} and {b}.",
           "Two ropes of {a} cm and {b} cm are cut into equal pieces with nothing left. "
           "How long in cm can a piece be at most?")
_LCM_ZH = ("求{a}和{b}的最小公倍数。", "{a}与{b}的最小公倍数是多少？", "计算lcm({a},{b})。",
           "两盏灯分别每{a}秒和每{b}秒闪一次，现在同时闪，至少多少秒后再次同时闪？", "既是{a}的倍数又是{b}的倍数的最小正整数是几？")
_LCM_EN = ("What is the least common multiple of {a} and {b}?", "Find the LCM of {a} and {b}.",
           "Compute lcm({a},{b}).",
           "One lamp flashes every {a} seconds, another every {b} seconds. They flash "
           "together now. After how many seconds do they flash together again?",
           "What is the smallest positive number divisible by both {a} and {b}?")
_BOTH_ZH = ("求{a}和{b}的最大公约数和最小公倍数。", "{a}与{b}的最大公因数、最小公倍数各是多少？", "请分别求出{a}和{b}的最大公约数与最小公倍数。")
_BOTH_EN = ("Find the GCD and the LCM of {a} and {b}.",
            "What are the greatest common divisor and the least common multiple of {a} and {b}?",
            "For {a} and {b}, find first the GCD and then the LCM.")


def _step(a: int, b: int) -> list[str]:
    """a÷b=q…r; for divisors of two or more digits the product and the difference come first."""
    quotient = a // b
    if b < 10 or quotient > 9:
        return [divide(a, b)]
    lines = []
    if quotient > 1:
        lines.append(multiply(b, quotient))
    if a % b or quotient == 1:
        lines.append(subtract(a, b * quotient))
    return lines + [f"{a}÷{b}={quotient}" + (f"…{a % b}" if a % b else "")]


class GcdLcm(Family):
    """Key: (gcd|lcm|both, a, b)."""

    name = "gcd_lcm"

    def solve(self, key: tuple, language: str) -> str:
        kind, a, b = key
        common = max(x for x in range(1, min(a, b) + 1) if a % x == 0 == b % x)
        multiple = next(x for x in range(a, a * b + 1, a) if x % b == 0)
        return {"gcd": f"{common}", "lcm": f"{multiple}", "both": f"{common},{multiple}"}[kind]

    def make(self, rng: random.Random, language: str) -> Problem:
        zh = language == "zh"
        kind = pick(rng, "gcd", "gcd", "gcd", "lcm", "lcm", "both")
        a, b = self._pair(rng, kind)
        words = {"gcd": (_GCD_ZH, _GCD_EN), "lcm": (_LCM_ZH, _LCM_EN), "both": (_BOTH_ZH, _BOTH_EN)}[kind]
        question = pick(rng, *words[0 if zh else 1]).format(a=a, b=b)
        large, small = max(a, b), min(a, b)
        lines = [f"{large}，{small}，辗转相除：" if zh else f"{large}, {small}, Euclid:"]
        x, y = large, small
        while y:
            lines += _step(x, y)
            x, y = y, x % y
        lines.append(f"最大公约数是{x}。" if zh else f"GCD is {x}.")
        if kind != "gcd":
            lines.append(f"最小公倍数：{small}÷{x}×{large}" if zh else f"LCM: {small}÷{x}×{large}")
            if x > 1:
                lines += _step(small, x) if small > x else [f"{small}÷{x}=1"]
            lines.append(multiply(large, small // x) if small > x else f"{large}×1={large}")
        result = self.solve((kind, a, b), language)
        if kind == "both":
            answer = (f"{a}和{b}的最大公约数和最小公倍数：\\boxed{{{result}}}。" if zh else
                      f"GCD and LCM of {a} and {b}: \\boxed{{{result}}}.")
        else:
            name = {"gcd": ("最大公约数", "GCD"), "lcm": ("最小公倍数", "LCM")}[kind][0 if zh else 1]
            answer = (f"{a}和{b}的{name}是\\boxed{{{result}}}。" if zh else
                      f"The {name} of {a} and {b} is \\boxed{{{result}}}.")
        return Problem(self.name, language, (kind, a, b), question, "\n".join(lines), answer, result)

    def _pair(self, rng, kind) -> tuple[int, int]:
        """Different numbers up to 500, often with a common divisor, few steps of Euclid."""
        most = 500 if kind == "gcd" else 200
        while True:
            common = rng.randint(1, 60)
            a, b = common * rng.randint(2, 40), common * rng.randint(1, 40)
            if a == b or max(a, b) > most or min(a, b) < 4:
                continue
            x, y, steps, fine = max(a, b), min(a, b), 0, True
            while y:
                fine = fine and (x // y < 10 or y < 10)
                x, y, steps = y, x % y, steps + 1
            if fine and steps <= 4 and (kind == "gcd" or min(a, b) // x < 50) and steps >= rng.randint(1, 3):
                return a, b


# Statement: (letter if none is asked for, Chinese claims, English claims, Chinese steps, English steps,
# needed: each entry lists spellings of which one must be in the reply). L is the letter, J a second one.
_PROOFS = {
    "odd_square_8": (
        "k", ("任意奇数的平方减1都能被8整除", "每个奇数的平方减1都是8的倍数"),
        ("the square of any odd number minus 1 is divisible by 8", "n²-1 is a multiple of 8 for every odd n"),
        ("奇数写成2L+1。", "(2L+1)²-1=4L²+4L=4L(L+1)", "L和L+1相邻，一个是偶数。", "4L(L+1)能被8整除。"),
        ("An odd number is 2L+1.", "(2L+1)²-1=4L²+4L=4L(L+1)", "L and L+1 are neighbours, one is even.",
         "4L(L+1) is divisible by 8."),
        (("=4L(L+1)", "=4(L+1)L"), ("偶", "even"), ("8整除", "8的倍数", "divisibleby8", "multipleof8"))),
    "consecutive_product_2": (
        "n", ("两个连续整数的积是偶数", "相邻两个整数的乘积一定能被2整除"),
        ("the product of two consecutive integers is even", "two neighbouring integers have an even product"),
        ("两个整数是L和L+1。", "L和L+1相邻，一个是偶数。", "L(L+1)=L²+L能被2整除。"),
        ("The integers are L and L+1.", "L and L+1 are neighbours, one is even.",
        "L(L+1)=L²+L is divisible by 2."),
        (("L(L+1)", "(L+1)L"), ("偶", "even"), ("2整除", "2的倍数", "divisibleby2", "multipleof2", "积是偶数"))),
    "odd_plus_odd": (
        "k", ("两个奇数的和是偶数", "任意两个奇数相加都得偶数"),
        ("the sum of two odd numbers is even", "two odd numbers always add up to an even number"),
        ("两个奇数写成2L+1和2J+1。", "(2L+1)+(2J+1)=2(L+J+1)", "2(L+J+1)是偶数。"),
        ("The odd numbers are 2L+1 and 2J+1.", "(2L+1)+(2J+1)=2(L+J+1)", "2(L+J+1) is even."),
        (("=2(L+J+1)", "=2(J+L+1)"), ("偶数", "iseven", "divisibleby2"))),
    "cube_minus_6": (
        "n", ("{L}³-{L}能被6整除（{L}为整数）", "对任意整数{L}，{L}³-{L}都是6的倍数"),
        ("{L}³-{L} is divisible by 6 for every integer {L}",
        "{L}³-{L} is a multiple of 6 for every integer {L}"),
        ("L³-L=L(L²-1)=(L-1)L(L+1)", "三个连续整数中，有一个是2的倍数，有一个是3的倍数。", "(L-1)L(L+1)能被6整除。"),
        ("L³-L=L(L²-1)=(L-1)L(L+1)",
        "Of three consecutive integers, one is a multiple of 2, one is a multiple of 3.",
         "(L-1)L(L+1) is divisible by 6."),
        (("=(L-1)L(L+1)", "=L(L-1)(L+1)", "=L(L+1)(L-1)"), ("2的倍数", "被2整除", "偶", "multipleof2", "even",
        "by2"),
         ("3的倍数", "3整除", "multipleof3", "by3"), ("6整除", "6的倍数", "divisibleby6", "multipleof6"))),
    "odd_plus_even": (
        "k", ("奇数加偶数是奇数", "一个奇数与一个偶数的和一定是奇数"),
        ("the sum of an odd number and an even number is odd", "an odd number plus an even number is odd"),
        ("奇数写成2L+1，偶数写成2J。", "(2L+1)+2J=2(L+J)+1", "2(L+J)+1是奇数。"),
        ("The odd number is 2L+1, the even number is 2J.", "(2L+1)+2J=2(L+J)+1", "2(L+J)+1 is odd."),
        (("=2(L+J)+1", "=2(J+L)+1"), ("是奇数", "isodd"))),
    "odd_times_odd": (
        "k", ("两个奇数的积是奇数", "任意两个奇数相乘都得奇数"),
        ("the product of two odd numbers is odd", "two odd numbers always have an odd product"),
        ("两个奇数写成2L+1和2J+1。", "(2L+1)(2J+1)=4LJ+2L+2J+1=2(2LJ+L+J)+1", "2(2LJ+L+J)+1是奇数。"),
        ("The odd numbers are 2L+1 and 2J+1.", "(2L+1)(2J+1)=4LJ+2L+2J+1=2(2LJ+L+J)+1",
        "2(2LJ+L+J)+1 is odd."),
        (("=2(2LJ+L+J)+1", "=2(2JL+L+J)+1", "=2(2JL+J+L)+1"), ("是奇数", "isodd"))),
    "odd_neighbours_4": (
        "k", ("两个连续奇数的和能被4整除", "相邻两个奇数之和是4的倍数"),
        ("the sum of two consecutive odd numbers is divisible by 4",
        "neighbouring odd numbers add up to a multiple of 4"),
        ("两个奇数写成2L-1和2L+1。", "(2L-1)+(2L+1)=4L", "4L能被4整除。"),
        ("The odd numbers are 2L-1 and 2L+1.", "(2L-1)+(2L+1)=4L", "4L is divisible by 4."),
        (("(2L-1)+(2L+1)=4L", "(2L+1)+(2L+3)=4L+4"), ("4整除", "4的倍数", "divisibleby4", "multipleof4"))),
    "even_square_4": (
        "m", ("偶数的平方能被4整除", "任意偶数的平方都是4的倍数"),
        ("the square of an even number is divisible by 4",
        "every even number has a square that is a multiple of 4"),
        ("偶数写成2L。", "(2L)²=4L²", "4L²能被4整除。"),
        ("An even number is 2L.", "(2L)²=4L²", "4L² is divisible by 4."),
        (("(2L)²=4L²",), ("4整除", "4的倍数", "divisibleby4", "multipleof4"))),
}
_LETTERS = "kmnt"
_SECOND = {"k": "m", "m": "n", "n": "t", "t": "k"}
_CLAIM_ZH = ("请证明：{}", "证明：{}。", "求证：{}。", "为什么{}？请给出证明。", "请你证明{}。", "怎样证明{}？", "试证明：{}。", "请说明理由：{}。")
_CLAIM_EN = ("Prove that {}.", "Please prove: {}.", "Show that {}.", "Why is it true that {}? Give a proof.",
             "Can you prove that {}?", "Give a short proof that {}.", "How do you prove that {}?",
             "Prove: {}.")


def _with(text: str, letter: str) -> str:
    """The capitals L and J of a template become the letters of this proof."""
    return re.sub(r"(?<![A-Za-z])L(?![a-z])|(?<=[\dL(])[LJ](?![a-z])|(?<![A-Za-z])J(?![a-z])",
                  lambda match: letter if match.group() == "L" else _SECOND[letter], text)


def _plain(reply: str) -> str:
    """One spelling for powers, minus and products; no spaces around operators."""
    text = reply.replace("−", "-").replace("$", "").replace("**", "^").replace("·", "").replace("\\cdot", "")
    text = re.sub(r"\^\{?([23])\}?", lambda match: "²³"[int(match.group(1)) - 2], text)
    text = re.sub(r"[ \t]*([-+=])[ \t]*", r"\1", text)
    return re.sub(r"(?<=\() +| +(?=\))", "", text)


_PIECE = r"[0-9kmnt+\-()²³×]++"
_KNOWN = "L+1 L-1 2L 2J 2L+1 2J+1 2L-1 L² L²-1 L²+L L(L+1)"  # harmless in any proof here


def _equal(text: str) -> bool:
    """Is no equation of the text false, with numbers put in for the letters?"""
    for values in ((7, 5, 3, 11), (4, 9, 2, 6)):
        numbers = re.sub(r"[kmnt]", lambda match: f"({values[_LETTERS.index(match.group())]})", text)
        if check_steps(numbers)[1]:
            return False
    return True


def _identities_hold(text: str) -> bool:
    """Do all equations between expressions in letters hold?"""
    chains = re.findall(f"(?<![a-z]){_PIECE}(?:={_PIECE})+", text)
    return all(_equal(chain) for chain in chains)


def _expressions(text: str) -> set[str]:
    """All expressions with a letter in them and something besides, such as 2k+1 and k²."""
    found = (piece.strip("+-") for piece in re.findall(f"(?<![a-z]){_PIECE}(?![a-z])", text))
    return {piece for piece in found if re.search(r"[kmnt]", piece) and re.search(r"[0-9²³]", piece)
            and piece.count("(") == piece.count(")")}


def _resolve(text: str) -> str:
    """After "let n=2k+1" every n is read as (2k+1)."""
    named = re.search(r"(?<![A-Za-z0-9)²³=+-])([a-z])=(2[kmnt](?:[+-]1)?)(?![a-z0-9=(²³])", text)
    if not named or named[1] in named[2]:
        return text
    return re.sub(rf"(?<![A-Za-z]){named[1]}(?![A-Za-z])", f"({named[2]})", text)


def _no_slip(text: str, statement: str, letter: str) -> bool:
    """Does every expression equal one that the proof uses? 7k(k+1) in place of 4k(k+1) is a slip."""
    known = _expressions(_with(" ".join(_PROOFS[statement][3]) + " " + _KNOWN, letter))
    return all(any(_equal(f"{piece}={other}") for other in known) for piece in _expressions(text) - known)


class Parity(Family):
    """Keys: (proof, statement, letter), (square, n), (sum|product, numbers...),
    (odds, odd ones, even ones)."""

    name = "parity"

    def solve(self, key: tuple, language: str) -> str:
        kind = key[0]
        if kind == "proof":
            return ""
        if kind == "square":  # 1+8·(1+2+3+...) gives the odd squares one after the other
            square, quotient, step = 1, 0, 0
            while square < key[1] ** 2:
                step += 1
                square, quotient = square + 8 * step, quotient + step
            return str(quotient)
        value = 1 if kind == "product" else 0
        if kind == "odds":
            value = key[1] * 7 + key[2] * 4
        for number in key[1:] if kind in ("sum", "product") else ():
            value = value * number if kind == "product" else value + number
        return {"zh": ("偶数", "奇数"), "en": ("even", "odd")}[language][value % 2]

    def grade(self, problem: Problem, reply: str) -> bool:
        if problem.key[0] != "proof":
            return super().grade(problem, reply)
        text = _resolve(_plain(reply))
        needed = _PROOFS[problem.key[1]][5]
        squeezed = re.sub(r"\s+", "", text).lower()
        if not _identities_hold(text):
            return False
        for letter in _LETTERS:  # any letter will do
            if all(any(_with(way, letter) in squeezed for way in ways) for ways in needed):
                return _no_slip(text, problem.key[1], letter)
        return False

    def make(self, rng: random.Random, language: str) -> Problem:
        kind = pick(rng, "proof", "square", "parity", "parity")
        if kind == "proof":
            return self._proof(rng, language)
        return self._square(rng, language) if kind == "square" else self._parity(rng, language)

    def _proof(self, rng, language) -> Problem:
        zh = language == "zh"
        statement = rng.choice(list(_PROOFS))
        if rng.random() < 0.25:
            statement = "odd_square_8"  # the one people ask for
        usual, claims_zh, claims_en, steps_zh, steps_en, _ = _PROOFS[statement]
        letter = usual if rng.random() < 0.5 else rng.choice(_LETTERS)
        claim = pick(rng, *(claims_zh if zh else claims_en))
        question = pick(rng, *(_CLAIM_ZH if zh else _CLAIM_EN)).format(claim.format(L=letter))
        if letter != usual and "{L}" not in claim:  # only the question can tell which letter is wanted
            question += f"（用字母{letter}表示）" if zh else f" Use the letter {letter}."
        steps = [_with(step, letter) for step in (steps_zh if zh else steps_en)]
        # The thinking is the skeleton, the answer the same steps as a text.
        thinking = "\n".join(steps)
        if zh:
            body = "".join(step if step[-1] == "。" else step + "。" for step in steps[:-1]) + "所以" + steps[-1]
            answer = body + "证毕。"
        else:
            body = " ".join(step if step[-1] == "." else step + "." for step in steps[:-1])
            answer = f"{body} So {steps[-1]} This completes the proof."
        return Problem(self.name, language, ("proof", statement, letter), question, thinking, answer)

    def _square(self, rng, language) -> Problem:
        zh = language == "zh"
        n = 2 * rng.randint(2, 499 if rng.random() < 0.3 else 99) + 1
        question = pick(rng, *(
            ("验证{n}²-1能被8整除，并求商。", "{n}的平方减1能被8整除吗？商是多少？", "({n}²-1)÷8等于多少？",
             "{n}是奇数，请检验{n}的平方减1是8的倍数，商是几？", "{n}²-1除以8的商是多少？", "请算出{n}的平方减1是8的多少倍。")
            if zh else
            ("Check that {n}²-1 is divisible by 8 and give the quotient.", "What is ({n}²-1)÷8?",
             "Is the square of {n} minus 1 divisible by 8? What is the quotient?",
             "{n} is odd. Verify that {n}²-1 is a multiple of 8 and find the quotient.",
             "How many times does 8 go into {n}²-1?",
             "Please find the quotient of {n}^2-1 by 8."))).format(n=n)
        k = n // 2
        even, odd = (k, k + 1) if k % 2 == 0 else (k + 1, k)
        lines = [f"{n}-1={n - 1}", divide(n - 1, 2), f"{n}²-1=4×{k}×{k + 1}"]
        lines.append(f"{even}是偶数。" if zh else f"{even} is even.")
        lines += [divide(even, 2), multiply(max(odd, even // 2), min(odd, even // 2))]
        result = self.solve(("square", n), language)
        answer = (f"{n}²-1=4×{k}×{k + 1}能被8整除，商是\\boxed{{{result}}}。" if zh else
                  f"{n}²-1=4×{k}×{k + 1} is divisible by 8; the quotient is \\boxed{{{result}}}.")
        return Problem(self.name, language, ("square", n), question, "\n".join(lines), answer, result)

    def _parity(self, rng, language) -> Problem:
        zh = language == "zh"
        kind = pick(rng, "sum", "sum", "product", "product", "odds")
        if kind == "odds":
            return self._odds(rng, language)
        numbers = []
        for _ in range(rng.randint(2, 5 if kind == "sum" else 4)):
            low = 10 ** rng.randint(1, 3)
            odd = rng.random() < (0.5 if kind == "sum" else 0.75)
            numbers.append(rng.randint(low, 10 * low - 2) // 2 * 2 + odd)
        sign = "+" if kind == "sum" else "×"
        word = {"sum": ("和", "sum"), "product": ("积", "product")}[kind][0 if zh else 1]
        listed = ("、" if zh else ", ").join(map(str, numbers))
        question = pick(rng, *(
            ("{x}是奇数还是偶数？", "不计算，判断{x}的结果是奇数还是偶数。", "{l}的{w}是奇数还是偶数？", "请判断{l}这几个数的{w}是奇数还是偶数。")
            if zh else
            ("Is {x} odd or even?", "Without computing it, say whether {x} is odd or even.",
             "Is the {w} of {l} odd or even?", "Decide whether the {w} of {l} is an odd or an even number.")
        )).format(x=sign.join(map(str, numbers)), l=listed, w=word)
        odd_ones = sum(number % 2 for number in numbers)
        result = self.solve((kind, *numbers), language)
        kinds = ("偶", "奇") if zh else ("even", "odd")
        lines = [f"{word}：" if zh else f"{word}:"]
        lines += [f"{n}→{n % 10}→{kinds[n % 2]}" for n in numbers]
        if kind == "sum":
            which = kinds[odd_ones % 2]
            lines.append(f"奇数有{odd_ones}个，{odd_ones}是{which}数，和是{result}。" if zh else
                         f"odd numbers: {odd_ones}, {odd_ones} is {which}, the sum is {result}.")
        elif odd_ones < len(numbers):
            lines.append(f"有偶数，积是{result}。" if zh else f"there is an even one, the product is {result}.")
        else:
            lines.append(f"全是奇数，积是{result}。" if zh else f"all are odd, the product is {result}.")
        answer = f"{word}是\\boxed{{{result}}}。" if zh else f"The {word} is \\boxed{{{result}}}."
        return Problem(self.name, language, (kind, *numbers), question, "\n".join(lines), answer, result)

    def _odds(self, rng, language) -> Problem:
        """Only the number of odd summands counts."""
        zh = language == "zh"
        odd, even = rng.randint(2, 2000), rng.randint(2, 999) if rng.random() < 0.5 else 0
        if even:
            words = (("{a}个奇数与{b}个偶数的和是奇数还是偶数？", "把{a}个奇数和{b}个偶数加起来，结果是奇数还是偶数？")
                     if zh else
                     ("Is the sum of {a} odd numbers and {b} even numbers odd or even?",
                      "Add {a} odd and {b} even numbers. Is the result odd or even?"))
        else:
            words = (("{a}个奇数的和是奇数还是偶数？", "{a}个奇数相加，结果是奇数还是偶数？", "请问{a}个奇数之和是奇数还是偶数？")
                     if zh else
                     ("Is the sum of {a} odd numbers odd or even?",
                     "{a} odd numbers are added. Is the result odd or even?",
                      "If you add up {a} odd numbers, do you get an odd or an even number?"))
        question = pick(rng, *words).format(a=odd, b=even)
        key = ("odds", odd, even)
        result = self.solve(key, language)
        kinds = ("偶", "奇") if zh else ("even", "odd")
        lines = [f"奇数有{odd}个。" if zh else f"odd numbers: {odd}.", f"{odd}→{odd % 10}→{kinds[odd % 2]}"]
        lines.append(f"和是{result}。" if zh else f"the sum is {result}.")
        answer = f"和是\\boxed{{{result}}}。" if zh else f"The sum is \\boxed{{{result}}}."
        return Problem(self.name, language, key, question, "\n".join(lines), answer, result)


FAMILIES = [GcdLcm(), Parity()]

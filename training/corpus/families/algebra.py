"""Equations with whole-number solutions: linear, two linear ones with two unknowns, quadratic."""

from __future__ import annotations

import random
import re

from corpus.problem import Family, Problem, last_boxed, pick, same_answer
from corpus.worked import add, divide, multiply, subtract

# ---- arithmetic with signs ----


def combine(a: int, sign: str, b: int) -> str:
    """a + b or a - b for any signs; numbers of 100 and more go through their absolute values."""
    lines = []
    if b < 0:
        flipped = "-" if sign == "+" else "+"
        lines.append(f"{a}{sign}({b})={a}{flipped}{-b}")
        sign, b = flipped, -b
    whole = f"{a}{sign}{b}"
    result = a + b if sign == "+" else a - b
    if (abs(a) < 100 and b < 100) or (a >= 0 and (sign == "+" or a >= b)):
        if a < 0 or (sign == "-" and a < b):
            lines.append(f"{whole}={result}")
        else:
            lines.append(add(a, b) if sign == "+" else subtract(a, b))
        return "\n".join(lines)
    size = abs(a)
    if sign == "-" and a < 0:
        lines += [f"{whole}=-({size}+{b})", add(size, b)]
    elif result >= 0:
        lines += [f"{whole}={b}-{size}", subtract(b, size)]
    else:
        large, small = max(size, b), min(size, b)
        lines += [f"{whole}=-({large}-{small})", subtract(large, small)]
    lines.append(f"{whole}={result}")
    return "\n".join(lines)


def times(a: int, b: int) -> str:
    """a × b for b >= 0 of one digit; a sign is added at the end, at once for one-digit numbers."""
    text = multiply(abs(a), b)
    if a >= 0:
        return text
    return f"{text}\n{a}×{b}={a * b}" if ":" in text else f"{a}×{b}={a * b}"


def share(a: int, b: int) -> str:
    """a ÷ b without remainder, any signs; they are added at the end, at once for one-digit results."""
    text = divide(abs(a), abs(b))
    if a >= 0 and b > 0:
        return text
    whole = f"{a}÷{b if b > 0 else f'({b})'}={a // b}"
    return f"{text}\n{whole}" if ":" in text else whole


def isolate(letter: str, factor: int, value: int) -> list[str]:
    """From `factor·letter = value` to `letter = …`."""
    lines = [f"{linear((factor, letter))}={value}"]
    if factor == -1:
        lines.append(f"{letter}={-value}")
    elif factor != 1:
        lines += [share(value, factor), f"{letter}={value // factor}"]
    return lines


def linear(*terms: tuple[int, str]) -> str:
    """`3x-2y+5` from (3, "x"), (-2, "y"), (5, ""); terms with 0 are left out."""
    text = ""
    for factor, letter in terms:
        if factor == 0:
            continue
        size = "" if abs(factor) == 1 and letter else str(abs(factor))
        text += ("-" if factor < 0 else "+" if text else "") + size + letter
    return text or "0"


def spaced(equation: str) -> str:
    """The equation with blanks around its operators, a leading minus kept close."""
    return re.sub(r"(?<=[0-9a-z)²])([-+=])", r" \1 ", equation)


def styled(rng: random.Random, equation: str) -> str:
    """One of the ways in which people type an equation."""
    text = spaced(equation) if rng.random() < 0.5 else equation
    return text.replace("²", "^2") if rng.random() < 0.35 else text


def _values(reply: str) -> str | None:
    """The box without `x=`, `y=`, `x1=` and brackets around it."""
    given = last_boxed(reply)
    if given is None:
        return None
    return re.sub(r"[xy](_?[12]|[₁₂])?\s*=", "", given).strip(" ()（）")


# ---- one linear equation ----

_LINEAR_ZH = ("解方程：{0}", "求解方程 {0}", "解方程{0}，求x。", "{0}，x等于多少？", "已知{0}，求x的值。",
              "请解这个方程：{0}", "方程{0}的解是什么？", "如果{0}，那么x是多少？", "帮我解一下方程 {0}", "求x：{0}")
_LINEAR_EN = ("Solve {0}.", "Solve for x: {0}", "Solve the equation {0}", "What is x if {0}?",
              "Find x such that {0}.", "Given {0}, find x.", "Find the value of x: {0}",
              "What is the solution of {0}?", "Please solve the equation {0} for x.",
              "If {0}, what is the value of x?")
_NUMBER_ZH = {1: ("一个数的{a}倍{op}{b}等于{c}，这个数是多少？", "某数乘{a}再{op}{b}得{c}，求这个数。"),
              3: ("一个数{op}{b}后再乘{a}等于{c}，这个数是多少？", "某数{op}{b}，结果的{a}倍是{c}，求某数。")}
_NUMBER_EN = {1: ("{a} times a number {op} {b} is {c}. What is the number?",
                  "A number is multiplied by {a}, then {doing} {b} gives {c}. Find the number."),
              3: ("A number {op} {b}, all multiplied by {a}, is {c}. What is the number?",
                  "{a} times the result of a number {op} {b} equals {c}. Find the number.")}


class LinearEquation(Family):
    """Keys: (1, a, b, c) is ax+b=c, (2, a, b, c, d) is ax+b=cx+d, (3, a, b, c) is a(x+b)=c."""

    name = "linear_equation"

    def solve(self, key: tuple, language: str) -> str:
        form, a, b, c = key[:4]
        for x in range(-1000, 1001):  # try every number; make() starts from x
            if form == 1 and a * x + b == c:
                return str(x)
            if form == 2 and a * x + b == c * x + key[4]:
                return str(x)
            if form == 3 and a * (x + b) == c:
                return str(x)
        raise ValueError(key)

    def grade(self, problem: Problem, reply: str) -> bool:
        return same_answer(_values(reply), problem.expected)

    def make(self, rng: random.Random, language: str) -> Problem:
        while True:  # until all constants are small enough
            x = rng.randint(-20, 20) if rng.random() < 0.6 else rng.randint(1, 60)
            key = self._parameters(rng, x)
            if key and all(abs(value) <= 500 for value in key):
                break
        form, a, b, c = key[:4]
        if form == 2:
            equation = f"{linear((a, 'x'), (b, ''))}={linear((c, 'x'), (key[4], ''))}"
        elif form == 1:
            equation = f"{linear((a, 'x'), (b, ''))}={c}"
        else:
            equation = f"{a}({linear((1, 'x'), (b, ''))})={c}"
        chinese = language == "zh"
        label = pick(rng, "方程：", "原方程：") if chinese else pick(rng, "Equation:", "Start:")
        said = "方程的解是x=" if chinese else "The solution is x="
        if form != 2 and a > 1 and b != 0 and rng.random() < 0.2:
            op = ("加" if b > 0 else "减") if chinese else ("plus" if b > 0 else "minus")
            question = pick(rng, *(_NUMBER_ZH if chinese else _NUMBER_EN)[form])
            doing = "adding" if b > 0 else "subtracting"
            question = question.format(a=a, b=abs(b), c=c, op=op, doing=doing)
            label = "设这个数是x：" if chinese else "Let the number be x:"
            said = "这个数是" if chinese else "The number is "
        else:
            question = pick(rng, *(_LINEAR_ZH if chinese else _LINEAR_EN)).format(styled(rng, equation))
        thinking = "\n".join([f"{label}\n{equation}"] + self._steps(key))
        answer = f"{said}\\boxed{{{x}}}" + ("。" if chinese else ".")
        return Problem(self.name, language, key, question, thinking, answer, str(x))

    @staticmethod
    def _parameters(rng: random.Random, x: int) -> tuple | None:
        form = rng.choices((1, 2, 3), (40, 35, 25))[0]
        limit = 12 if rng.random() < 0.75 else 30
        a = rng.randint(2, limit)
        if form == 1 and rng.random() < 0.05:
            a = 1
        if rng.random() < 0.15:
            a = -a
        b = rng.randint(1, rng.choice((9, 60, 500) if form != 3 else (9, 9, 60))) * rng.choice((1, 1, -1))
        if form == 1:
            return form, a, b, a * x + b
        if form == 3:
            return form, a, b, a * (x + b)
        c = rng.randint(1, limit) * rng.choice((1, 1, 1, -1))
        d = a * x + b - c * x
        if a == c or d == 0 or abs(a - c) > 30:
            return None
        return form, a, b, c, d

    @staticmethod
    def _steps(key: tuple) -> list[str]:
        """Move the constants to the right and the x to the left, then divide."""
        form, a, b, c = key[:4]
        if form == 3:
            inner = c // a
            shown = linear((1, "x"), (b, ""))
            lines = [share(c, a), f"{shown}={inner}"]
            a, c = 1, inner
        else:
            lines = []
        constant = key[4] if form == 2 else c
        sign = "-" if b > 0 else "+"
        left = linear((a, "x"))
        if form == 2:
            left = linear((a, "x"), (-c, "x"))
        lines.append(f"{left}={constant}{sign}{abs(b)}")
        if form == 2:
            lines.append(combine(a, "-" if c > 0 else "+", abs(c)))
            a -= c
        lines.append(combine(constant, sign, abs(b)))
        return lines + isolate("x", a, constant - b)


# ---- two equations ----

_SYSTEM_ZH = ("解方程组：{0}，{1}", "求解方程组 {0}，{1}", "已知{0}，{1}，求x和y。", "如果{0}且{1}，x和y各是多少？",
              "解二元一次方程组：\n{0}\n{1}", "请解下面的方程组：\n{0}\n{1}", "方程组{0}和{1}的解是什么？",
              "用消元法解方程组：{0}，{1}", "求满足{0}和{1}的x、y。")
_SYSTEM_EN = ("Solve the system: {0}, {1}", "Solve for x and y: {0}, {1}", "Given {0} and {1}, find x and y.",
              "If {0} and {1}, what are x and y?", "Solve the system of equations:\n{0}\n{1}",
              "Find x and y:\n{0}\n{1}", "What is the solution of the system {0} and {1}?",
              "Use elimination to solve {0} and {1}.", "Please solve these equations: {0}; {1}")
# (noun with measure word, noun) in Chinese; (singular, plural) in English.
_GOODS_ZH = (("支钢笔", "钢笔"), ("本笔记本", "笔记本"), ("个苹果", "苹果"), ("瓶牛奶", "牛奶"), ("块橡皮", "橡皮"),
             ("把尺子", "尺子"), ("张电影票", "电影票"), ("个面包", "面包"))
_GOODS_EN = (("pen", "pens"), ("notebook", "notebooks"), ("apple", "apples"), ("sandwich", "sandwiches"),
             ("ruler", "rulers"), ("ticket", "tickets"), ("cup", "cups"), ("book", "books"))
_SHOP_ZH = ("{p1}和{q1}共{c1}元，{p2}和{q2}共{c2}元。{x}和{y}的单价各是多少元？",
            "小明买了{p1}和{q1}，花了{c1}元；小红买了{p2}和{q2}，花了{c2}元。{x}和{y}的单价分别是多少？",
            "商店里，{p1}和{q1}要{c1}元，{p2}和{q2}要{c2}元，求{x}和{y}的单价。")
_SHOP_EN = ("{p1} and {q1} cost {c1} dollars. {p2} and {q2} cost {c2} dollars. "
            "How much does one {x} cost, and how much does one {y} cost?",
            "Tom pays {c1} dollars for {p1} and {q1}. Anna pays {c2} dollars for {p2} and {q2}. "
            "Find the price of one {x} and of one {y}.",
            "In a shop, {p1} and {q1} are {c1} dollars, and {p2} and {q2} are {c2} dollars. "
            "What are the prices of a {x} and of a {y}?")


class LinearSystem(Family):
    """Keys: (a, b, c, d, e, f) is ax+by=c, dx+ey=f."""

    name = "linear_system"

    def solve(self, key: tuple, language: str) -> str:
        a, b, c, d, e, f = key
        for x in range(-20, 21):  # every pair in the range; make() eliminates
            for y in range(-20, 21):
                if a * x + b * y == c and d * x + e * y == f:
                    return f"{x},{y}"
        raise ValueError(key)

    def grade(self, problem: Problem, reply: str) -> bool:
        return same_answer(_values(reply), problem.expected)

    def make(self, rng: random.Random, language: str) -> Problem:
        shop = rng.random() < 0.25
        reach = 10 if rng.random() < 0.8 else 20
        x, y = (rng.randint(1 if shop else -reach, reach) for _ in "xy")
        while True:  # one solution only, and a divisor the model can divide by
            limit = 5 if rng.random() < 0.75 else 9
            a, b, d, e = (rng.randint(1, limit) for _ in range(4))
            if not shop:
                b, e = b * rng.choice((1, 1, -1)), e * rng.choice((1, 1, -1))
            if 0 < abs(a * e - b * d) <= 30:
                break
        key = (a, b, a * x + b * y, d, e, d * x + e * y)
        chinese = language == "zh"
        head = ""
        if shop:
            question, head, answer = self._shop(rng, key, chinese)
        else:
            style = spaced if rng.random() < 0.5 else str
            first, second = (style(f"{linear((p, 'x'), (q, 'y'))}={r}") for p, q, r in (key[:3], key[3:]))
            question = pick(rng, *(_SYSTEM_ZH if chinese else _SYSTEM_EN)).format(first, second)
            answer = "方程组的解x,y是{0}。" if chinese else "The solution x,y is {0}."
        expected = f"{x},{y}"
        answer = answer.format(f"\\boxed{{{expected}}}")
        thinking = head + "\n".join(self._steps(key, x, "代入" if chinese else "Put x into "))
        return Problem(self.name, language, key, question, thinking, answer, expected)

    @staticmethod
    def _shop(rng: random.Random, key: tuple, chinese: bool) -> tuple[str, str, str]:
        """Question, first line of the thinking and answer about two prices."""
        a, b, c, d, e, f = key
        one, two = rng.sample(_GOODS_ZH if chinese else _GOODS_EN, 2)
        if chinese:
            p1, q1, p2, q2 = f"{a}{one[0]}", f"{b}{two[0]}", f"{d}{one[0]}", f"{e}{two[0]}"
            x, y = one[1], two[1]
            head = f"设{x}x元，{y}y元。\n"
            answer = f"{x}和{y}的单价分别是{{0}}元。"
        else:
            p1, q1, p2, q2 = (f"{n} {words[n > 1]}" for n, words in ((a, one), (b, two), (d, one), (e, two)))
            x, y = one[0], two[0]
            head = f"Let one {x} cost x, one {y} cost y.\n"
            answer = f"The prices of one {x} and one {y} in dollars are {{0}}."
        question = pick(rng, *(_SHOP_ZH if chinese else _SHOP_EN)).format(
            p1=p1, q1=q1, p2=p2, q2=q2, c1=c, c2=f, x=x, y=y)
        return question.replace("a apple", "an apple"), head, answer

    @staticmethod
    def _steps(key: tuple, x: int, insert: str) -> list[str]:
        """Make the numbers before y equal, add or subtract the equations, then put x into (1)."""
        a, b, c = key[:3]
        rows = [key[:3], key[3:]]
        lines = [f"({i}):{linear((p, 'x'), (q, 'y'))}={r}" for i, (p, q, r) in enumerate(rows, 1)]
        factors = (abs(key[4]), abs(b)) if abs(b) != abs(key[4]) else (1, 1)
        for index, factor in enumerate(factors):
            if factor == 1:
                continue
            p, q, r = rows[index]
            rows[index] = (p * factor, q * factor, r * factor)
            lines += [f"({index + 1})×{factor}:", times(p, factor), times(abs(q), factor), times(r, factor),
                      f"{linear((p * factor, 'x'), (q * factor, 'y'))}={r * factor}"]
        (p1, q1, r1), (p2, q2, r2) = rows
        if q1 == -q2:
            lines += ["(1)+(2):", combine(p1, "+", p2), combine(r1, "+", r2)]
            lines += isolate("x", p1 + p2, r1 + r2)
        elif p1 > p2:
            lines += ["(1)-(2):", combine(p1, "-", p2), combine(r1, "-", r2)]
            lines += isolate("x", p1 - p2, r1 - r2)
        else:
            lines += ["(2)-(1):", combine(p2, "-", p1), combine(r2, "-", r1)]
            lines += isolate("x", p2 - p1, r2 - r1)
        product = times(x, a) if a != 1 else ""
        lines += [f"{insert}(1):"] + ([product] if product else [])
        return lines + [combine(c, "-", a * x)] + isolate("y", b, c - a * x)


# ---- quadratic ----

_QUADRATIC_ZH = ("解方程：{0}", "求解方程 {0}", "解一元二次方程{0}", "方程{0}的根是多少？", "求方程{0}的两个根。",
                 "已知{0}，求x。", "请解方程 {0}", "{0}，x等于多少？", "用求根公式解方程{0}。", "帮我求 {0} 的解")
_QUADRATIC_EN = ("Solve {0}.", "Solve the equation {0}", "Solve for x: {0}", "What are the roots of {0}?",
                 "Find all x with {0}.", "Find the roots of the quadratic equation {0}.",
                 "Use the quadratic formula to solve {0}.", "Given {0}, find x.", "Please solve {0} for x.",
                 "What are the solutions of {0}?")


class Quadratic(Family):
    """Keys: (a, b, c) is ax²+bx+c=0."""

    name = "quadratic"

    def solve(self, key: tuple, language: str) -> str:
        a, b, c = key
        # Try every number; the thinking goes through the discriminant.
        return ",".join(str(x) for x in range(-200, 201) if a * x * x + b * x + c == 0)

    def grade(self, problem: Problem, reply: str) -> bool:
        given = _values(reply)
        if given is None:
            return False
        parts = [part.strip().replace("−", "-") for part in re.split("[,，、;；]|和|或|and|or", given)]
        return sorted(set(parts)) == sorted(problem.expected.split(","))

    def make(self, rng: random.Random, language: str) -> Problem:
        while True:
            reach = 9 if rng.random() < 0.7 else 15
            low, high = sorted(rng.randint(-reach, reach) for _ in "xy")
            if rng.random() < 0.06:
                high = low
            if low or high:
                break
        lead = rng.randint(2, 5) if rng.random() < 0.25 else 1
        key = (lead, -lead * (low + high), lead * low * high)
        equation = f"{linear((lead, 'x²'), (key[1], 'x'), (key[2], ''))}=0"
        chinese = language == "zh"
        question = pick(rng, *(_QUADRATIC_ZH if chinese else _QUADRATIC_EN)).format(styled(rng, equation))
        label = pick(rng, "方程：", "原方程：") if chinese else pick(rng, "Equation:", "Start:")
        thinking = "\n".join([f"{label}\n{equation}"] + self._steps(key))
        expected = f"{low},{high}" if low != high else str(low)
        if chinese:
            text = "方程的两个根是" if low != high else "方程有两个相等的根"
            answer = f"{text}\\boxed{{{expected}}}。"
        else:
            text = "The roots are" if low != high else "The double root is"
            answer = f"{text} \\boxed{{{expected}}}."
        return Problem(self.name, language, key, question, thinking, answer, expected)

    @staticmethod
    def _steps(key: tuple) -> list[str]:
        """Discriminant, its root, both solutions; first make the leading factor 1."""
        lead, b, c = key
        lines = []
        if lead > 1:
            lines.append(f"÷{lead}:")
            lines += [divide(abs(value), lead) for value in (b, c) if value]
            b, c = b // lead, c // lead
            lines.append(f"{linear((1, 'x²'), (b, 'x'), (c, ''))}=0")
        size, product = abs(b), abs(c)
        sign = "+" if c < 0 else "-"
        lines += [f"D={size}×{size}{sign}4×{product}", multiply(size, size)]
        # The longer number first: worked.multiply goes through the digits of the first one.
        lines += [multiply(product, 4), combine(size * size, sign, 4 * product)]
        square = b * b - 4 * c
        root = next(r for r in range(31) if r * r == square)
        lines.append(f"{root}×{root}={square}")
        if root == 0:
            return lines + [share(-b, 2), f"x={-b // 2}"]
        for name, op, top in (("x1", "-", -b - root), ("x2", "+", -b + root)):
            lines += [f"{name}=({-b}{op}{root})÷2", combine(-b, op, root), share(top, 2),
                      f"{name}={top // 2}"]
        return lines


FAMILIES = [LinearEquation(), LinearSystem(), Quadratic()]

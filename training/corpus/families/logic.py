"""Riddles of truth-tellers and liars, and recursive functions worked out by hand."""

from __future__ import annotations

import math
import random

from corpus.problem import Family, Problem, pick
from corpus.worked import add, divide, multiply

_NAMES_ZH = ("小明 小红 小刚 小丽 小华 小强 小芳 小军 小杰 小雪 小龙 小梅 小林 小云 小东 小兰 小宇 "
             "小婷 小磊 小雨 小飞 小月 小亮 小静 小伟 小燕 小波 小青 小虎 小玲 小海 小春 小秋 小新 张三 李四 王五 赵六 阿福 阿宝").split()
_NAMES_EN = ("Alice Bob Carol David Emma Frank Grace Henry Ivy Jack Kate Leo Mia Nick Olga Paul Rose Sam "
             "Tina Uma Victor Wendy Max Zoe Anna Ben Clara Dan Eva Fred Gina Hugo Iris John Lily Mark Nora "
             "Oscar Peter Tom").split()
_LETTERS = ("A", "B", "C"), ("P", "Q", "R"), ("X", "Y", "Z")
_STEMS = ("甲", "乙", "丙")

# What one of two persons can say about both. Letter: (Chinese, English, short Chinese, short English)
# with {0} for the other person.
_CLAIMS = {
    "L": ("{0}是骗子", "{0} is a liar", "{0}骗", "{0} lies"),
    "T": ("{0}说真话", "{0} tells the truth", "{0}真", "{0} true"),
    "N": ("我们两个都是骗子", "We are both liars", "都骗", "both lie"),
    "B": ("我们两个都说真话", "We both tell the truth", "都真", "both true"),
    "X": ("我们两个中恰好有一个是骗子", "Exactly one of us is lying", "恰一骗", "one lies"),
    "S": ("我们两个是同一类人", "We are of the same kind", "同类", "same kind"),
    "A": ("我们两个中至少有一个是骗子", "At least one of us is a liar", "有人骗", "some lie"),
}

_PAIR_ZH = (
    "岛上的人要么总说真话，要么总说假话。{0}和{1}住在岛上。{2}{3}",
    "{0}和{1}每人要么永远说真话，要么永远说谎。{2}{3}",
    "真假话判断：{0}和{1}各自不是老实人就是骗子，老实人只说真话，骗子只说假话。{2}{3}",
    "你遇到{0}和{1}，他们每人要么句句真话，要么句句假话。{2}请判断：{3}",
    "有两个人，{0}和{1}，老实人总说真话，骗子总说假话。{2}{3}",
    "请推理：{0}、{1}每人要么总是诚实，要么总是撒谎。{2}{3}",
    "{2}已知{0}和{1}每人要么总说真话，要么总说假话。{3}",
    "在骑士与无赖的岛上，骑士只说真话，无赖（骗子）只说假话。{0}和{1}是岛民。{2}{3}",
)
_PAIR_EN = (
    "On an island everyone either always tells the truth or always lies. {0} and {1} live there. {2} {3}",
    "{0} and {1} are each either always truthful or always lying. {2} {3}",
    "Knights always tell the truth, knaves (liars) always lie. {0} and {1} are each one of them. {2} {3}",
    "You meet {0} and {1}. Each one either always tells the truth or always lies. {2} {3}",
    "Truth or lie? {0} and {1} each always tell the truth or always lie. {2} Tell me: {3}",
    "Solve this riddle: {0} and {1} are each a truth-teller or a liar. {2} {3}",
    "{2} We know that {0} and {1} each always tell the truth or always lie. {3}",
    "Each of the two people {0} and {1} is either an honest person or a liar. {2} Please work out: {3}",
)
_ONE_ZH = (
    "{0}、{1}、{2}三人中恰好有一人{k}。{s}谁{k}？",
    "三个朋友{0}、{1}和{2}，只有一个人{k}。{s}请问谁{k}？",
    "真假话判断：{0}、{1}、{2}里只有一人{k}。{s}这个人是谁？",
    "已知{0}、{1}、{2}中只有一个{k}。{s}{k}的是谁？",
    "{s}{0}、{1}、{2}三人里恰有一人{k}，是谁？",
)
_ONE_EN = (
    "Exactly one of {0}, {1} and {2} {k}. {s} Who {k}?",
    "Three friends, {0}, {1} and {2}; only one of them {k}. {s} Who {k}?",
    "Only one of the three people {0}, {1}, {2} {k}. {s} Who is it?",
    "We know that just one of {0}, {1} and {2} {k}. {s} Find out who {k}.",
    "{s} Exactly one of {0}, {1} and {2} {k}. Who {k}?",
)
_DEEDS = (
    ("打碎了花瓶", "broke the vase"), ("吃了蛋糕", "ate the cake"), ("得了第一名", "won the race"),
    ("拿走了钥匙", "took the key"), ("打开了窗户", "opened the window"), ("藏了足球", "hid the ball"),
    ("画了这幅画", "painted the picture"), ("写了这封信", "wrote the letter"), ("踩坏了花", "stepped on the flowers"),
    ("做了好事", "did the good deed"), ("关了灯", "turned off the light"), ("喝了牛奶", "drank the milk"),
    ("弄丢了书", "lost the book"), ("赢了比赛", "won the game"), ("擦了黑板", "cleaned the blackboard"),
    ("修好了椅子", "repaired the chair"), ("喂了猫", "fed the cat"), ("借了雨伞", "borrowed the umbrella"),
)
_WHO_ZH = (
    "{0}、{1}、{2}中有一个人{d}。{s}三句话中只有{k}句是真的。谁{d}？",
    "有人{d}，是{0}、{1}、{2}中的一个。{s}已知恰好{k}句真话，请问是谁？",
    "老师问是谁{d}。{s}{0}、{1}、{2}三人说的话里只有{k}句是真话，到底是谁{d}？",
    "{0}、{1}、{2}三人中一人{d}。{s}这三句话恰有{k}句为真，请推理是谁。",
    "真假话判断：是谁{d}？只可能是{0}、{1}或{2}。{s}其中真话只有{k}句。",
)
_WHO_EN = (
    "One of {0}, {1} and {2} {d}. {s} Exactly {k} of the three statements {v} true. Who {d}?",
    "Somebody {d}: it was {0}, {1} or {2}. {s} Exactly {k} of these statements {v} true. Who was it?",
    "The teacher asks who {d}. {s} Only {k} of the three statements {v} true. Was it {0}, {1} or {2}?",
    "{0}, {1} and {2} are asked who {d}. {s} Exactly {k} of them told the truth. One of them did it. Who?",
    "It was {0}, {1} or {2} who {d}. {s} If exactly {k} of the three sentences {v} true, who {d}?",
)


def _claim_holds(claim: str, me: bool, other: bool) -> bool:
    """Is the claim of a person true, where me and other say who is truthful?"""
    liars = (not me) + (not other)
    return {"L": not other, "T": other, "N": liars == 2, "B": liars == 0, "X": liars == 1,
            "S": me == other, "A": liars >= 1}[claim]


def _said(rng: random.Random, language: str, names: tuple, sentences: list[str]) -> str:
    """The statements as direct speech, one wording for all."""
    if language == "zh":
        form = pick(rng, "{0}说：“{1}。”", "{0}说“{1}”。", "{0}：“{1}。”")
        return "".join(form.format(name, text) for name, text in zip(names, sentences) if text)
    form = pick(rng, "{0} says: \"{1}.\"", "{0} says \"{1}\".", "{0}: \"{1}.\"")
    return " ".join(form.format(name, text) for name, text in zip(names, sentences) if text)


def _checked(zh: bool, name: str, short: str, holds: bool, fits: bool) -> str:
    """One statement tried in one case: is it right, and does that fit its speaker?"""
    if zh:
        return f"{name}说{short}，{'对' if holds else '错'}，{'合' if fits else '矛盾'}"
    return f"{name} says {short}, {'right' if holds else 'wrong'}, {'fits' if fits else 'contradiction'}"


class TruthTellers(Family):
    name = "truth_tellers"

    def make(self, rng: random.Random, language: str) -> Problem:
        while True:
            problem = getattr(self, pick(rng, "_pair", "_one", "_who"))(rng, language)
            if problem:
                return problem

    def solve(self, key: tuple, language: str) -> str:
        """Tries every world as a bit mask and keeps the ones in which all speakers fit."""
        kind = key[0]
        if kind == "pair":
            return self._solve_pair(key, language)
        names, found = key[2:5], []
        for chosen in range(3):
            if kind == "who":
                true = sum((chosen == int(text[1])) == (text[0] == "+") for text in key[5:8])
                fits = true == key[1]
            else:
                mask = 1 << chosen if key[1] == "honest" else 7 - (1 << chosen)  # bit set: truthful
                fits = all((mask >> int(text[1]) & 1) ^ (text[0] == "-") == mask >> speaker & 1
                           for speaker, text in enumerate(key[5:8]))
            if fits:
                found.append(names[chosen])
        return found[0] if len(found) == 1 else ""

    @staticmethod
    def _solve_pair(key: tuple, language: str) -> str:
        # The worlds (first truthful, second truthful) in which a claim of the first person is true.
        worlds = {"L": {(0, 0), (1, 0)}, "T": {(0, 1), (1, 1)}, "N": {(0, 0)}, "B": {(1, 1)},
                  "X": {(0, 1), (1, 0)}, "S": {(0, 0), (1, 1)}, "A": {(0, 0), (0, 1), (1, 0)}}
        _, ask, first, second, claim, reply = key
        left = {(a, b) for a in (0, 1) for b in (0, 1)
                if ((a, b) in worlds[claim]) == bool(a)
                and (reply == "-" or ((b, a) in worlds[reply]) == bool(b))}
        if len(left) != 1:
            return ""
        wanted = 0 if ask == "liar" else 1
        chosen = [name for name, truthful in zip((first, second), left.pop()) if truthful == wanted]
        return ",".join(chosen) or ("无" if language == "zh" else "none")

    @staticmethod
    def _names(rng: random.Random, language: str, count: int) -> tuple:
        if rng.random() < 0.15:
            special = (*_LETTERS, _STEMS) if language == "zh" else _LETTERS
            return special[rng.randrange(len(special))][:count]
        return tuple(rng.sample(_NAMES_ZH if language == "zh" else _NAMES_EN, count))

    def _pair(self, rng: random.Random, language: str) -> Problem | None:
        names = self._names(rng, language, 2)
        claims = (pick(rng, *"LTNBXSA"), pick(rng, *"LTNBXSA--"))
        zh = language == "zh"
        lines, found = [], []
        for case in ((True, True), (True, False), (False, True), (False, False)):
            text, fits = [], True
            for speaker, claim in enumerate(claims):
                if claim == "-" or not fits:
                    continue
                holds = _claim_holds(claim, case[speaker], case[1 - speaker])
                fits = holds == case[speaker]
                short = _CLAIMS[claim][2 if zh else 3].format(names[1 - speaker])
                text.append(_checked(zh, names[speaker], short, holds, fits))
            kinds = [f"{name}{'真' if truth else '骗'}" if zh else f"{name} {'true' if truth else 'lies'}"
                     for name, truth in zip(names, case)]
            lines.append("".join(kinds) + "：" + "；".join(text) + "。" if zh else
                         ", ".join(kinds) + ": " + "; ".join(text) + ".")
            if fits:
                found.append(case)
        if len(found) != 1:
            return None
        ask = pick(rng, "liar", "liar", "honest")
        wanted = [name for name, truth in zip(names, found[0]) if truth == (ask == "honest")]
        expected = ",".join(wanted) or ("无" if zh else "none")
        box = f"\\boxed{{{expected}}}"
        sentences = [_CLAIMS[c][0 if zh else 1].format(names[1 - i]) if c != "-" else ""
                     for i, c in enumerate(claims)]
        said = _said(rng, language, names, sentences)
        if zh:
            end = pick(rng, "谁是骗子？", "谁在说谎？") if ask == "liar" else pick(rng, "谁说真话？", "谁是老实人？")
            question = pick(rng, *_PAIR_ZH).format(*names, said, end)
            result = f"{'骗子' if ask == 'liar' else '说真话的人'}："
            answer = f"逐一检验四种情况，只有一种成立。{result}{box}。"
        else:
            end = (pick(rng, "Who is a liar?", "Who is lying?") if ask == "liar" else
                   pick(rng, "Who tells the truth?", "Who is honest?"))
            question = pick(rng, *_PAIR_EN).format(*names, said, end)
            result = "Liars: " if ask == "liar" else "Truthful: "
            answer = f"Only one of the four cases fits. {result}{box}."
        lines.append(result + expected + ("。" if zh else "."))
        key = ("pair", ask, *names, *claims)
        return Problem(self.name, language, key, question, "\n".join(lines), answer, expected)

    def _one(self, rng: random.Random, language: str) -> Problem | None:
        """Three persons speak about each other; exactly one lies, or exactly one is honest."""
        names, zh = self._names(rng, language, 3), language == "zh"
        kind = pick(rng, "liar", "honest")
        targets = [rng.choice([j for j in range(3) if j != i]) for i in range(3)]
        signs = [pick(rng, "+", "-") for _ in range(3)]
        lines, found = [], []
        for chosen in range(3):
            truthful = [(i == chosen) == (kind == "honest") for i in range(3)]
            text, fits = [], True
            for i in range(3):
                if not fits:
                    break
                holds = truthful[targets[i]] == (signs[i] == "+")
                fits = holds == truthful[i]
                short = names[targets[i]] + (("真" if signs[i] == "+" else "骗") if zh else
                                             (" true" if signs[i] == "+" else " lies"))
                text.append(_checked(zh, names[i], short, holds, fits))
            only = (f"只有{names[chosen]}{'真' if kind == 'honest' else '骗'}：" if zh else
                    f"Only {names[chosen]} {'true' if kind == 'honest' else 'lies'}: ")
            lines.append(only + ("；".join(text) + "。" if zh else "; ".join(text) + "."))
            if fits:
                found.append(names[chosen])
        if len(found) != 1:
            return None
        told = [names[t] + (("说真话" if s == "+" else "在说谎") if zh else
                            (" tells the truth" if s == "+" else " is lying"))
                for s, t in zip(signs, targets)]
        words = {"liar": ("说谎", "is lying"), "honest": ("说真话", "tells the truth")}[kind][0 if zh else 1]
        question = pick(rng, *(_ONE_ZH if zh else _ONE_EN)).format(
            *names, k=words, s=_said(rng, language, names, told))
        lines.append(f"所以是{found[0]}。" if zh else f"So it is {found[0]}.")
        answer = (f"{words}的人是\\boxed{{{found[0]}}}。" if zh else
                  f"The one who {words} is \\boxed{{{found[0]}}}.")
        key = ("one", kind, *names, *(f"{s}{t}" for s, t in zip(signs, targets)))
        return Problem(self.name, language, key, question, "\n".join(lines), answer, found[0])

    def _who(self, rng: random.Random, language: str) -> Problem | None:
        """One of three did it; a given number of the three statements is true."""
        names, zh = self._names(rng, language, 3), language == "zh"
        deed, true = _DEEDS[rng.randrange(len(_DEEDS))], rng.randint(1, 2)
        signs, targets = [pick(rng, "+", "-") for _ in range(3)], [rng.randrange(3) for _ in range(3)]
        short = [("是" if s == "+" else "不是") + names[t] if zh else ("" if s == "+" else "not ") + names[t]
                 for s, t in zip(signs, targets)]
        lines = ["；".join(f"{n}说{s}" for n, s in zip(names, short)) + f"。真话{true}句。" if zh else
                 "; ".join(f"{n} says {s}" for n, s in zip(names, short)) + f". {true} true."]
        found = []
        for chosen in range(3):
            marks = [(t == chosen) == (s == "+") for s, t in zip(signs, targets)]
            fits = sum(marks) == true
            if zh:
                lines.append(f"若是{names[chosen]}：" + "，".join(
                    f"{n}{'真' if m else '假'}" for n, m in zip(names, marks))
                    + f"，真话{sum(marks)}句，{'符合' if fits else '不符'}。")
            else:
                lines.append(f"If {names[chosen]}: " + ", ".join(
                    f"{n} {'true' if m else 'false'}" for n, m in zip(names, marks))
                    + f", {sum(marks)} true, {'fits' if fits else 'no'}.")
            if fits:
                found.append(names[chosen])
        if len(found) != 1:
            return None
        told = []
        for i, (s, t) in enumerate(zip(signs, targets)):
            who = ("我" if zh else "me") if i == t else names[t]
            told.append(("是" if s == "+" else "不是") + who if zh else
                        ("It was " if s == "+" else "It was not ") + who)
        count = ("一两"[true - 1] if zh else ("one", "two")[true - 1])
        question = pick(rng, *(_WHO_ZH if zh else _WHO_EN)).format(
            *names, d=deed[0 if zh else 1], s=_said(rng, language, names, told), k=count,
            v="is" if true == 1 else "are")
        lines.append(f"所以是{found[0]}。" if zh else f"So it is {found[0]}.")
        answer = (f"{deed[0]}的是\\boxed{{{found[0]}}}。" if zh else
                  f"The one who {deed[1]} is \\boxed{{{found[0]}}}.")
        key = ("who", true, *names, *(f"{s}{t}" for s, t in zip(signs, targets)), deed[1])
        return Problem(self.name, language, key, question, "\n".join(lines), answer, found[0])


# Kind: (definition, Python body, words in Chinese, words in English, call) with {f} the function's
# name and {a}, {b}, {c} its parameters.
_RULES = {
    "linear": ("{f}(0)={c}，{f}(n)={a}×{f}(n-1)+{b}",
               "def {f}(n):\n    if n == 0:\n        return {c}\n    return {a} * {f}(n - 1) + {b}",
               "函数{f}在0处的值是{c}，以后每个值是前一个值的{a}倍再加{b}",
               "{f} starts with {f}(0)={c}; each further value is {a} times the one before plus {b}"),
    "step": ("{f}(0)={c}，{f}(n)={f}(n-1)+{b}",
             "def {f}(n):\n    if n == 0:\n        return {c}\n    return {f}(n - 1) + {b}",
             "函数{f}在0处的值是{c}，以后每个值比前一个值大{b}",
             "{f} starts with {f}(0)={c}; each further value is the one before plus {b}"),
    "power": ("{f}(0)={c}，{f}(n)={a}×{f}(n-1)",
              "def {f}(n):\n    if n == 0:\n        return {c}\n    return {a} * {f}(n - 1)",
              "函数{f}在0处的值是{c}，以后每个值是前一个值的{a}倍",
              "{f} starts with {f}(0)={c}; each further value is {a} times the one before"),
    "sum": ("{f}(0)={c}，{f}(n)={f}(n-1)+{a}×n",
            "def {f}(n):\n    if n == 0:\n        return {c}\n    return {f}(n - 1) + {a} * n",
            "函数{f}在0处的值是{c}，{f}(n)等于{f}(n-1)加上n的{a}倍",
            "{f} starts with {f}(0)={c}; {f}(n) is {f}(n-1) plus {a} times n"),
    "factorial": ("{f}(0)={c}，{f}(n)=n×{f}(n-1)",
                  "def {f}(n):\n    if n == 0:\n        return {c}\n    return n * {f}(n - 1)",
                  "函数{f}在0处的值是{c}，{f}(n)等于n乘{f}(n-1)",
                  "{f} starts with {f}(0)={c}; {f}(n) is n times {f}(n-1)"),
    "fibonacci": ("{f}(0)={a}，{f}(1)={b}，{f}(n)={f}(n-1)+{f}(n-2)",
                  "def {f}(n):\n    if n == 0:\n        return {a}\n    if n == 1:\n        return {b}\n"
                  "    return {f}(n - 1) + {f}(n - 2)",
                  "函数{f}的前两个值是{f}(0)={a}和{f}(1)={b}，以后每个值是前两个值的和",
                  "{f} starts with {f}(0)={a} and {f}(1)={b}; each further value is the sum of the last two"),
    "digits": ("n<10时{f}(n)=n，否则{f}(n)={f}(n÷10的商)+n的个位",
               "def {f}(n):\n    if n < 10:\n        return n\n    return {f}(n // 10) + n % 10",
               "函数{f}这样求各位数字之和：一位数就是它自己，否则去掉个位再求{f}，加上个位",
               "{f} adds the digits: a single digit is its own value, otherwise {f} of n "
               "without its last digit, plus the last digit"),
    "halve": ("{f}(1)={c}，{f}(n)={f}(n÷2的商)+{b}",
              "def {f}(n):\n    if n == 1:\n        return {c}\n    return {f}(n // 2) + {b}",
              "函数{f}在1处的值是{c}，{f}(n)等于n的一半（去掉小数）的{f}值加{b}",
              "{f}(1)={c}, and {f}(n) is {f} of half of n (rounded down) plus {b}"),
    "gcd": ("{f}(a,0)=a，{f}(a,b)={f}(b,a除以b的余数)",
            "def {f}(a, b):\n    if b == 0:\n        return a\n    return {f}(b, a % b)",
            "函数{f}(a,b)：b是0时等于a，否则等于{f}(b,a除以b的余数)",
            "{f}(a,b) is a if b is 0, otherwise {f}(b, remainder of a divided by b)"),
}
_ENGLISH_MATH = {"，": ", ", "n<10时": "if n<10 then ", "否则": "otherwise ", "n÷10的商": "n//10",
                 "n的个位": "last digit of n", "n÷2的商": "n//2", "a除以b的余数": "a mod b"}
_CALC_ZH = ("已知{0}。求{1}。", "递归定义：{0}。{1}等于多少？", "设{0}，计算{1}的值。", "如果{0}，那么{1}是多少？",
            "一个递归函数：{0}。请算出{1}。", "{0}，请问{1}=？", "请根据规则{0}求{1}。", "递归函数题：{0}。求出{1}的值。")
_CALC_EN = ("Given: {0}. Find {1}.", "A recursive definition: {0}. What is {1}?",
            "A function is given as follows: {0}. Compute {1}.", "If {0}, how much is {1}?",
            "A recursive function: {0}. Please work out {1}.", "{0}. {1} = ?",
            "Follow this rule: {0}. Now find {1}.", "Recursion: {0}. What is the value of {1}?")
_CODE_ZH = ("下面的递归函数，{1}返回多少？\n```python\n{0}\n```", "阅读代码：\n```python\n{0}\n```\n{1}的值是多少？",
            "```python\n{0}\n```\n请手算{1}。", "运行下面的代码，{1}的结果是什么？\n```python\n{0}\n```")
_CODE_EN = ("What does {1} return?\n```python\n{0}\n```", "Read this:\n```python\n{0}\n```\nWhat is {1}?",
            "```python\n{0}\n```\nWork out {1} by hand.",
            "What is the result of {1} for this recursive function?\n```python\n{0}\n```")


def _valued(name: str, argument: object, step: str) -> str:
    """The last step of one level, with the value's name: f(3)=6+1=7, or f(3)=… below column work."""
    if "→" in step:
        return f"{step}\n{name}({argument})={step.rsplit('=', 1)[1]}"
    return f"{name}({argument})={step}"


class Recursion(Family):
    name = "recursion"
    longest = 230  # characters of thinking; longer problems are drawn again

    def make(self, rng: random.Random, language: str) -> Problem:
        kind = rng.choice(list(_RULES))
        while True:
            numbers = self._numbers(rng, kind)
            name = pick(rng, "f", "f", "f", "g", "h", "F", "T", "s", "p", "u")
            definition = self._rule(kind, 0, name, numbers, language)
            if kind in ("fibonacci", "digits", "halve", "gcd"):
                lines, value = getattr(self, f"_{kind}")(name, *numbers)
            else:
                lines, value = self._chain(kind, name, *numbers)
            thinking = definition + ("。\n" if language == "zh" else ".\n") + "\n".join(lines)
            if value < 100000 and len(thinking) <= self.longest:
                break
        call = f"{name}({numbers[3]},{numbers[4]})" if kind == "gcd" else f"{name}({numbers[3]})"
        zh = language == "zh"
        if rng.random() < 0.35:
            code_call = call.replace(",", ", ")
            question = pick(rng, *(_CODE_ZH if zh else _CODE_EN)).format(
                self._rule(kind, 1, name, numbers, language), code_call)
        else:
            form = 0 if rng.random() < 0.6 else 2 if zh else 3
            rule = self._rule(kind, form, name, numbers, language)
            sign = pick(rng, "×", "×", "*", "")  # 2×f(n-1), 2*f(n-1) or 2f(n-1)
            rule = rule.replace("×", sign) if kind in ("linear", "power") else rule
            question = pick(rng, *(_CALC_ZH if zh else _CALC_EN)).format(rule, call)
        answer = f"{call}=\\boxed{{{value}}}" + ("。" if zh else "")
        return Problem(self.name, language, (kind, *numbers), question, thinking, answer, str(value))

    @staticmethod
    def _rule(kind: str, form: int, name: str, numbers: tuple, language: str) -> str:
        a, b, c = numbers[:3]
        text = _RULES[kind][form]
        if a == 1:
            for once in ("{a}×n", "{a} * n", "n的{a}倍", "{a} times n"):
                text = text.replace(once, "n")
        if form == 0 and language == "en":
            for old, new in _ENGLISH_MATH.items():
                text = text.replace(old, new)
        return text.format(f=name, a=a, b=b, c=c)

    @staticmethod
    def _numbers(rng: random.Random, kind: str) -> tuple:
        """(a, b, c, n) of the rule, 0 where it has none; gcd: (0, 0, 0, first, second)."""
        small = rng.randint
        if kind == "linear":
            return small(2, 5), small(1, 9), small(0, 9), small(2, 8)
        if kind == "step":
            return 0, small(1, 12), small(0, 30), small(3, 12)
        if kind == "power":
            return small(2, 9), 0, small(1, 5), small(2, 12)
        if kind == "sum":
            return small(1, 4), 0, small(0, 9), small(3, 12)
        if kind == "factorial":
            return 0, 0, small(1, 4), small(2, 8)
        if kind == "fibonacci":
            return small(0, 9), small(1, 9), 0, small(3, 12)
        if kind == "digits":
            return 0, 0, 0, small(100, 10 ** small(3, 8) - 1)
        if kind == "halve":
            return 0, small(1, 5), small(0, 5), small(4, 200)
        while True:
            factor = small(1, 15)
            first, second = factor * small(1, 30), factor * small(1, 15)
            if 99 >= first > second > 1:
                return 0, 0, 0, first, second

    def solve(self, key: tuple, language: str) -> str:
        """Closed forms and the library, where the thinking follows the recursion."""
        kind, a, b, c, n = key[:5]
        if kind == "linear":
            return str(a**n * c + b * (a**n - 1) // (a - 1))
        if kind == "step":
            return str(c + n * b)
        if kind == "power":
            return str(c * a**n)
        if kind == "sum":
            return str(c + a * n * (n + 1) // 2)
        if kind == "factorial":
            return str(c * math.factorial(n))
        if kind == "fibonacci":  # f(n) = a·F(n-1) + b·F(n), F(n) as sums of binomials
            number = [sum(math.comb(m - k - 1, k) for k in range((m + 1) // 2)) for m in (n - 1, n)]
            return str(a * number[0] + b * number[1])
        if kind == "digits":
            return str(sum(map(int, str(n))))
        if kind == "halve":
            return str(c + b * (n.bit_length() - 1))
        return str(math.gcd(n, key[5]))

    @staticmethod
    def _chain(kind: str, name: str, a: int, b: int, value: int, n: int) -> tuple[list[str], int]:
        """f(k) = factor·f(k-1) + term for every kind that looks back one step."""
        lines = [f"{name}(0)={value}"]
        for k in range(1, n + 1):
            factor = {"linear": a, "power": a, "factorial": k}.get(kind, 0)
            term = {"linear": b, "step": b, "sum": a * k}.get(kind, 0)
            step = ""
            if factor:
                step = multiply(value, factor)
                value *= factor
            elif kind == "sum" and a > 1:
                step = multiply(k, a)
            if term:
                lines += [step] if step else []
                step = add(value, term)
                value += term
            lines.append(_valued(name, k, step))
        return lines, value

    @staticmethod
    def _fibonacci(name: str, a: int, b: int, c: int, n: int) -> tuple[list[str], int]:
        lines = [f"{name}(0)={a},{name}(1)={b}"]
        for k in range(2, n + 1):
            lines.append(_valued(name, k, add(b, a)))
            a, b = b, a + b
        return lines, b

    @staticmethod
    def _digits(name: str, a: int, b: int, c: int, n: int) -> tuple[list[str], int]:
        text = str(n)
        value = int(text[0])
        lines = ["→".join(text[:size] for size in range(len(text), 0, -1)), f"{name}({text[0]})={value}"]
        for size in range(2, len(text) + 1):
            lines.append(_valued(name, text[:size], add(value, int(text[size - 1]))))
            value += int(text[size - 1])
        return lines, value

    @staticmethod
    def _halve(name: str, a: int, b: int, value: int, n: int) -> tuple[list[str], int]:
        chain = [n]
        while chain[-1] > 1:
            chain.append(chain[-1] // 2)
        lines = ["→".join(map(str, chain)), f"{name}(1)={value}"]
        for number in reversed(chain[:-1]):
            lines.append(_valued(name, number, add(value, b)))
            value += b
        return lines, value

    @staticmethod
    def _gcd(name: str, a: int, b: int, c: int, first: int, second: int) -> tuple[list[str], int]:
        lines = [f"{name}({first},{second})"]
        while second:
            remainder = first % second
            exact = "…0" if not remainder else ""  # the remainder is what the next call needs
            lines.append(f"{divide(first, second)}{exact}\n{name}({second},{remainder})")
            first, second = second, remainder
        lines[-1] += f"={first}"
        return lines, first


FAMILIES = [TruthTellers(), Recursion()]

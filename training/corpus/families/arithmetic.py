"""Addition, subtraction, multiplication and division, worked digit by digit."""

from __future__ import annotations

import random

from corpus.problem import Family, Problem, pick
from corpus.worked import add, divide, multiply, subtract


def _number(rng: random.Random, most_digits: int) -> int:
    """A number whose length is uniform, so short ones are not rare."""
    digits = rng.randint(1, most_digits)
    return rng.randint(10 ** (digits - 1) if digits > 1 else 0, 10**digits - 1)


_ASK_ZH = ("{0}是多少？", "计算：{0}", "{0}等于多少？", "请计算{0}。", "{0}=?", "算一算{0}。", "帮我算一下{0}")
_ASK_EN = ("What is {0}?", "Compute {0}.", "Calculate {0}", "{0} = ?", "How much is {0}?",
           "Work out {0}.", "Please compute {0}")


class _Operation(Family):
    sign = "+"
    words_zh: tuple[str, ...] = ()
    words_en: tuple[str, ...] = ()

    def operands(self, rng: random.Random) -> tuple[int, int]:
        raise NotImplementedError

    def worked(self, a: int, b: int) -> str:
        raise NotImplementedError

    def solve(self, key: tuple, language: str) -> str:
        a, b = key
        # By Python's own integers; worked.py goes digit by digit.
        return str({"+": a + b, "-": a - b, "×": a * b}[self.sign])

    def make(self, rng: random.Random, language: str) -> Problem:
        a, b = self.operands(rng)
        if rng.random() < 0.6:
            sign = self.sign if self.sign != "×" else pick(rng, "×", "×", "*")
            space = pick(rng, "", "", " ")
            expression = f"{a}{space}{sign}{space}{b}"
            question = pick(rng, *(_ASK_ZH if language == "zh" else _ASK_EN)).format(expression)
        else:
            question = pick(rng, *(self.words_zh if language == "zh" else self.words_en)).format(a, b)
        result = self.solve((a, b), language)
        whole = f"{a}{self.sign}{b}={result}"
        if self.sign == "-" and a < b:
            thinking = (f"{a}<{b}，结果是负数。\n" if language == "zh" else f"{a}<{b}, so it is negative.\n")
            thinking += subtract(b, a) + f"\n{whole}"
        else:
            thinking = self.worked(a, b)
        answer = f"{a}{self.sign}{b}=\\boxed{{{result}}}"
        return Problem(self.name, language, (a, b), question, thinking, answer, result)


class Addition(_Operation):
    name = "addition"
    sign = "+"
    words_zh = ("{0}加{1}等于多少？", "{0}与{1}的和是多少？", "把{0}和{1}加起来。")
    words_en = ("What is {0} plus {1}?", "What is the sum of {0} and {1}?", "Add {0} and {1}.")

    def operands(self, rng):
        return _number(rng, 6), _number(rng, 6)

    def worked(self, a, b):
        return add(a, b)


class Subtraction(_Operation):
    name = "subtraction"
    sign = "-"
    words_zh = ("{0}减{1}等于多少？", "{0}与{1}的差是多少？", "从{0}里减去{1}。")
    words_en = ("What is {0} minus {1}?", "Subtract {1} from {0}.", "What is the difference {0} minus {1}?")

    def operands(self, rng):
        a, b = _number(rng, 6), _number(rng, 6)
        return (a, b) if a >= b or rng.random() < 0.25 else (b, a)

    def worked(self, a, b):
        return subtract(a, b)


class Multiplication(_Operation):
    name = "multiplication"
    sign = "×"
    words_zh = ("{0}乘{1}等于多少？", "{0}和{1}的积是多少？", "{0}乘以{1}是多少？")
    words_en = ("What is {0} times {1}?", "Multiply {0} by {1}.", "What is the product of {0} and {1}?")

    def operands(self, rng):
        return _number(rng, 3), _number(rng, 3)

    def worked(self, a, b):
        return multiply(a, b)


class Division(Family):
    name = "division"

    def solve(self, key, language):
        a, b = key
        quotient = 0
        while a >= b * 1000:  # repeated subtraction, in strides
            a -= b * 1000
            quotient += 1000
        while a >= b:
            a -= b
            quotient += 1
        if a == 0:
            return str(quotient)
        return f"{quotient}余{a}" if language == "zh" else f"{quotient} remainder {a}"

    def make(self, rng, language):
        b = rng.randint(2, 9) if rng.random() < 0.7 else rng.randint(10, 25)
        if rng.random() < 0.5:
            a = b * rng.randint(1, 10 ** rng.randint(1, 3))
        else:
            a = _number(rng, 5)
        if language == "zh":
            question = pick(rng, "{0}÷{1}是多少？", "{0}除以{1}等于多少？", "计算{0}÷{1}。",
                            "{0}除以{1}，商和余数是多少？", "把{0}平均分成{1}份，每份多少，余多少？").format(a, b)
        else:
            question = pick(rng, "What is {0} divided by {1}?", "Compute {0}÷{1}.", "What is {0} / {1}?",
                            "Divide {0} by {1}.", "Find the quotient and remainder of {0}÷{1}.").format(a, b)
        result = self.solve((a, b), language)
        return Problem(self.name, language, (a, b), question, divide(a, b),
                       f"{a}÷{b}=\\boxed{{{result}}}", result)


FAMILIES = [Addition(), Subtraction(), Multiplication(), Division()]

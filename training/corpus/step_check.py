"""Reads a piece of thinking back and says which of its equations are true.

Looks at every maximal run of digits, operators and equals signs, such as `94-70=24` or
`1000÷7=142…6`, and compares the two sides exactly (fractions, no floats). A side that touches a
letter (`2x+3=11`) depends on a variable and is left out.
"""

from __future__ import annotations

import re
from fractions import Fraction

_RUN = re.compile(r"[0-9+\-×*÷/().²³^…= ]*=[0-9+\-×*÷/().²³^…= ]*")
_TOKEN = re.compile(r"\d+(?:\.\d+)?|[-+×*÷/()²³^]")
_VARIABLE = re.compile(r"[A-Za-z_²³)\]}\\]")


def check_steps(text: str) -> tuple[list[str], list[str]]:
    """(true equations, false equations) of the text, each as written."""
    right, wrong = [], []
    text = re.sub(r"(?<=\d),(?=\d{3}(?!\d))", "", text.replace("−", "-"))  # 1,234 and the other minus
    for run in _RUN.finditer(text):
        written = run.group().rstrip(" .")  # "2×6=12. So": the sentence ends here
        end = run.start() + len(written)
        # A letter right before a number makes it a term ("2x+3"); a word before a blank does not.
        before = text[run.start() - 1] if run.start() and written[:1] != " " else "\n"
        after = text[end] if end < len(text) else "\n"
        for equation, holds in _equations(written, before, after):
            (right if holds else wrong).append(equation)
    return right, wrong


def _equations(run: str, before: str, after: str):
    sides = [side.strip() for side in run.split("=")]
    is_rest_of_term = run.lstrip().startswith(("- ", "+", "×", "*", "÷", "/", ")"))  # of "2x - 3"
    if _VARIABLE.match(before) or is_rest_of_term:
        sides[0] = ""  # belongs to a term with a variable in it
    if re.match(r"[A-Za-z_\\%]", after):
        sides[-1] = ""
    sides[-1] = sides[-1].rstrip("( ")
    for left, right in zip(sides, sides[1:]):
        if not left or not right:
            continue
        try:
            yield f"{left}={right}", _holds(left, right)
        except (ValueError, ZeroDivisionError, OverflowError):
            continue  # not an equation between numbers, e.g. "3)=("


def _holds(left: str, right: str) -> bool:
    if "…" in right:
        quotient, remainder = (int(part) for part in right.split("…"))
        dividend, divisor = (int(part) for part in re.split("÷", left))
        return divisor > remainder >= 0 and dividend == quotient * divisor + remainder
    return _value(left) == _value(right)


def _value(text: str) -> Fraction:
    """Value of an expression in + - × ÷ ( ) ² ³ ^; ValueError if it is not one."""
    tokens = _TOKEN.findall(text)
    if "".join(tokens) != text.replace(" ", ""):
        raise ValueError(text)
    tokens.append("")
    at = 0

    def take() -> str:
        nonlocal at
        at += 1
        return tokens[at - 1]

    def factor() -> Fraction:
        token = take()
        if token == "-":
            return -factor()
        if token == "(":
            value = total()
            if take() != ")":
                raise ValueError(text)
        elif token[:1].isdigit():
            value = Fraction(token)
        else:
            raise ValueError(text)
        while tokens[at] in ("²", "³", "^"):
            mark = take()
            power = {"²": 2, "³": 3}.get(mark) or int(take() or "x")
            if power > 64:
                raise ValueError(text)
            value **= power
        return value

    def term() -> Fraction:
        value = factor()
        while tokens[at] in ("×", "*", "÷", "/", "("):
            if tokens[at] == "(":
                value *= factor()  # 2(3+4)
                continue
            value = value * factor() if take() in ("×", "*") else value / factor()
        return value

    def total() -> Fraction:
        value = term()
        while tokens[at] in ("+", "-"):
            value = value + term() if take() == "+" else value - term()
        return value

    value = total()
    if tokens[at]:
        raise ValueError(text)
    return value

"""Arithmetic written out the way it is done on paper, one column at a time.

All families write multi-digit arithmetic in these forms, so the model learns each skill once. The
forms have no words and no spaces: they read the same in both languages, every digit is one token, and
step_check.py can verify each equation.

    add(468, 57)     468+57:8+7=15,6+5+1=12,4+0+1=5→468+57=525
    subtract(525,57) 525-57:15-7=8,11-5=6,4-0=4→525-57=468
    multiply(468,7)  468×7:8×7=56,6×7+5=47,4×7+4=32→468×7=3276
    divide(1000,7)   1000÷7:10÷7=1…3,30÷7=4…2,20÷7=2…6→1000÷7=142…6

Small cases (see each function) are written as the bare equation.
"""

from __future__ import annotations


def add(a: int, b: int) -> str:
    """a + b for a, b >= 0. Two numbers below 100 are added at once."""
    whole = f"{a}+{b}={a + b}"
    if a < 100 and b < 100:
        return whole
    steps, carry = [], 0
    first, second = str(a)[::-1], str(b)[::-1]
    for column in range(max(len(first), len(second))):
        x = int(first[column]) if column < len(first) else 0
        y = int(second[column]) if column < len(second) else 0
        steps.append(f"{x}+{y}" + ("+1" if carry else "") + f"={x + y + carry}")
        carry = (x + y + carry) // 10
    return f"{a}+{b}:{','.join(steps)}→{whole}"


def subtract(a: int, b: int) -> str:
    """a - b for a >= b >= 0, borrowing. Numbers below 100 are subtracted at once."""
    if not a >= b >= 0:
        raise ValueError(f"subtract({a}, {b})")
    whole = f"{a}-{b}={a - b}"
    if a < 100:
        return whole
    steps, borrow = [], 0
    first, second = str(a)[::-1], str(b)[::-1]
    for column in range(len(first)):
        x = int(first[column]) - borrow
        y = int(second[column]) if column < len(second) else 0
        borrow = 1 if x < y else 0
        x += 10 * borrow
        steps.append(f"{x}-{y}={x - y}")
    return f"{a}-{b}:{','.join(steps)}→{whole}"


def multiply(a: int, b: int) -> str:
    """a × b for a, b >= 0: one line for each digit of b, then the sums. b < 10: one line."""
    if a < 10 and b < 10:
        return f"{a}×{b}={a * b}"
    if b < 10:
        return _times_digit(a, b, 0)
    lines, partial = [], None
    for place, digit in enumerate(reversed(str(b))):
        if digit == "0":
            continue
        product = a * int(digit) * 10**place
        lines.append(_times_digit(a, int(digit), place))
        if partial is None:
            partial = product
        else:
            lines.append(add(partial, product))
            partial += product
    lines.append(f"{a}×{b}={a * b}")
    return "\n".join(lines)


def _times_digit(a: int, digit: int, place: int) -> str:
    """a × digit·10^place, column by column; the zeros of the place are appended at the end."""
    factor = digit * 10**place
    whole = f"{a}×{factor}={a * factor}"
    steps, carry = [], 0
    for x in reversed(str(a)):
        value = int(x) * digit + carry
        steps.append(f"{x}×{digit}" + (f"+{carry}" if carry else "") + f"={value}")
        carry = value // 10
    if len(steps) == 1:
        return whole
    return f"{a}×{factor}:{','.join(steps)}→{whole}"


def divide(a: int, b: int) -> str:
    """a ÷ b with remainder, for a >= 0, b >= 1, by long division. `a÷b=q…r` with …0 left out."""
    whole = f"{a}÷{b}={_quotient(a, b)}"
    steps, rest = [], 0
    for digit in str(a):
        rest = rest * 10 + int(digit)
        if rest < b and not steps:
            continue
        steps.append(f"{rest}÷{b}={rest // b}…{rest % b}")
        rest %= b
    if len(steps) <= 1:
        return whole
    return f"{a}÷{b}:{','.join(steps)}→{whole}"


def _quotient(a: int, b: int) -> str:
    return f"{a // b}…{a % b}" if a % b else f"{a // b}"

"""The worked forms and the checker that reads them back."""

import random

import pytest

from corpus.step_check import check_steps
from corpus.worked import add, divide, multiply, subtract


@pytest.mark.parametrize("text, right, wrong", [
    ("94-70=24", 1, 0),
    ("94-70=25", 0, 1),
    ("1000÷7=142…6", 1, 0),
    ("1000÷7=142…5", 0, 1),
    ("1000÷7=141…13", 0, 1),  # the remainder must be smaller than the divisor
    ("so 2×6=12. So it is", 1, 0),
    ("so 2×6=13. So it is", 0, 1),
    ("468×7:8×7=56,6×7+5=47→468×7=3276", 3, 0),
    ("2x+3=11", 0, 0),  # depends on x
    ("x=94-70=24", 1, 0),
    ("x=94-70=23", 0, 1),
    ("6=2x", 0, 0),
    ("2x - 3 = 11", 0, 0),
    ("5−3=2", 1, 0),
    ("1,234+1=1,235", 1, 0),
    ("-8+12=4", 1, 0),
    ("(2+3)×4=20, 5²-1=24, 3/4=0.75", 3, 0),
    ("-7+12=5", 1, 0),
    ("5÷0=1", 0, 0),
    ("9^99999=1", 0, 0),  # refused, not computed
    ("", 0, 0),
])
def test_check_steps(text, right, wrong):
    found = check_steps(text)
    assert (len(found[0]), len(found[1])) == (right, wrong), found


def test_worked_forms_end_in_the_true_result_and_have_true_steps():
    rng = random.Random(4)
    for _ in range(2000):
        a, b = rng.randint(0, 10 ** rng.randint(1, 6)), rng.randint(0, 10 ** rng.randint(1, 6))
        small = rng.randint(1, 99)
        for text, end in ((add(a, b), f"{a}+{b}={a + b}"),
                          (subtract(max(a, b), min(a, b)), f"{max(a, b)}-{min(a, b)}={abs(a - b)}"),
                          (multiply(a, small), f"{a}×{small}={a * small}"),
                          (divide(a, small), f"{a}÷{small}={a // small}" + (f"…{a % small}" if a % small else ""))):
            assert text.endswith(end)
            right, wrong = check_steps(text)
            assert right and not wrong, (text, wrong)


def test_subtract_refuses_a_negative_result():
    with pytest.raises(ValueError):
        subtract(3, 5)

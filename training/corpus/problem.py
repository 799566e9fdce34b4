"""One problem, and what every family of problems must offer.

A family makes problems from a random generator, knows an independent way to the answer, and grades a
reply. Which split (train, validation, test) a problem belongs to is decided by its parameters alone,
so no test problem shares its parameters with a training problem, whatever its wording or language.
"""

from __future__ import annotations

import hashlib
import random
import re
from dataclasses import dataclass, field

LANGUAGES = ("zh", "en")


@dataclass(frozen=True)
class Problem:
    family: str
    language: str  # "zh" or "en"
    key: tuple  # the parameters; decides the split
    question: str  # the user's words
    thinking: str  # goes between <think> and </think>
    answer: str  # what the user sees; holds \boxed{expected} where there is one value to check
    expected: str = ""  # the content of \boxed{}; "" where the family grades in its own way
    system: str = ""  # a system message, "" for none
    facts: dict = field(default_factory=dict, compare=False)  # what the grader needs besides


class Family:
    """Base of all families. Subclasses set `name` and override make() and solve()."""

    name = ""

    def make(self, rng: random.Random, language: str) -> Problem:
        raise NotImplementedError

    def solve(self, key: tuple, language: str) -> str:
        """The expected answer by another road than make() took; "" if the family has no boxed answer."""
        raise NotImplementedError

    def grade(self, problem: Problem, reply: str) -> bool:
        """Is this reply (without thinking) right? By default: the last \\boxed{} equals expected."""
        return same_answer(last_boxed(reply), problem.expected)


def split_of(family: str, key: tuple) -> str:
    """'train' (90 %), 'validation' (2 %) or 'test' (8 %), a pure function of the parameters."""
    digest = hashlib.sha256(repr((family, key)).encode()).digest()
    bucket = int.from_bytes(digest[:4], "big") % 100
    if bucket < 8:
        return "test"
    return "validation" if bucket < 10 else "train"


def last_boxed(text: str) -> str | None:
    """Content of the last \\boxed{...}, braces balanced; None if there is none."""
    at = text.rfind("\\boxed{")
    if at < 0:
        return None
    depth = 0
    for index in range(at + 6, len(text)):
        if text[index] == "{":
            depth += 1
        elif text[index] == "}":
            depth -= 1
            if depth == 0:
                return text[at + 7 : index]
    return None


def same_answer(given: str | None, expected: str) -> bool:
    if given is None:
        return False
    return _plain(given) == _plain(expected)


def _plain(text: str) -> str:
    text = text.replace("，", ",").replace("、", ",").replace("−", "-").replace("％", "%")
    return re.sub(r"\s+", "", text).lower().rstrip(".。")


def pick(rng: random.Random, *choices: str) -> str:
    """One of several wordings."""
    return choices[rng.randrange(len(choices))]

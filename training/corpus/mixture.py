"""The corpus as a stream: which family, which language, with which surroundings, as prompt and target.

The text of a sample is what the server sends to the model and expects from it, under the R1 chat
template (template.py): a system message is folded into the first user text, a prompt ends in "<think>\n", or in "<think>\n\n</think>\n\n" when thinking is off.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

from corpus.families import algebra, arithmetic, code, logic, money, number_theory, riddles
from corpus.families import sequences, structured, talk, units
from corpus.problem import Family, Problem, pick, split_of

BOS = "<｜begin▁of▁sentence｜>"
EOS = "<｜end▁of▁sentence｜>"
USER = "<｜User｜>"
ASSISTANT = "<｜Assistant｜>"
NO_THINKING = "<think>\n\n</think>\n\n"

_MODULES = (arithmetic, riddles, algebra, money, number_theory, sequences, units, logic, code, talk,
            structured)
FAMILIES: dict[str, Family] = {f.name: f for module in _MODULES for f in module.FAMILIES}

# Shares of the corpus where they are not 1: less where a solution is long, since tokens are what a run has.
_WEIGHTS = {
    "multiplication": 1.3, "quadratic": 0.7, "linear_system": 0.6, "gcd_lcm": 0.7, "percentage": 1.2,
    "shopping": 0.8, "python_function": 1.2, "truth_tellers": 1.2, "weekday": 1.2, "subtraction": 1.3,
    "parity": 1.2, "refusal": 0.5, "tool_call": 0.8,
}

# Families whose answer is a value in a box: those take the instruction people add for R1.
_INSTRUCTION = {
    "zh": "请逐步推理，并将最终答案放在\\boxed{}内。",
    "en": "Please reason step by step, and put your final answer within \\boxed{}.",
}
_SYSTEMS = {
    "zh": ("你是一个有帮助的AI助手", "你是一个有用的助手。", "你是一位耐心的数学老师。", "请用中文回答。"),
    "en": ("You are a helpful assistant.", "You are a patient mathematics teacher.", "Answer briefly.",
           "You are a helpful AI assistant"),
}


@dataclass(frozen=True)
class Sample:
    prompt: str
    target: str  # ends with EOS
    problem: Problem


def draw(rng: random.Random, split: str, family: Family, language: str) -> Problem:
    """A problem of this split; the parameters are drawn again until they belong to it."""
    for _ in range(100_000):
        problem = family.make(rng, language)
        if split_of(problem.family, problem.key) == split:
            return problem
    raise RuntimeError(f"family {family.name} makes no problem for split {split}")


def user_text(problem: Problem) -> str:
    """What stands between the user and the assistant mark, system text folded as the server does."""
    return f"{problem.system}\n\n{problem.question}" if problem.system else problem.question


def prompt_of(problem: Problem, history: str = "", thinking: bool = True) -> str:
    tail = "<think>\n" if thinking else NO_THINKING
    return f"{BOS}{history}{USER}{user_text(problem)}{ASSISTANT}{tail}"


def samples(seed: int, split: str) -> Iterator[Sample]:
    """Endless, the same for the same seed and split."""
    rng = random.Random(f"{seed}/{split}")
    names = list(FAMILIES)
    weights = [_WEIGHTS.get(name, 1.0) for name in names]
    previous: Problem | None = None
    while True:
        family = FAMILIES[rng.choices(names, weights)[0]]
        problem = draw(rng, split, family, pick(rng, "zh", "en"))
        problem = _with_surroundings(rng, problem)
        history = ""
        if previous is not None and rng.random() < 0.03:
            history = f"{USER}{user_text(previous)}{ASSISTANT}{previous.answer}{EOS}"
        thinking = rng.random() >= 0.1
        target = f"{problem.thinking}\n</think>\n\n{problem.answer}" if thinking else problem.answer
        yield Sample(prompt_of(problem, history, thinking), target + EOS, problem)
        previous = problem if not problem.system else None


def _with_surroundings(rng: random.Random, problem: Problem) -> Problem:
    """Sometimes the usual system text, sometimes the usual instruction."""
    question, system = problem.question, problem.system
    if problem.expected and rng.random() < 0.12:
        question += pick(rng, "", "\n") + _INSTRUCTION[problem.language]
    if not system and rng.random() < 0.06:
        system = pick(rng, *_SYSTEMS[problem.language])
    return Problem(problem.family, problem.language, problem.key, question, problem.thinking,
                   problem.answer, problem.expected, system, problem.facts)

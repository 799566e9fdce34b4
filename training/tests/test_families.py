"""Every family: the answer agrees with an independent solver, every step is true, grading can fail."""

import itertools
import random
import re

import pytest

from corpus.mixture import EOS, FAMILIES, NO_THINKING, draw, samples
from corpus.problem import LANGUAGES, last_boxed, split_of
from corpus.step_check import check_steps

PER_LANGUAGE = 150
SLOW = {"python_function": 8}  # grading starts a Python process


def problems(name):
    rng = random.Random(f"test/{name}")
    for language in LANGUAGES:
        for _ in range(SLOW.get(name, PER_LANGUAGE)):
            yield FAMILIES[name].make(rng, language)


@pytest.mark.parametrize("name", FAMILIES)
def test_answer_agrees_with_the_independent_solver(name):
    family = FAMILIES[name]
    for problem in problems(name):
        assert problem.family == name and problem.question and problem.thinking and problem.answer
        assert family.solve(problem.key, problem.language) == problem.expected
        if problem.expected:
            assert last_boxed(problem.answer) == problem.expected
        assert family.grade(problem, problem.answer), problem


def numbers(text):
    return set(re.findall(r"\d+(?:\.\d+)?", text))


# Some families take the expected value from solve() itself: here the worked plan must reach it, too.
@pytest.mark.parametrize("name", [n for n in FAMILIES if n != "truth_tellers"])
def test_the_thinking_reaches_the_answer(name):
    for problem in problems(name):
        wanted = numbers(problem.expected) - {"0"}  # a zero remainder is left out of a division
        assert wanted <= numbers(problem.thinking), (problem.thinking, problem.expected)


@pytest.mark.parametrize("name", FAMILIES)
def test_every_step_of_the_thinking_is_true(name):
    for problem in problems(name):
        _, wrong = check_steps(f"{problem.thinking}\n{problem.answer}")
        assert not wrong, (problem.thinking, wrong)


def spoiled(answer):
    """The answer with its boxed value, its last number or its last words changed."""
    box = last_boxed(answer)
    if box is not None:
        digits = re.sub(r"\d", lambda d: str((int(d[0]) + 1) % 10), box)
        return answer.replace(f"\\boxed{{{box}}}", f"\\boxed{{{digits if digits != box else box + 'x'}}}")
    return re.sub(r"\d", lambda d: str((int(d[0]) + 1) % 10), answer[: len(answer) // 2])


@pytest.mark.parametrize("name", [n for n in FAMILIES if n not in ("talk", "refusal")])
def test_a_spoiled_answer_is_graded_wrong(name):
    for problem in itertools.islice(problems(name), 60):
        assert not FAMILIES[name].grade(problem, spoiled(problem.answer)), problem.answer


@pytest.mark.parametrize("name", FAMILIES)
def test_an_empty_answer_is_graded_wrong(name):
    problem = next(problems(name))
    assert not FAMILIES[name].grade(problem, "")


@pytest.mark.parametrize("name", FAMILIES)
def test_each_split_can_be_drawn_from(name):
    rng = random.Random(3)
    for split in ("train", "validation", "test"):
        problem = draw(rng, split, FAMILIES[name], "zh")
        assert split_of(problem.family, problem.key) == split


def test_no_test_problem_has_the_parameters_of_a_training_sample():
    seen = {(s.problem.family, s.problem.key) for s in itertools.islice(samples(5, "train"), 4000)}
    rng = random.Random(9)
    for name in FAMILIES:
        for _ in range(20):
            problem = draw(rng, "test", FAMILIES[name], "en")
            assert (name, problem.key) not in seen


def test_samples_are_the_same_for_the_same_seed():
    first = [(s.prompt, s.target) for s in itertools.islice(samples(11, "train"), 300)]
    assert first == [(s.prompt, s.target) for s in itertools.islice(samples(11, "train"), 300)]
    assert first != [(s.prompt, s.target) for s in itertools.islice(samples(12, "train"), 300)]


def test_samples_have_the_form_the_server_sends():
    for sample in itertools.islice(samples(1, "train"), 1000):
        assert sample.target.endswith(EOS) and sample.target.count(EOS) == 1
        if sample.prompt.endswith(NO_THINKING):
            assert "</think>" not in sample.target
        else:
            assert sample.prompt.endswith("<think>\n") and sample.target.count("\n</think>\n\n") == 1

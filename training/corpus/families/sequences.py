"""Number sequences: the next term, the n-th term, the sum of the first n terms."""

from __future__ import annotations

import random

from corpus.problem import Family, Problem, pick
from corpus.worked import add, divide, multiply, subtract

_NEXT_ZH = ("找规律：{s}，下一个数是多少？", "数列{s}，…的下一项是什么？", "{s}，?，问号处应填几？", "观察数列：{s}。接下来的数是几？",
            "请写出数列{s}的下一个数。", "按规律填数：{s}，（　）", "{s}后面应该是哪个数？", "小明写下{s}，他接着会写什么数？")
_NEXT_EN = ("What is the next number in the sequence {s}?", "Find the next term: {s}, ...",
            "{s}, ? What comes next?",
            "Continue the sequence {s}. What is the next number?", "Which number follows {s}?",
            "Look at the pattern {s}. What is the next term?", "Please give the next number: {s}, ...",
            "Anna writes {s}. Which number will she write next?")
_NTH_ZH = ("等差数列{s}，…的第{n}项是多少？", "等差数列的首项是{a}，{way}{d}，求第{n}项。", "数列{s}，…，按此规律，第{n}个数是几？",
           "一个等差数列从{a}开始，每次{more}{d}，第{n}项是多少？")
_NTH_EN = ("What is term number {n} of the arithmetic sequence {s}, ...?",
           "An arithmetic sequence starts at {a} and {more} by {d} each time. What is term number {n}?",
           "Find the {o} term: {s}, ...", "What is the {o} term of {s}, ...?",
           "First term {a}, common difference {c}. What is term number {n}?")
_SUM_ZH = ("等差数列{s}，…的前{n}项和是多少？", "等差数列首项是{a}，公差是{d}，求前{n}项的和。", "求数列{s}，…前{n}个数的总和。",
           "第一排有{a}个座位，每排比前一排多{d}个，一共{n}排，总共有多少个座位？")
_SUM_EN = ("What is the sum of the first {n} terms of {s}, ...?",
           "An arithmetic sequence has first term {a} and common difference {d}. Find the sum of the "
           "first {n} terms.",
           "Add up the first {n} numbers of the arithmetic sequence {s}, ...",
           "The first row has {a} seats and each row has {d} more than the one before. How many seats do "
           "{n} rows have?")


def _ordinal(n: int) -> str:
    """21st, 22nd, 23rd, 24th, and 11th to 13th."""
    ending = "th" if 10 < n % 100 < 14 else {1: "st", 2: "nd", 3: "rd"}.get(n % 10, "th")
    return f"{n}{ending}"


def _rules(terms: tuple) -> set[int]:
    """Next terms by every recurrence that fits all given terms: x'=2x-y, x'=x²/y, x'=x+y, x'=3x-3y+z."""
    found = set()
    last = len(terms)
    extended = list(terms)
    if all(terms[i] == 2 * terms[i - 1] - terms[i - 2] for i in range(2, last)):
        found.add(2 * extended[-1] - extended[-2])
    if all(terms[i] * terms[i - 2] == terms[i - 1] ** 2 for i in range(2, last)):
        found.add(extended[-1] ** 2 // extended[-2])
    if all(terms[i] == terms[i - 1] + terms[i - 2] for i in range(2, last)):
        found.add(extended[-1] + extended[-2])
    if all(terms[i] == 3 * terms[i - 1] - 3 * terms[i - 2] + terms[i - 3] for i in range(3, last)):
        found.add(3 * extended[-1] - 3 * extended[-2] + extended[-3])
    return found


class Sequence(Family):
    """Keys: (next, terms...), (nth, first, difference, n), (sum, first, difference, n)."""

    name = "sequence"

    def solve(self, key: tuple, language: str) -> str:
        if key[0] == "next":
            (value,) = _rules(key[1:])
            return str(value)
        kind, first, difference, n = key
        value = total = first
        for _ in range(n - 1):  # term by term, no formula
            value += difference
            total += value
        return str(value if kind == "nth" else total)

    def make(self, rng: random.Random, language: str) -> Problem:
        kind = pick(rng, "arithmetic", "geometric", "squares", "fibonacci", "growing", "nth", "nth", "sum")
        if kind == "nth":
            return self._nth(rng, language)
        if kind == "sum":
            return self._sum(rng, language)
        return self._next(rng, language, kind)

    def _terms(self, rng, kind) -> tuple:
        count = rng.randint(4, 5)
        if kind == "arithmetic":
            a, d, falls = rng.randint(1, 60), rng.randint(2, 25), rng.random() < 0.4
            terms = [a + d * (i + falls) for i in range(count)]
            return tuple(terms[::-1] if falls else terms)
        if kind == "geometric":
            a, r = rng.randint(1, 15), rng.randint(2, 5)
            return tuple(a * r**i for i in range(4 if r > 3 else count))
        if kind == "squares":
            start = rng.randint(1, 12)
            return tuple((start + i) ** 2 for i in range(count))
        if kind == "fibonacci":
            terms = [rng.randint(1, 20), rng.randint(1, 30)]
            while len(terms) < 5:
                terms.append(terms[-1] + terms[-2])
            return tuple(terms)
        terms, d, c = [rng.randint(1, 40)], rng.randint(1, 12), rng.randint(1, 9)
        for i in range(count - 1):
            terms.append(terms[-1] + d + c * i)
        return tuple(terms)

    def _next(self, rng, language, kind) -> Problem:
        while True:
            terms = self._terms(rng, kind)
            # Two readings would make two answers; 1,2,3,5 looks like an arithmetic one at first.
            early = terms[0] >= terms[1] or terms[1] - terms[0] == terms[2] - terms[1]
            looks_fibonacci = terms[0] + terms[1] == terms[2]
            if len(_rules(terms)) != 1 or (early and kind != "arithmetic"):
                continue
            looks_geometric = terms[0] * terms[2] == terms[1] ** 2
            if looks_fibonacci != (kind == "fibonacci") or looks_geometric and kind != "geometric":
                continue
            break
        key = ("next", *terms)
        zh = language == "zh"
        shown = ("，" if zh else ", ").join(map(str, terms))
        question = pick(rng, *(_NEXT_ZH if zh else _NEXT_EN)).format(s=shown)
        result = self.solve(key, language)
        answer = f"下一个数是\\boxed{{{result}}}。" if zh else f"The next number is \\boxed{{{result}}}."
        thinking = "\n".join(self._search(zh, terms))
        return Problem(self.name, language, key, question, thinking, answer, result)

    def _search(self, zh: bool, terms: tuple) -> list[str]:
        """Differences, ratios, sums, second differences, in this order; the first that fits ends it."""
        lines = [",".join(map(str, terms)), "差：" if zh else "differences:"]
        if terms[0] > terms[1]:
            gap = terms[0] - terms[1]
            lines += [subtract(x, y) for x, y in zip(terms, terms[1:])]
            lines.append(f"每次减{gap}。" if zh else f"Each time minus {gap}.")
            return lines + [subtract(terms[-1], gap)]
        gaps = [y - x for x, y in zip(terms, terms[1:])]
        lines += [subtract(terms[1], terms[0]), subtract(terms[2], terms[1])]
        if gaps[0] == gaps[1]:
            lines += [subtract(y, x) for x, y in zip(terms[2:], terms[3:])]
            lines.append(f"每次加{gaps[0]}。" if zh else f"Each time plus {gaps[0]}.")
            return lines + [add(terms[-1], gaps[0])]
        lines += ["不等。比：" if zh else "Not equal. ratios:", divide(terms[1], terms[0])]
        if terms[1] % terms[0] == 0:
            lines.append(divide(terms[2], terms[1]))
            ratio = terms[1] // terms[0]
            if terms[2] == ratio * terms[1]:
                lines.append(f"每次乘{ratio}。" if zh else f"Each time times {ratio}.")
                return lines + [multiply(terms[-1], ratio)]
        lines += ["不是。和：" if zh else "No. sums:", add(terms[0], terms[1])]
        if terms[0] + terms[1] == terms[2]:
            lines += [add(terms[1], terms[2])]
            lines.append("前两数的和。" if zh else "Sum of the last two.")
            return lines + [add(terms[-2], terms[-1])]
        lines.append("不是。差的差：" if zh else "No. differences of differences:")
        lines += [subtract(y, x) for x, y in zip(terms[2:], terms[3:])]
        lines += [subtract(y, x) for x, y in zip(gaps, gaps[1:])]
        step = gaps[1] - gaps[0]
        return lines + [add(gaps[-1], step), add(terms[-1], gaps[-1] + step)]

    def _nth(self, rng, language) -> Problem:
        zh = language == "zh"
        a, n, d = rng.randint(1, 99), rng.randint(8, 60), rng.randint(2, 15)
        falls = rng.random() < 0.25
        if falls:
            a = d * (n - 1) + rng.randint(0, 60)
        key = ("nth", a, -d if falls else d, n)
        sign = -1 if falls else 1
        shown = ("，" if zh else ", ").join(str(a + sign * d * i) for i in range(4 if n > 8 else 3))
        words = pick(rng, *(_NTH_ZH if zh else _NTH_EN))
        more = ("减少" if falls else "增加") if zh else ("falls" if falls else "grows")
        question = words.format(s=shown, n=n, a=a, d=d, o=_ordinal(n), more=more, c=sign * d,
                                way="公差是-" if falls else "公差是")
        given = "{s}" in words
        lines = [f"首项{a}，第{n}项。" if zh else f"first {a}, term {n}."]
        if given:
            lines.append(subtract(a, a - d) if falls else subtract(a + d, a))
        else:
            lines.append(f"每次{'减' if falls else '加'}{d}。" if zh else
                         f"Each time {'minus' if falls else 'plus'} {d}.")
        lines += [f"{n}-1={n - 1}", multiply(n - 1, d)]
        lines.append(subtract(a, d * (n - 1)) if falls else add(a, d * (n - 1)))
        result = self.solve(key, language)
        answer = f"第{n}项是\\boxed{{{result}}}。" if zh else f"Term number {n} is \\boxed{{{result}}}."
        return Problem(self.name, language, key, question, "\n".join(lines), answer, result)

    def _sum(self, rng, language) -> Problem:
        zh = language == "zh"
        a, d, n = rng.randint(1, 60), rng.randint(1, 9), rng.randint(5, 20)
        key = ("sum", a, d, n)
        shown = ("，" if zh else ", ").join(str(a + d * i) for i in range(4))
        words = pick(rng, *(_SUM_ZH if zh else _SUM_EN))
        question = words.format(s=shown, n=n, a=a, d=d)
        last = a + d * (n - 1)
        lines = [f"首项{a}，{n}项。" if zh else f"first {a}, {n} terms."]
        if "{s}" in words:
            lines.append(subtract(a + d, a))
        else:
            lines.append(f"每次加{d}。" if zh else f"Each time plus {d}.")
        lines += [f"{n}-1={n - 1}", multiply(n - 1, d), add(a, d * (n - 1)), add(a, last)]
        lines += [multiply(a + last, n), divide((a + last) * n, 2)]
        result = self.solve(key, language)
        if "座位" in words or "seats" in words:
            answer = f"总共有\\boxed{{{result}}}个座位。" if zh else f"There are \\boxed{{{result}}} seats."
        else:
            answer = f"前{n}项的和是\\boxed{{{result}}}。" if zh else f"The sum is \\boxed{{{result}}}."
        return Problem(self.name, language, key, question, "\n".join(lines), answer, result)


FAMILIES = [Sequence()]

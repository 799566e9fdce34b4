"""Riddles with a short fixed plan: chickens and rabbits in one cage, and the weekday N days away."""

from __future__ import annotations

import random
import re
from typing import NamedTuple

from corpus.problem import Family, Problem, last_boxed, pick, same_answer
from corpus.worked import divide, multiply, subtract


class _Kind(NamedTuple):
    """Two things that differ in their number of legs (or wheels)."""

    few: int
    many: int
    zh: dict[str, str]
    en: dict[str, str]


def _zh(place: str, a: str, b: str, m: str, pm: str, part: str) -> dict[str, str]:
    return {"place": place, "a": a, "b": b, "m": m, "pm": pm, "part": part}


def _en(place: str, a: str, b: str, one_a: str, one_b: str, part: str) -> dict[str, str]:
    return {"place": place, "a": a, "b": b, "one_a": one_a, "one_b": one_b, "part": part}


_CLASSIC = _Kind(2, 4, _zh("笼子里", "鸡", "兔子", "只", "只", "脚"),
                 _en("in a cage", "chickens", "rabbits", "chicken", "rabbit", "legs"))
_OTHERS = (
    _Kind(2, 4, _zh("池塘边", "仙鹤", "乌龟", "只", "只", "脚"),
          _en("by a pond", "cranes", "turtles", "crane", "turtle", "legs")),
    _Kind(2, 4, _zh("农场里", "鸭子", "羊", "只", "条", "腿"),
          _en("on a farm", "ducks", "sheep", "duck", "sheep", "legs")),
    _Kind(2, 4, _zh("停车场里", "摩托车", "小汽车", "辆", "个", "轮子"),
          _en("in a parking lot", "motorcycles", "cars", "motorcycle", "car", "wheels")),
    _Kind(2, 3, _zh("车棚里", "自行车", "三轮车", "辆", "个", "轮子"),
          _en("in a shop", "bicycles", "tricycles", "bicycle", "tricycle", "wheels")),
    _Kind(3, 4, _zh("教室里", "三脚凳", "椅子", "把", "条", "腿"),
          _en("in a room", "three-legged stools", "chairs", "stool", "chair", "legs")),
    _Kind(6, 8, _zh("草丛里", "蜻蜓", "蜘蛛", "只", "条", "腿"),
          _en("in a garden", "dragonflies", "spiders", "dragonfly", "spider", "legs")),
)

# {n} heads, {l} legs. The first one is the prompt of the page.
_CLASSIC_ZH = (
    "一个笼子里有鸡和兔子共{n}只，脚共{l}只，问各有多少？",
    "鸡兔同笼，共有{n}个头，{l}只脚，鸡和兔各有多少只？",
    "笼子里有若干只鸡和兔，从上面数有{n}个头，从下面数有{l}只脚，鸡和兔各有几只？",
    "今有雉兔同笼，上有{n}头，下有{l}足，问雉兔各几何？",
    "小明家养了鸡和兔子一共{n}只，它们共有{l}条腿。请问鸡和兔子各有多少只？",
    "鸡和兔关在同一个笼子里，数脚有{l}只，数头有{n}个。求鸡和兔的只数。",
    "农场里的鸡和兔共有{l}只脚、{n}个头，请算出鸡、兔各多少只。",
    "鸡兔同笼问题：头{n}个，脚{l}只，求鸡兔各几只。",
    "王奶奶养的兔子和鸡共{n}只，脚一共{l}只，鸡有几只？兔子有几只？",
    "有鸡和兔子共{n}只，腿共{l}条，鸡、兔各几只？",
    "请帮我解一道鸡兔同笼题：一共{n}只动物，{l}只脚，鸡和兔各多少？",
    "一个院子里只有鸡和兔，一共有{l}只脚，动物总数是{n}只，鸡和兔分别有多少只？",
)
_CLASSIC_EN = (
    "A cage holds chickens and rabbits, {n} in all, with {l} legs in total. How many of each are there?",
    "Chickens and rabbits share a cage. There are {n} heads and {l} legs. How many chickens and rabbits?",
    "There are {n} heads and {l} feet in a cage of chickens and rabbits. How many are there of each?",
    "A farmer keeps chickens and rabbits. He counts {n} heads and {l} legs. Find the number of each.",
    "In a yard with only rabbits and chickens there are {l} legs and {n} heads. How many of each?",
    "Some chickens and rabbits have {n} heads and {l} legs together. How many chickens and how many rabbits?",
    "Anna has {n} animals, all chickens or rabbits. They have {l} legs. How many of each does she have?",
    "Please solve: chickens + rabbits = {n}, legs = {l}. How many chickens and rabbits are there?",
    "I counted {l} legs on {n} animals, each a chicken or a rabbit. How many chickens and rabbits are there?",
    "A barn has chickens and rabbits: {n} animals and {l} legs altogether. How many of each kind?",
    "Chicken and rabbit puzzle: {n} heads, {l} legs. How many chickens and rabbits?",
    "The total number of chickens and rabbits is {n}, and they have {l} feet. Find how many of each.",
)
_OTHER_ZH = (
    "{place}有{a}和{b}共{n}{m}，{part}共{l}{pm}，问各有多少？",
    "{place}的{a}和{b}一共有{n}{m}，共有{l}{pm}{part}，{a}和{b}各有多少{m}？",
    "{a}和{b}共{n}{m}，数一数共有{l}{pm}{part}。{a}、{b}各有几{m}？",
    "{place}只有{b}和{a}，共{l}{pm}{part}，总数是{n}{m}。请问{a}和{b}分别有多少{m}？",
    "每{m}{a}有{few}{pm}{part}，每{m}{b}有{many}{pm}{part}。共{n}{m}，{l}{pm}{part}，求{a}和{b}各多少{m}。",
    "小红在{place}数到{n}{m}{a}和{b}，{part}共{l}{pm}，{a}有几{m}？{b}有几{m}？",
    "已知{a}与{b}合计{n}{m}，{part}合计{l}{pm}，求{a}和{b}的数量。",
    "请算一算：{place}有{l}{pm}{part}，是{n}{m}{a}和{b}的，{a}和{b}各几{m}？",
)
_OTHER_EN = (
    "There are {n} {a} and {b} {place}, with {l} {part} in total. How many of each are there?",
    "Together, some {a} and {b} number {n} and have {l} {part}. How many {a} and how many {b}?",
    "Tom counts {n} {a} and {b} {place}. They have {l} {part}. Find the number of each.",
    "Each {one_a} has {few} {part} and each {one_b} has {many}. There are {n} in all, with {l} {part}. "
    "How many {a} and {b}?",
    "{l} {part} belong to {n} {a} and {b} {place}. How many {a} and {b} are there?",
    "The total number of {a} and {b} is {n}, and they have {l} {part}. How many of each?",
    "I see {b} and {a} {place}: {n} altogether, {l} {part}. How many of each kind?",
    "Please find how many {a} and {b} there are if they total {n} and have {l} {part}.",
)


class ChickenRabbit(Family):
    name = "chicken_rabbit"

    def solve(self, key: tuple, language: str) -> str:
        few, many, heads, legs = key
        for first in range(heads + 1):  # every split of the heads; make() starts from the split
            if few * first + many * (heads - first) == legs:
                return f"{first},{heads - first}"
        raise ValueError(key)

    def make(self, rng: random.Random, language: str) -> Problem:
        classic = rng.random() < 0.75
        kind = _CLASSIC if classic else _OTHERS[rng.randrange(len(_OTHERS))]
        heads = rng.randint(4, 60) if rng.random() < 0.5 else rng.randint(10, 200)
        more = rng.randint(1, heads - 1)
        legs = kind.few * (heads - more) + kind.many * more
        words = kind.zh if language == "zh" else kind.en
        if language == "zh":
            wordings = _CLASSIC_ZH if classic else _OTHER_ZH
        else:
            wordings = _CLASSIC_EN if classic else _OTHER_EN
        data = dict(words, few=kind.few, many=kind.many, n=heads, l=legs)
        question = pick(rng, *wordings).format(**data)
        thinking = self._thinking(rng, kind, heads, legs, language)
        expected = f"{heads - more},{more}"
        if language == "zh":
            answer = f"{words['a']}和{words['b']}分别有\\boxed{{{expected}}}{words['m']}。"
        else:
            answer = f"The numbers of {words['a']} and {words['b']} are \\boxed{{{expected}}}."
        return Problem(self.name, language, (kind.few, kind.many, heads, legs), question, thinking, answer,
                       expected)

    @staticmethod
    def _thinking(rng: random.Random, kind: _Kind, heads: int, legs: int, language: str) -> str:
        """Suppose all have few legs; the legs left over belong to the others."""
        step = kind.many - kind.few
        spare = legs - kind.few * heads
        more = spare // step
        if language == "zh":
            w = kind.zh
            head = (f"共{heads}{w['m']}，{legs}{w['pm']}{w['part']}。每{w['m']}{w['a']}{kind.few}{w['pm']}，"
                    f"每{w['m']}{w['b']}{kind.many}{w['pm']}。")
            labels = (pick(rng, "假设", "设") + f"全是{w['a']}：", f"多出的{w['part']}：",
                      f"每{w['m']}{w['b']}多：", f"{w['b']}：", f"{w['a']}：")
        else:
            w = kind.en
            head = (f"{heads} in all, {legs} {w['part']}. Each {w['one_a']} has {kind.few}, "
                    f"each {w['one_b']} has {kind.many}.")
            labels = (pick(rng, "Suppose", "If") + f" all are {w['a']}:", f"Extra {w['part']}:",
                      f"Extra for each {w['one_b']}:", f"{w['b'].capitalize()}:", f"{w['a'].capitalize()}:")
        works = (multiply(heads, kind.few), subtract(legs, kind.few * heads),
                 subtract(kind.many, kind.few), divide(spare, step), subtract(heads, more))
        return "\n".join([head] + [f"{label}\n{work}" for label, work in zip(labels, works)])


_DAYS_ZH = "一二三四五六日"
_DAYS_EN = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")

# The first one is the prompt of the page.
_AFTER_ZH = (
    "如果今天是{d}，{n}天后是星期几？", "今天是{d}，再过{n}天是星期几？", "今天{d}，请问{n}天之后是星期几？",
    "已知今天是{d}，那么{n}天以后是星期几？", "假如今天是{d}，过{n}天是星期几？",
    "小明今年的生日是{d}，他生日后{n}天是星期几？", "某月1日是{d}，{n}天以后是星期几？",
    "{d}之后的第{n}天是星期几？", "请算一算：今天是{d}，{n}天后是周几？", "今天是{d}，{n}天后是哪一天（星期几）？",
)
_BEFORE_ZH = (
    "如果今天是{d}，{n}天前是星期几？", "今天是{d}，{n}天之前是星期几？", "今天{d}，请问往前数{n}天是星期几？",
    "已知今天是{d}，那么{n}天以前是星期几？", "假如今天是{d}，倒退{n}天是星期几？",
    "小红今年的生日是{d}，她生日前{n}天是星期几？", "某月1日是{d}，{n}天以前是星期几？",
    "请算一算：今天是{d}，{n}天前是周几？",
)
_AFTER_EN = (
    "If today is {d}, what day of the week will it be in {n} days?",
    "Today is {d}. What day of the week will it be {n} days from now?",
    "Today is {d}. Which weekday is it after {n} days?",
    "It is {d} today. What weekday comes {n} days later?",
    "If it is {d} now, what day is it {n} days from today?",
    "Tom's birthday falls on a {d}. What weekday is it {n} days after his birthday?",
    "What day of the week is {n} days after a {d}?", "Please tell me the weekday {n} days after {d}.",
    "The first of a month is a {d}. What weekday is it {n} days later?",
    "Suppose today is {d}. {n} days later, what day of the week is it?",
)
_BEFORE_EN = (
    "If today is {d}, what day of the week was it {n} days ago?",
    "Today is {d}. Which weekday was it {n} days ago?",
    "It is {d} today. What weekday was it {n} days before?",
    "Today is {d}. What day of the week was it {n} days earlier?",
    "Anna's birthday falls on a {d}. What weekday was it {n} days before her birthday?",
    "What day of the week is {n} days before a {d}?", "Please tell me the weekday {n} days before {d}.",
    "Suppose today is {d}. {n} days ago, what day of the week was it?",
)


class Weekday(Family):
    name = "weekday"

    def solve(self, key: tuple, language: str) -> str:
        day, shift = key
        step = 1 if shift > 0 else -1
        for _ in range(abs(shift)):  # walk through the calendar day by day; make() divides by 7
            day += step
            day = 1 if day == 8 else 7 if day == 0 else day
        return _day_name(day, language)

    def grade(self, problem: Problem, reply: str) -> bool:
        given = last_boxed(reply)
        if given is not None:
            given = re.sub("周|礼拜", "星期", given).replace("星期天", "星期日")
        return same_answer(given, problem.expected)

    def make(self, rng: random.Random, language: str) -> Problem:
        day = rng.randint(1, 7)
        after = rng.random() < 0.7
        days = rng.randint(*rng.choices(((2, 9), (10, 99), (100, 999), (1000, 10000)), (5, 20, 40, 35))[0])
        rest = days % 7
        target = (day + (rest if after else -rest) - 1) % 7 + 1
        expected = _day_name(target, language)
        start = _day_name(day, language)
        if language == "zh":
            said = pick(rng, "星期", "星期", "星期", "周") + _DAYS_ZH[day - 1]
            said = "星期天" if said == "星期日" and rng.random() < 0.5 else said
            question = pick(rng, *(_AFTER_ZH if after else _BEFORE_ZH)).format(d=said, n=days)
            head = f"{start}是{day}，求{days}天{'后' if after else '前'}。"
            word = pick(rng, "往后数：", "加上：") if after else pick(rng, "往前数：", "减去：")
            labels = (f"余数{rest}，{word}",
                      f"{target}是{expected}。")
            answer = f"{days}天{'后' if after else '前'}是\\boxed{{{expected}}}。"
        else:
            question = pick(rng, *(_AFTER_EN if after else _BEFORE_EN)).format(d=start, n=days)
            head = f"{start} is {day}, go {days} days {'forward' if after else 'back'}."
            word = pick(rng, "count on:", "add:") if after else pick(rng, "count back:", "subtract:")
            labels = (f"Remainder {rest}, {word}",
                      f"{target} is {expected}.")
            answer = f"{days} days {'later it is' if after else 'earlier it was'} \\boxed{{{expected}}}."
        steps = [head, divide(days, 7), labels[0], _index_steps(day, rest, after), labels[1]]
        return Problem(self.name, language, (day, days if after else -days), question, "\n".join(steps),
                       answer, expected)


def _day_name(day: int, language: str) -> str:
    return "星期" + _DAYS_ZH[day - 1] if language == "zh" else _DAYS_EN[day - 1]


def _index_steps(day: int, rest: int, after: bool) -> str:
    """The number of the new weekday, brought back between 1 and 7."""
    moved = day + rest if after else day - rest
    text = f"{day}{'+' if after else '-'}{rest}={moved}"
    if moved > 7:
        text += f"\n{moved}-7={moved - 7}"
    elif moved < 1:
        text += f"\n{moved}+7={moved + 7}"
    return text


FAMILIES = [ChickenRabbit(), Weekday()]

"""Percentages, discounts and shopping: sums of money worked line by line."""

from __future__ import annotations

import random
import re

from corpus.problem import Family, Problem, last_boxed, pick, same_answer
from corpus.worked import add, divide, multiply, subtract

_DIGITS_ZH = "零一二三四五六七八九"


def _decimal(hundredths: int) -> str:
    """12.5 for 1250: at most two decimals, none at the end that are zero."""
    whole, rest = divmod(hundredths, 100)
    return f"{whole}.{rest:02d}".rstrip("0").rstrip(".")


def _fold(keep: int) -> str:
    """八折 for 80, 七五折 for 75: the Chinese name of the share that is paid."""
    tens, ones = divmod(keep, 10)
    return _DIGITS_ZH[tens] + (_DIGITS_ZH[ones] if ones else "") + "折"


_GOODS = (("一件上衣", "A jacket"), ("一双鞋", "A pair of shoes"), ("一台风扇", "A fan"), ("一个书包", "A backpack"),
          ("一张桌子", "A table"), ("一块手表", "A watch"), ("一辆自行车", "A bicycle"), ("一盏台灯", "A lamp"))

_OF_ZH = ("{n}的{p}%是多少？", "求{n}的{p}%。", "计算{n}的百分之{p}。", "请问{n}的{p}%等于多少？",
          "小明有{n}元，花掉了其中的{p}%，他花了多少元？", "一笔{n}元的账单要付{p}%的定金，定金是多少元？",
          "求{n}的{p}%，结果是多少？")
_OF_EN = ("What is {p}% of {n}?", "Find {p}% of {n}.", "Calculate {p} percent of {n}.",
          "How much is {p}% of {n}?",
          "Tom has {n} dollars and spends {p}% of it. How many dollars does he spend?",
          "A bill is {n} dollars and a deposit of {p}% is due. How many dollars is the deposit?",
          "Please work out {p}% of {n}.")
_FOLD_ZH = ("{g}原价{n}元，打{f}后多少元？", "{g}原价{n}元，现在打{f}出售，现价是多少？",
            "商店打{f}，{g}标价{n}元，买它要付多少元？", "{g}打{f}，原价是{n}元，请问打折后的价格是多少元？")
_OFF_ZH = ("{g}原价{n}元，降价{p}%后是多少元？", "{g}便宜了{p}%，原来卖{n}元，现在卖多少元？")
_OFF_EN = ("{g} costs {n} dollars. What is the price after a {p}% discount?",
           "{g} is {p}% off. It used to cost {n} dollars. What does it cost now?",
           "{g} has a list price of ${n} and is sold at {p}% off. How many dollars do you pay?",
           "A shop takes {p}% off a price of {n} dollars. What is the new price?",
           "The price of {n} dollars falls by {p}%. What is the price now?")
_SAVED_ZH = ("{g}原价{n}元，打{f}，便宜了多少元？", "{g}标价{n}元，打{f}可以省多少元？",
             "原价{n}元的东西打{f}买，少付多少元？")
_SAVED_EN = ("{g} costs {n} dollars and is {p}% off. How many dollars do you save?",
             "How many dollars does a {p}% discount save on a price of {n} dollars?",
             "A price of ${n} is cut by {p}%. By how many dollars does it fall?")
_RISE_ZH = ("{g}原价{n}元，涨价{p}%后是多少元？", "{g}原来卖{n}元，现在价格上涨了{p}%，现价是多少元？",
            "房租是{n}元，上涨{p}%以后是多少元？", "一个数是{n}，增加{p}%以后是多少？")
_RISE_EN = ("{g} costs {n} dollars. What is the price after a rise of {p}%?",
            "The rent of {n} dollars goes up by {p}%. What is the new rent?",
            "{g} was {n} dollars and got {p}% dearer. What does it cost now?", "Increase {n} by {p}%.")
_WHAT_ZH = ("{a}是{b}的百分之几？", "{a}占{b}的百分之多少？", "一共{b}道题，答对了{a}道，正确率是百分之几？",
            "班里有{b}人，今天有{a}人骑车，骑车的占百分之几？", "请问{a}相当于{b}的百分之几？")
_WHAT_EN = ("What percent of {b} is {a}?", "{a} is what percent of {b}?",
            "Out of {b} questions {a} were answered"
            " correctly. What percent is that?",
            "{a} of {b} students cycle to school. What percentage is that?",
            "Express {a} as a percentage of {b}.")


class Percentage(Family):
    """Keys: (of|rise, n, p), (discount|saved, n, percent paid), (what, a, b)."""

    name = "percentage"

    def solve(self, key: tuple, language: str) -> str:
        kind, n, p = key
        if kind == "what":  # the half percent r/2 for which r/200 of b is a
            half = next(r for r in range(1, 1000) if r * p == 200 * n)
            return _decimal(half * 50)
        cents = sum(n for _ in range(p))  # one percent of n is n hundredths
        if kind == "saved":
            cents = sum(n for _ in range(p, 100))
        if kind == "rise":
            cents += sum(n for _ in range(100))
        return _decimal(cents)

    def grade(self, problem: Problem, reply: str) -> bool:
        given = last_boxed(reply)
        if given is None:
            return False
        given = re.sub(r"(\\?%|元|dollars)\s*$", "", given.strip())  # a unit does no harm
        return same_answer(given.removeprefix("\\").removeprefix("$"), problem.expected)

    def make(self, rng: random.Random, language: str) -> Problem:
        kind = pick(rng, "of", "of", "discount", "discount", "saved", "rise", "what", "what")
        if kind == "what":
            return self._what(rng, language)
        n = rng.randint(11, 999) if rng.random() < 0.6 else 10 * rng.randint(2, 250)
        p = 5 * rng.randint(1, 19) if rng.random() < 0.6 else rng.randint(2, 98)
        if kind in ("discount", "saved"):
            p = 5 * rng.randint(10, 19) if rng.random() < 0.7 else rng.randint(51, 98)
        if kind == "rise":  # the rise itself is a whole number, so it can be added
            p = pick(rng, *"5 10 15 20 25 30 35 40 45 50 60 75 80 2 4 8 12".split())
            p = int(p)
            n = next(x for x in range(rng.randint(20, 900), 2000) if x * p % 100 == 0)
        return self._part(rng, language, kind, n, p)

    def _part(self, rng, language, kind, n, p) -> Problem:
        zh = language == "zh"
        good = pick(rng, *(pair[0 if zh else 1] for pair in _GOODS))
        rate, off = p, 100 - p
        head = f"{n}，{p}%。" if zh else f"{n}, {p}%."
        if kind == "of":
            words = _OF_ZH if zh else _OF_EN
        elif kind == "rise":
            words = _RISE_ZH if zh else _RISE_EN
            head = f"{n}，涨{p}%。" if zh else f"{n}, rise {p}%."
        elif kind == "saved":
            words, rate = (_SAVED_ZH if zh else _SAVED_EN), off
            head = f"{n}，{_fold(p)}是{p}%，省100-{p}={off}。" if zh else f"{n}, off {off}%."
        elif zh and rng.random() < 0.7:
            words, head = _FOLD_ZH, f"{n}，{_fold(p)}是{p}%。"
        else:
            words = _OFF_ZH if zh else _OFF_EN
            head = f"{n}，付100-{off}={p}。" if zh else f"{n}, pay 100-{off}={p}."
        shown = off if kind in ("discount", "saved") else p
        question = pick(rng, *words).format(n=n, p=shown, g=good, f=_fold(p) if 10 <= p < 100 else "")
        part = _decimal(n * rate)
        lines = [head, multiply(n, rate), f"{n * rate}÷100={part}"]
        if kind == "rise":
            lines.append(add(n, int(part)))
        result = self.solve((kind, n, p), language)
        if kind == "of":
            answer = f"{n}的{p}%是\\boxed{{{result}}}。" if zh else f"{p}% of {n} is \\boxed{{{result}}}."
        elif kind == "saved":
            answer = (f"可以省\\boxed{{{result}}}元。" if zh else f"The saving is \\boxed{{{result}}} dollars.")
        elif "一个数" in question or "Increase" in question:
            answer = f"结果是\\boxed{{{result}}}。" if zh else f"The result is \\boxed{{{result}}}."
        else:
            answer = f"现在是\\boxed{{{result}}}元。" if zh else f"It is now \\boxed{{{result}}} dollars."
        return Problem(self.name, language, (kind, n, p), question, "\n".join(lines), answer, result)

    def _what(self, rng, language) -> Problem:
        zh = language == "zh"
        while True:
            b = rng.randint(4, 25) if rng.random() < 0.4 else 10 * rng.randint(3, 25)
            if rng.random() < 0.2:
                b = 100 * rng.randint(2, 9)
            half = rng.randint(2, 199)  # the percentage in halves
            if half * b % 200 == 0:
                break
        a = half * b // 200
        question = pick(rng, *(_WHAT_ZH if zh else _WHAT_EN)).format(a=a, b=b)
        lines = [f"{a}÷{b}×100%", f"{a}×100={a * 100}"]
        top, bottom = a * 100, b
        while bottom % 10 == 0:
            top, bottom = top // 10, bottom // 10
        if bottom != b:  # cancelling zeros keeps the divisor small
            lines.append(f"{a * 100}÷{b}={top}÷{bottom}" + (f"={top}" if bottom == 1 else ""))
        if bottom > 1:
            lines.append(divide(top, bottom))
        if top % bottom:
            lines.append(f"{top % bottom}÷{bottom}=0.5\n{top // bottom}+0.5={top // bottom}.5")
        result = self.solve(("what", a, b), language)
        answer = f"{a}是{b}的\\boxed{{{result}}}%。" if zh else f"{a} is \\boxed{{{result}}}% of {b}."
        return Problem(self.name, language, ("what", a, b), question, "\n".join(lines), answer, result)


# Chinese measure word and noun, English singular and plural, lowest and highest price.
_ITEMS = (
    ("支", "铅笔", "pencil", "pencils", 1, 9), ("本", "笔记本", "notebook", "notebooks", 3, 25),
    ("块", "橡皮", "eraser", "erasers", 1, 9), ("瓶", "牛奶", "bottle of milk", "bottles of milk", 4, 20),
    ("袋", "大米", "bag of rice", "bags of rice", 20, 90), ("个", "面包", "loaf of bread", "loaves of bread",
    3, 19),
    ("本", "书", "book", "books", 12, 99), ("件", "衬衫", "shirt", "shirts", 35, 200),
    ("顶", "帽子", "hat", "hats", 15, 99), ("个", "杯子", "cup", "cups", 6, 40),
    ("把", "雨伞", "umbrella", "umbrellas", 18, 80), ("双", "袜子", "pair of socks", "pairs of socks", 5, 30),
    ("盒", "巧克力", "box of chocolates", "boxes of chocolates", 10, 90), ("张", "门票", "ticket", "tickets",
    20, 200),
    ("斤", "苹果", "bag of apples", "bags of apples", 3, 15), ("个", "足球", "football", "footballs", 40, 200),
)
_NAMES = (("小明", "Tom"), ("小红", "Anna"), ("妈妈", "Maria"), ("王老师", "Mr. Lee"), ("李华", "Ben"), ("小丽", "Lucy"))

_SHOP_ZH = {
    "total": ("{who}买了{list}，一共要付多少元？", "{list}，总共多少钱？", "{who}想买{list}。请算一算总价。",
              "买{list}一共花多少元？"),
    "change": ("{who}买了{list}，付了{note}元，应找回多少元？", "{who}带了{note}元，买了{list}，还剩多少元？",
               "{list}，付{note}元，找零多少元？", "{who}拿{note}元去买东西：{list}。请问要找给{who}多少元？",
               "用{note}元买{list}，还剩多少钱？"),
    "both": ("{who}买了{list}，付了{note}元。总价是多少，找回多少？", "{list}，付{note}元，一共多少元？找零多少元？",
             "{who}用{note}元买了{list}。请算出总价和找零。"),
}
_SHOP_EN = {
    "total": ("{who} buys {list}. How much is that in total?", "What is the total price of {list}?",
              "How many dollars do {list} cost together?",
              "{who} wants to buy {list}. Please work out the total."),
    "change": ("{who} buys {list} and pays with {note} dollars. How much change is due?",
               "{who} has {note} dollars and buys {list}. How many dollars are left?",
               "You buy {list} and hand over ${note}. What is the change?",
               "With {note} dollars {who} buys {list}. How much money is left?",
               "Paying {note} dollars for {list}, how much do you get back?"),
    "both": ("{who} buys {list} and pays with {note} dollars. What are the total and the change?",
             "{list} are paid with {note} dollars. Find the total and the change.",
             "{who} hands over ${note} for {list}. How much is the total, and how much comes back?"),
}


class Shopping(Family):
    """Key: (kind, money handed over or 0, price, quantity, price, quantity, ...)."""

    name = "shopping"

    def solve(self, key: tuple, language: str) -> str:
        kind, note = key[0], key[1]
        total = 0
        for price, quantity in zip(key[2::2], key[3::2]):
            for _ in range(quantity):  # one piece after the other over the counter
                total += price
        if kind == "total":
            return str(total)
        change = 0
        while total + change < note:  # counted up, as a cashier does
            change += 1
        return str(change) if kind == "change" else f"{total},{change}"

    def make(self, rng: random.Random, language: str) -> Problem:
        zh = language == "zh"
        kind = pick(rng, "total", "change", "change", "change", "both")
        items = rng.sample(_ITEMS, pick(rng, 2, 2, 2, 3))
        bought = [(item, rng.randint(item[4], item[5]), rng.randint(1, 9)) for item in items]
        total = sum(price * quantity for _, price, quantity in bought)
        notes = [note for note in (20, 50, 100, 200, 300, 500, 1000, 1500, 2000, 3000, 5000) if note > total]
        if not notes:
            return self.make(rng, language)
        note = 0 if kind == "total" else notes[0] if rng.random() < 0.7 else notes[min(1, len(notes) - 1)]
        key = (kind, note, *(value for _, price, quantity in bought for value in (price, quantity)))
        words = pick(rng, *(_SHOP_ZH if zh else _SHOP_EN)[kind])
        who = pick(rng, *(pair[0 if zh else 1] for pair in _NAMES))
        style = rng.randrange(2)
        parts = [self._phrase(language, style, *entry) for entry in bought]
        listed = "，".join(parts) if zh else ", ".join(parts[:-1]) + " and " + parts[-1]
        question = words.format(who=who, note=note, list=listed)
        question = question[0].upper() + question[1:]
        result = self.solve(key, language)
        return Problem(self.name, language, key, question, self._thinking(zh, key, total),
                       self._answer(zh, kind, total, note, result), result)

    def _phrase(self, language, style, item, price, quantity) -> str:
        unit, noun, one, many, _, _ = item
        if language == "zh":
            return (f"{quantity}{unit}{noun}每{unit}{price}元" if style else
                    f"{noun}{quantity}{unit}（单价{price}元）")
        name = one if quantity == 1 else many
        dollar = "dollar" if price == 1 else "dollars"
        if style:
            return f"{quantity} {name} at ${price}" + ("" if quantity == 1 else " each")
        return f"{quantity} {name} for {price} {dollar}" + ("" if quantity == 1 else " each")

    def _thinking(self, zh, key, total) -> str:
        pairs = list(zip(key[2::2], key[3::2]))
        head = [f"{price}×{quantity}" for price, quantity in pairs]
        if key[1]:
            head.append(f"付{key[1]}" if zh else f"paid {key[1]}")
        lines = [("，" if zh else ", ").join(head)]
        for price, quantity in pairs:
            lines.append(multiply(price, quantity) if quantity > 1 else f"{price}×1={price}")
        running = pairs[0][0] * pairs[0][1]
        for price, quantity in pairs[1:]:
            lines.append(add(running, price * quantity))
            running += price * quantity
        if key[1]:
            lines.append(subtract(key[1], total))
        return "\n".join(lines)

    def _answer(self, zh, kind, total, note, result) -> str:
        if kind == "total":
            return f"一共\\boxed{{{result}}}元。" if zh else f"The total is \\boxed{{{result}}} dollars."
        if kind == "change":
            return (f"一共{total}元，剩下\\boxed{{{result}}}元。" if zh else
                    f"The total is {total} dollars, so \\boxed{{{result}}} dollars are left.")
        return (f"总价和找零（元）：\\boxed{{{result}}}。" if zh else
                f"Total and change in dollars: \\boxed{{{result}}}.")


FAMILIES = [Percentage(), Shopping()]

"""Conversion of units of length, mass, time, volume and area; distance from speed and time."""

from __future__ import annotations

import random
from fractions import Fraction

from corpus.problem import Family, Problem, pick
from corpus.worked import add, divide, multiply

# Unit: (Chinese name, English name, size in the smallest unit of its kind).
_UNITS = {
    "km": ("千米", "km", 1_000_000), "m": ("米", "m", 1000), "cm": ("厘米", "cm", 10), "mm": ("毫米", "mm", 1),
    "t": ("吨", "t", 1_000_000), "kg": ("千克", "kg", 1000), "jin": ("斤", "jin", 500),
    "liang": ("两", "liang", 50), "g": ("克", "g", 1),
    "d": ("天", "days", 86400), "h": ("小时", "h", 3600), "min": ("分钟", "min", 60), "s": ("秒", "s", 1),
    "L": ("升", "L", 1000), "mL": ("毫升", "mL", 1), "m2": ("平方米", "m²", 10_000), "cm2": ("平方厘米", "cm²", 1),
}
# Written out where a sentence asks "How many ...".
_LONG = {"km": "kilometres", "m": "metres", "cm": "centimetres", "mm": "millimetres", "t": "tonnes",
         "kg": "kilograms", "g": "grams", "d": "days", "h": "hours", "min": "minutes", "s": "seconds",
         "L": "litres", "mL": "millilitres", "m2": "square metres", "cm2": "square centimetres"}
# (larger unit, smaller unit, factor)
_PAIRS = (("km", "m", 1000), ("m", "cm", 100), ("cm", "mm", 10), ("m", "mm", 1000), ("t", "kg", 1000),
          ("kg", "g", 1000), ("jin", "g", 500), ("liang", "g", 50), ("kg", "jin", 2), ("jin", "liang", 10),
          ("d", "h", 24), ("h", "min", 60), ("min", "s", 60), ("L", "mL", 1000), ("m2", "cm2", 10_000))
_SPLITS = (("km", "m", 1000), ("m", "cm", 100), ("t", "kg", 1000), ("kg", "g", 1000), ("jin", "liang", 10),
           ("d", "h", 24), ("h", "min", 60), ("h", "min", 60), ("min", "s", 60), ("L", "mL", 1000))

_ONE_ZH = ("{x}{a}等于多少{b}？", "{x}{a}是多少{b}？", "把{x}{a}换算成{b}。", "{x}{a}=?{b}", "请把{x}{a}化成{b}。",
           "{x}{a}合多少{b}？", "单位换算：{x}{a}=（　）{b}", "请问{x}{a}相当于多少{b}？")
_ONE_EN = ("How many {b} are {x} {a}?", "Convert {x} {a} to {b}.", "{x} {a} = ? {b}",
           "What is {x} {a} in {b}?",
           "Express {x} {a} in {b}.", "Please convert {x} {a} into {b}.", "Change {x} {a} to {b}.",
           "Write {x} {a} as a number of {b}.")
_SPLIT_ZH = ("{x}{a}等于几{b}几{c}？", "把{x}{a}化成几{b}几{c}。", "{x}{a}是多少{b}多少{c}？", "请把{x}{a}写成“几{b}几{c}”的形式。")
_SPLIT_EN = ("How many {b} and {c} are {x} {a}?", "Convert {x} {a} to {b} and {c}.",
             "Write {x} {a} in {b} and {c}.",
             "Express {x} {a} as {b} and {c}.")
_HMS_ZH = ("{x}秒是几小时几分几秒？", "把{x}秒换算成小时、分、秒。", "一段录像长{x}秒，合几小时几分钟几秒？", "{x}秒等于多少小时多少分多少秒？")
_HMS_EN = ("How many hours, minutes and seconds are {x} seconds?", "Convert {x} s to h, min and s.",
           "A video lasts {x} seconds. How long is that in hours, minutes and seconds?",
           "Write {x} seconds as hours, minutes and seconds.")
_TRAVEL_ZH = ("一辆汽车每小时行{v}千米，{t}能行多少千米？", "火车的速度是{v}千米/时，行驶{t}，路程是多少千米？",
              "小李骑车的速度是每小时{v}千米，骑了{t}，一共骑了多少千米？", "以{v}km/h的速度行驶{t}，走了多少千米？")
_TRAVEL_EN = ("A car drives at {v} km/h for {t}. How many km does it travel?",
              "A train runs {t} at {v} km/h. What distance in km does it cover?",
              "At a speed of {v} km/h, how many km do you travel in {t}?",
              "Tom rides {t} at {v} km per hour. How far does he ride, in km?")


def _short(value: Fraction) -> str:
    """A decimal without zeros at its end; the values here have at most four decimals."""
    text = f"{value.numerator * 10_000 // value.denominator:05d}"
    return (text[:-4] + "." + text[-4:]).rstrip("0").rstrip(".")


class UnitConversion(Family):
    """Keys: (one, value in thousandths, from, to), (compound, big, small, a, b), (split, big, small, x),
    (hms, seconds), (to_s, h, min, s), (travel, km/h, minutes)."""

    name = "unit_conversion"

    def solve(self, key: tuple, language: str) -> str:
        kind = key[0]
        if kind == "one":  # through the smallest unit of the kind
            return _short(Fraction(key[1], 1000) * _UNITS[key[2]][2] / _UNITS[key[3]][2])
        if kind == "compound":
            big, small, a, b = key[1:]
            return _short(Fraction(a * _UNITS[big][2] + b * _UNITS[small][2], _UNITS[small][2]))
        if kind == "split":
            big, small, x = key[1:]
            many, size = 0, _UNITS[big][2]
            rest = x * _UNITS[small][2]
            while rest >= size:  # full big units taken away one at a time
                many, rest = many + 1, rest - size
            return f"{many},{rest // _UNITS[small][2]}"
        if kind == "hms":  # a clock that counts whole minutes
            hours = minutes = 0
            for _ in range(key[1] // 60):
                minutes += 1
                if minutes == 60:
                    hours, minutes = hours + 1, 0
            return f"{hours},{minutes},{key[1] % 60}"
        if kind == "to_s":
            return str(3600 * key[1] + 60 * key[2] + key[3])
        return _short(sum((Fraction(key[1], 60) for _ in range(key[2])), Fraction(0)))

    def make(self, rng: random.Random, language: str) -> Problem:
        kind = pick(rng, "down", "down", "up", "up", "compound", "compound", "split", "split", "hms", "to_s",
                    "travel", "travel")
        return getattr(self, "_" + kind)(rng, language)

    def _finish(self, language, key, question, lines, sentence) -> Problem:
        result = self.solve(key, language)
        answer = sentence.format(f"\\boxed{{{result}}}")
        return Problem(self.name, language, key, question, "\n".join(lines), answer, result)

    def _word(self, zh: bool, unit: str) -> str:
        return _UNITS[unit][0 if zh else 1]

    def _rule(self, zh: bool, big: str, small: str, factor: int) -> str:
        one = "day" if big == "d" else self._word(False, big)
        return f"1{self._word(True, big)}={factor}{self._word(True, small)}" if zh else \
            f"1 {one}={factor} {self._word(False, small)}"

    def _hint(self, zh: bool, *units: str) -> str:
        """Chinese market units are named in grams where the reader may not know them."""
        if zh:
            return ""
        sizes = (("jin", 500), ("liang", 50))
        return "".join(f" (1 {unit} = {size} g)" for unit, size in sizes if unit in units)

    def _ask_one(self, rng, language, text, unit) -> str:
        zh = language == "zh"
        words = pick(rng, *(_ONE_ZH if zh else _ONE_EN))
        return words.replace("{x}{a}" if zh else "{x} {a}", text).format(b=self._asked(zh, unit, words))

    def _asked(self, zh: bool, unit: str, words: str) -> str:
        long = not zh and ("How many" in words or "number of" in words)
        return _LONG.get(unit, unit) if long else self._word(zh, unit)

    def _down(self, rng, language) -> Problem:
        zh = language == "zh"
        big, small, factor = rng.choice(_PAIRS)
        tenths = 10 * rng.randint(2, 99 if factor < 1000 else 300)
        if factor in (10, 100, 1000) and rng.random() < 0.4:
            tenths = rng.randint(11, 299)
        value = _short(Fraction(tenths, 10))
        if tenths % 10 == 0:
            work = self._times(int(value), factor)
        else:
            work = f"{value}×{factor}={tenths * factor // 10}"
        question = self._ask_one(rng, language, f"{value}{'' if zh else ' '}{self._word(zh, big)}", small)
        sentence = (f"{value}{self._word(True, big)}等于{{}}{self._word(True, small)}。" if zh else
                    f"{value} {self._word(False, big)} = {{}} {self._word(False, small)}.")
        question += self._hint(zh, big, small)
        return self._finish(language, ("one", tenths * 100, big, small), question,
                            [self._rule(zh, big, small, factor), work], sentence)

    def _times(self, value: int, factor: int) -> str:
        """Powers of ten only append zeros; other factors are worked."""
        if factor in (10, 100, 1000, 10_000):
            return f"{value}×{factor}={value * factor}"
        return multiply(value, factor) if value > 9 else multiply(factor, value)

    def _up(self, rng, language) -> Problem:
        zh = language == "zh"
        big, small, factor = rng.choice(_PAIRS)
        if factor in (10, 100, 1000, 10_000):
            step = max(1, factor // 100)
            value = step * rng.randint(2, 9999 if factor < 1000 else 3000)
            work = f"{value}÷{factor}={_short(Fraction(value, factor))}"
        else:
            value = factor * rng.randint(2, 40)
            short = value % 10 == 0 and factor % 10 == 0
            work = f"{value}÷{factor}={value // 10}÷{factor // 10}\n" if short else ""
            top, bottom = (value // 10, factor // 10) if short else (value, factor)
            if bottom % 10 == 0:
                work += f"{top}÷{bottom}={top // 10}÷{bottom // 10}\n"
                top, bottom = top // 10, bottom // 10
            work += divide(top, bottom)
        question = self._ask_one(rng, language, f"{value}{'' if zh else ' '}{self._word(zh, small)}", big)
        sentence = (f"{value}{self._word(True, small)}等于{{}}{self._word(True, big)}。" if zh else
                    f"{value} {self._word(False, small)} = {{}} {self._word(False, big)}.")
        question += self._hint(zh, big, small)
        return self._finish(language, ("one", value * 1000, small, big), question,
                            [self._rule(zh, big, small, factor), work], sentence)

    def _compound(self, rng, language) -> Problem:
        zh = language == "zh"
        big, small, factor = rng.choice(_SPLITS)
        a, b = rng.randint(1, 30), rng.randint(1, factor - 1)
        space = "" if zh else " "
        one = "day" if big == "d" and a == 1 else self._word(zh, big)
        text = f"{a}{space}{one}{space}{b}{space}{self._word(zh, small)}"
        question = self._ask_one(rng, language, text, small)
        unit = self._word(zh, small)
        sentence = f"{text}等于{{}}{unit}。" if zh else f"{text} = {{}} {unit}."
        lines = [self._rule(zh, big, small, factor), self._times(a, factor), add(a * factor, b)]
        return self._finish(language, ("compound", big, small, a, b), question + self._hint(zh, big, small),
                            lines, sentence)

    def _split(self, rng, language) -> Problem:
        zh = language == "zh"
        big, small, factor = rng.choice(_SPLITS)
        x = factor * rng.randint(1, 25) + rng.randint(0, factor - 1)
        a, b, c = self._word(zh, small), self._word(zh, big), self._word(zh, small)
        words = pick(rng, *(_SPLIT_ZH if zh else _SPLIT_EN))
        question = words.format(x=x, a=a, b=self._asked(zh, big, words), c=self._asked(zh, small, words))
        if factor in (10, 100, 1000):
            quotient, rest = divmod(x, factor)
            work = f"{x}÷{factor}={quotient}" + (f"…{rest}" if rest else "")
        else:
            work = divide(x, factor)
        sentence = f"{x}{a}等于（{b}，{c}）：{{}}。" if zh else f"{x} {a} in {b} and {c}: {{}}."
        return self._finish(language, ("split", big, small, x), question + self._hint(zh, big, small),
                            [self._rule(zh, big, small, factor), work], sentence)

    def _hms(self, rng, language) -> Problem:
        zh = language == "zh"
        x = rng.randint(3601, 36000)
        question = pick(rng, *(_HMS_ZH if zh else _HMS_EN)).format(x=x)
        sentence = f"{x}秒等于（小时，分，秒）：{{}}。" if zh else f"{x} s in hours, minutes and seconds: {{}}."
        head = "1分钟=60秒，1小时=60分钟" if zh else "1 min=60 s, 1 h=60 min"
        lines = [head, divide(x, 60), divide(x // 60, 60)]
        return self._finish(language, ("hms", x), question, lines, sentence)

    def _to_s(self, rng, language) -> Problem:
        zh = language == "zh"
        h, m, s = rng.randint(1, 12), rng.randint(1, 59), rng.randint(1, 59)
        text = f"{h}小时{m}分{s}秒" if zh else f"{h} h {m} min {s} s"
        question = self._ask_one(rng, language, text, "s")
        sentence = f"{text}等于{{}}秒。" if zh else f"{text} = {{}} s."
        head = "1小时=60分钟，1分钟=60秒" if zh else "1 h=60 min, 1 min=60 s"
        minutes = h * 60 + m
        lines = [head, self._times(h, 60), add(h * 60, m), multiply(minutes, 60), add(minutes * 60, s)]
        return self._finish(language, ("to_s", h, m, s), question, lines, sentence)

    def _travel(self, rng, language) -> Problem:
        """Whole hours, half hours or minutes; the distance is a whole number."""
        zh = language == "zh"
        style = pick(rng, "hours", "hours", "half", "minutes")
        v = rng.randint(12, 150)
        if style == "hours":
            hours = rng.randint(2, 12)
            minutes, time = hours * 60, (f"{hours}小时" if zh else f"{hours} hours")
            lines = [f"{v}×{hours}", multiply(v, hours)]
        elif style == "half":
            v, hours = 2 * (v // 2), rng.randint(1, 7)
            minutes, time = hours * 60 + 30, (f"{hours}.5小时" if zh else f"{hours}.5 hours")
            lines = [f"{v}×{hours}.5", multiply(v, hours), divide(v, 2), add(v * hours, v // 2)]
        else:
            v, minutes = 6 * (v // 6), 10 * rng.randint(1, 24)
            time = f"{minutes}分钟" if zh else f"{minutes} minutes"
            lines = [f"{v}×{minutes}÷60", f"{minutes}÷60={minutes // 10}÷6", divide(v, 6),
                     multiply(v // 6, minutes // 10)]
        question = pick(rng, *(_TRAVEL_ZH if zh else _TRAVEL_EN)).format(v=v, t=time)
        sentence = "路程是{}千米。" if zh else "The distance is {} km."
        return self._finish(language, ("travel", v, minutes), question, lines, sentence)


FAMILIES = [UnitConversion()]

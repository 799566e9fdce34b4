"""Answers for programs: a tool call in DeepSeek-R1's form, and a JSON object taken from a sentence."""

from __future__ import annotations

import json
import random
import re

from corpus.problem import Family, Problem, pick

CALL = ("<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>{name}\n```json\n{arguments}\n```"
        "<｜tool▁call▁end｜><｜tool▁calls▁end｜>")
_CALL = re.compile(
    re.escape(CALL).replace(r"\{name\}", r"([\w.-]+)").replace(r"\{arguments\}", r"(.*?)"), re.S)
_TOOLS_INTRO = "You can call any of the following function tools to satisfy the user's requests: "


def tools_text(tools: list[dict]) -> str:
    """The system text that offers tools; the server's own tool template must print the same."""
    return _TOOLS_INTRO + json.dumps(tools, ensure_ascii=False)


def _pairs(text: str) -> tuple[tuple[str, str], ...]:
    return tuple((zh, en.replace("_", " ")) for zh, en in (item.split("/") for item in text.split()))


_CITIES = _pairs("北京/Beijing 上海/Shanghai 广州/Guangzhou 深圳/Shenzhen 杭州/Hangzhou 成都/Chengdu 武汉/Wuhan 西安/Xian "
                 "南京/Nanjing 重庆/Chongqing 天津/Tianjin 苏州/Suzhou 青岛/Qingdao 大连/Dalian 厦门/Xiamen 昆明/Kunming "
                 "长沙/Changsha 沈阳/Shenyang 济南/Jinan 郑州/Zhengzhou 福州/Fuzhou 合肥/Hefei 哈尔滨/Harbin 拉萨/Lhasa "
                 "三亚/Sanya 巴黎/Paris 伦敦/London 柏林/Berlin 东京/Tokyo 纽约/New_York 罗马/Rome 马德里/Madrid 莫斯科/Moscow "
                 "悉尼/Sydney 开罗/Cairo 首尔/Seoul 曼谷/Bangkok 维也纳/Vienna 雅典/Athens 多伦多/Toronto 芝加哥/Chicago "
                 "波士顿/Boston 孟买/Mumbai 里斯本/Lisbon 华沙/Warsaw 布拉格/Prague 大阪/Osaka 迪拜/Dubai 奥斯陆/Oslo")
_CURRENCIES = (("美元", "dollars", "USD"), ("人民币", "yuan", "CNY"), ("欧元", "euros", "EUR"), ("日元", "yen", "JPY"),
               ("英镑", "pounds", "GBP"), ("韩元", "won", "KRW"), ("卢布", "rubles", "RUB"), ("泰铢", "baht", "THB"))
_SUBJECTS = _pairs("熊猫/pandas 长城/the_Great_Wall 火山/volcanoes 恐龙/dinosaurs 太阳能/solar_power 象棋/chess 茶叶/tea "
                   "瓷器/china 机器人/robots 火星/Mars 鲸鱼/whales 登山/climbing 摄影/photography 足球/football 咖啡/coffee "
                   "面包/bread 电动车/electric_cars 编程/programming 园艺/gardening 游泳/swimming 瑜伽/yoga 钢琴/the_piano "
                   "猫/cats 蜜蜂/bees 海龟/turtles 地震/earthquakes 台风/typhoons 丝绸/silk 剪纸/paper_cutting 芯片/chips")
_NAMES = _pairs("小明/Alice 小红/Bob 小刚/Carol 小丽/David 小华/Emma 小强/Frank 小芳/Grace 小军/Henry 小杰/Ivy 小雪/Jack "
                "小龙/Kate 小梅/Leo 小林/Mia 小云/Nick 小东/Olga 小兰/Paul 小宇/Rose 小婷/Sam 小磊/Tina 小雨/Victor 张伟/Wendy "
                "王芳/Max 李娜/Zoe 刘洋/Anna 陈静/Ben 杨帆/Clara 赵磊/Dan 周杰/Eva 吴敏/Fred 孙丽/Gina 马超/Hugo 朱婷/Iris "
                "胡军/John 郭靖/Lily 何平/Mark 高远/Nora 林峰/Oscar 罗兰/Peter 宋佳/Tom 唐宁/Uma")
_PRODUCTS = _pairs("苹果/apples 铅笔/pencils 本子/notebooks 杯子/cups 雨伞/umbrellas 书包/bags 椅子/chairs 台灯/lamps "
                   "手套/gloves 帽子/hats 袜子/socks 毛巾/towels 盘子/plates 橡皮/erasers 足球/balls 鼠标/mice 键盘/keyboards "
                   "耳机/headphones 钟表/clocks 花瓶/vases 蜡烛/candles 剪刀/scissors 梨/pears 橙子/oranges 面包/loaves "
                   "鸡蛋/eggs 牛奶/bottles 地图/maps 画笔/brushes 玩具/toys")
_EVENTS = _pairs("会议/meeting 聚会/party 考试/exam 比赛/match 讲座/lecture 音乐会/concert 展览/exhibition 婚礼/wedding "
                 "培训/training 面试/interview 运动会/sports_day 电影/film 读书会/book_club 演出/show 参观/visit")
_SCHOOL = _pairs("数学/math 语文/Chinese 英语/English 物理/physics 化学/chemistry 生物/biology 历史/history 地理/geography "
                 "音乐/music 美术/art 体育/sports")
_JOBS = _pairs("老师/teacher 医生/doctor 司机/driver 木匠/carpenter 律师/lawyer 护士/nurse 厨师/cook 农民/farmer 画家/painter "
               "警察/policeman 记者/reporter 歌手/singer")

# Kind of tool: names, argument names, descriptions (Chinese, English).
_TOOLS = {
    "weather": (("get_weather", "weather", "weather_query", "fetch_weather", "current_weather",
                 "get_forecast"),
                (("city",), ("location",), ("place",)), ("查询天气", "Get the weather")),
    "time": (("get_time", "current_time", "time_in", "world_clock", "local_time"),
             (("city",), ("location",), ("place",)), ("查询当地时间", "Get the local time")),
    "calculator": (("calculator", "calculate", "calc", "evaluate", "do_math"),
                   (("expression",), ("expr",), ("formula",)), ("计算算式", "Evaluate an expression")),
    "search": (("search", "web_search", "search_web", "lookup", "find_pages"),
               (("query",), ("q",), ("keyword",)), ("搜索网页", "Search the web")),
    "currency": (("convert_currency", "currency", "exchange", "convert_money", "fx_convert"),
                 (("amount", "from", "to"), ("amount", "source", "target"), ("value", "from", "to")),
                 ("换算货币", "Convert money")),
    "timer": (("set_timer", "timer", "start_timer", "countdown"),
              (("minutes",), ("duration",), ("mins",)), ("设置定时器（分钟）", "Set a timer (minutes)")),
}
_NUMERIC = ("amount", "value", "minutes", "duration", "mins")
_ASK = {
    "weather": (("{0}今天天气怎么样？", "查一下{0}的天气。", "{0}会下雨吗？", "请告诉我{0}的天气", "{0}现在多少度？", "{0}冷吗？",
                 "我要去{0}，那里天气如何？", "帮我看看{0}的天气", "{0}的天气预报是什么？"),
                ("What is the weather in {0}?", "Check the weather in {0}.", "Will it rain in {0}?",
                 "Tell me the weather in {0}", "How warm is it in {0}?", "Is it cold in {0}?",
                 "I am going to {0}. How is the weather there?", "Weather in {0}, please",
                 "What is the forecast for {0}?")),
    "time": (("{0}现在几点？", "查一下{0}的时间。", "请问{0}几点了？", "告诉我{0}的当地时间", "{0}那边现在是什么时间？", "帮我看看{0}几点",
              "{0}的当地时间是多少？", "我想知道{0}现在几点了"),
             ("What time is it in {0}?", "Tell me the time in {0}.", "What is the local time in {0}?",
              "Check the time in {0}", "How late is it in {0}?", "Time in {0}, please",
              "I need the current time in {0}.", "Which time do they have in {0}?")),
    "search": (("搜索{0}。", "帮我搜一下{0}", "上网查查{0}", "请搜索关于{0}的网页。", "找一些{0}的资料", "我想搜{0}", "查找{0}的信息",
                "用搜索工具找{0}"),
               ("Search for {0}.", "Look up {0} on the web", "Find pages about {0}.",
                "Search the web for {0}",
                "I want to read about {0}.", "Please find information on {0}", "Do a search for {0}",
                "Find {0} online")),
    "currency": (("{0}{1}等于多少{2}？", "把{0}{1}换成{2}。", "{0}{1}能换多少{2}？", "请换算：{0}{1}换{2}", "我有{0}{1}，换成{2}是多少？",
                  "{0}{1}值多少{2}？", "帮我把{0}{1}兑换成{2}", "想知道{0}{1}合多少{2}"),
                 ("How much is {0} {1} in {2}?", "Convert {0} {1} to {2}.", "What are {0} {1} worth in {2}?",
                  "Change {0} {1} into {2}", "I have {0} {1}. How many {2} is that?",
                  "Please convert {0} {1} into {2}", "Exchange {0} {1} for {2}", "{0} {1} in {2}?")),
    "timer": (("设一个{0}分钟的定时器。", "{0}分钟后提醒我", "请定时{0}分钟", "倒计时{0}分钟", "帮我计时{0}分钟。", "开始{0}分钟倒计时", "定个{0}分钟的闹钟",
               "{0}分钟的定时器，谢谢"),
              ("Set a timer for {0} minutes.", "Remind me in {0} minutes", "Start a {0} minute timer",
               "Count down {0} minutes",
               "Please time {0} minutes.", "I need a timer of {0} minutes", "Timer: {0} minutes",
               "Wake me in {0} minutes")),
}
_CALC_ZH = ("计算{0}。", "{0}等于多少？", "用计算器算{0}", "请算一下{0}", "帮我算{0}", "{0}=?", "算出{0}的结果", "{0}是多少？")
_CALC_EN = ("Compute {0}.", "What is {0}?", "Use the calculator for {0}", "Please work out {0}",
            "Calculate {0}", "{0} = ?",
            "Find the result of {0}", "How much is {0}?")


class ToolCall(Family):
    name = "tool_call"

    def make(self, rng: random.Random, language: str) -> Problem:
        kind, zh = rng.choice(list(_TOOLS)), language == "zh"
        values, question = self._request(rng, kind, zh)
        kinds = [kind, *rng.sample([other for other in _TOOLS if other != kind], rng.randrange(3))]
        rng.shuffle(kinds)
        described, texts = [], rng.randrange(2)
        for each in kinds:
            names, fields, descriptions = _TOOLS[each]
            name, chosen = pick(rng, *names), rng.choice(fields)
            described.append(self._described(name, chosen, descriptions[texts]))
            if each == kind:
                arguments = dict(zip(chosen, values))
                call = name
        text = json.dumps(arguments, ensure_ascii=False)
        listed = [f"{field}{'是' if zh else ' is '}{value}" for field, value in arguments.items()]
        thinking = (f"用{call}，{'，'.join(listed)}。" if zh else f"Use {call}: {', '.join(listed)}.")
        answer = CALL.format(name=call, arguments=text)
        key = (kind, call, *arguments, *map(str, values))
        return Problem(self.name, language, key, question, thinking, answer, "", tools_text(described))

    @staticmethod
    def _described(name: str, fields: tuple, description: str) -> dict:
        properties = {field: {"type": "number" if field in _NUMERIC else "string"} for field in fields}
        return {"name": name, "description": description,
                "parameters": {"type": "object", "properties": properties, "required": list(fields)}}

    @staticmethod
    def _request(rng: random.Random, kind: str, zh: bool) -> tuple[list, str]:
        """The argument values and a question that asks for them."""
        side = 0 if zh else 1
        if kind == "calculator":
            signs = rng.choice(("+", "-", "*", "/", "+-", "*+", "*-", "**"))
            numbers = [rng.randint(2, 9999 if rng.random() < 0.5 else 99) for _ in range(len(signs) + 1)]
            expression = str(numbers[0]) + "".join(f"{s}{n}" for s, n in zip(signs, numbers[1:]))
            shown = expression.replace("*", "×").replace("/", "÷") if rng.random() < 0.5 else expression
            return [expression], pick(rng, *(_CALC_ZH if zh else _CALC_EN)).format(shown)
        ask = pick(rng, *_ASK[kind][side])
        if kind in ("weather", "time"):
            values = [rng.choice(_CITIES)[side]]
        elif kind == "search":
            values = [rng.choice(_SUBJECTS)[side]]
            if rng.random() < 0.5:
                values = [rng.choice(_CITIES)[side] + ("" if zh else " ") + values[0]]
        elif kind == "timer":
            values = [rng.randint(2, 180)]
        else:
            source, target = rng.sample(_CURRENCIES, 2)
            amount = rng.randint(1, 10 ** rng.randint(1, 5))
            return [amount, source[2], target[2]], ask.format(amount, source[side], target[side])
        return values, ask.format(*values)

    def solve(self, key: tuple, language: str) -> str:
        return ""

    def grade(self, problem: Problem, reply: str) -> bool:
        """One call in exactly R1's form, with the right name and arguments."""
        given, wanted = _CALL.fullmatch(reply.strip()), _CALL.fullmatch(problem.answer)
        return (given is not None and given.group(1) == wanted.group(1)
                and _same_json(given.group(2), wanted.group(2)))


def _same_json(given_text: str, wanted_text: str) -> bool:
    """Two objects with the same keys, types and values; blanks and case inside strings do not matter."""
    try:
        given, wanted = json.loads(given_text), json.loads(wanted_text)
    except ValueError:
        return False

    def plain(value: object) -> object:
        return re.sub(r"\s+", "", value).lower() if isinstance(value, str) else value

    return (isinstance(given, dict) and given.keys() == wanted.keys()
            and all(isinstance(given[key], str) == isinstance(wanted[key], str)
                    and not isinstance(given[key], bool) and plain(given[key]) == plain(wanted[key])
                    for key in wanted))


# Kind of record: fields, and sentences (Chinese, English) with the fields in braces.
_RECORDS = {
    "person": (("name", "age", "city"),
               ("{name}今年{age}岁，住在{city}。", "来自{city}的{name}{age}岁了。", "住在{city}的{name}今年{age}岁。",
                "我叫{name}，{age}岁，家在{city}。"),
               ("{name} is {age} years old and lives in {city}.", "{name} from {city} is {age} years old.",
                "My name is {name}, I am {age} and I live in {city}.",
                "In {city} lives {name}, aged {age}.")),
    "worker": (("name", "job", "city"),
               ("{name}是{city}的一名{job}。", "{name}在{city}当{job}。", "{city}有位{job}叫{name}。"),
               ("{name} works as a {job} in {city}.", "{name}, a {job}, lives in {city}.",
                "The {job} {name} comes from {city}.")),
    "order": (("customer", "product", "quantity"),
              ("{customer}订了{quantity}个{product}。", "{customer}买了{quantity}个{product}。",
               "{quantity}个{product}卖给了{customer}。", "请给{customer}送{quantity}个{product}。"),
              ("{customer} ordered {quantity} {product}.", "{customer} bought {quantity} {product}.",
               "Send {quantity} {product} to {customer}.", "We sold {quantity} {product} to {customer}.")),
    "price": (("product", "price", "quantity"),
              ("{product}每个{price}元，买了{quantity}个。", "买{quantity}个{product}，单价{price}元。",
               "单价{price}元的{product}还剩{quantity}个。"),
              ("{quantity} {product} at {price} dollars each.",
               "We have {quantity} {product}, each for {price} dollars.",
               "The {product} cost {price} dollars each; there are {quantity}.")),
    "event": (("event", "date", "city"),
              ("{event}定于{date}在{city}举行。", "{date}，{event}在{city}进行。", "{city}的{event}在{date}。"),
              ("The {event} takes place in {city} on {date}.", "On {date} the {event} is held in {city}.",
               "{city} hosts the {event} on {date}.")),
    "score": (("name", "subject", "score"),
              ("{name}的{subject}考了{score}分。", "{subject}考试，{name}得了{score}分。",
               "{name}这次{subject}成绩是{score}分。"),
              ("{name} scored {score} points in {subject}.", "In {subject}, {name} got {score} points.",
               "{name} has {score} points in the {subject} test.")),
    "travel": (("name", "from", "to"),
               ("{name}从{from}坐车到{to}。", "{name}要从{from}去{to}。", "{name}离开{from}，前往{to}。"),
               ("{name} travels from {from} to {to}.", "{name} takes a train from {from} to {to}.",
                "{name} leaves {from} for {to}.")),
}
_JSON_ZH = ("从句子中提取{keys}，只输出JSON：{text}", "{text}请用JSON给出{keys}。", "把下面的话变成JSON，键为{keys}：{text}",
            "提取信息，键：{keys}。句子：{text}", "{text}把{keys}写成JSON对象。", "请把这句话转成JSON（{keys}）：{text}",
            "以JSON格式返回{keys}：{text}", "阅读：{text}输出一个含{keys}的JSON对象。")
_JSON_EN = ("Extract {keys} as JSON only: {text}", "{text} Give {keys} as a JSON object.",
            "Turn this sentence into JSON with the keys {keys}: {text}",
            "Keys: {keys}. Sentence: {text} Answer in JSON.",
            "{text} Write {keys} as JSON.", "Return a JSON object with {keys}. {text}",
            "Please read the sentence and return JSON ({keys}): {text}", "JSON with {keys}, please: {text}")
_MONTHS = ("January February March April May June July August September October November December").split()


class JsonAnswer(Family):
    name = "json_answer"

    def make(self, rng: random.Random, language: str) -> Problem:
        kind, zh = rng.choice(list(_RECORDS)), language == "zh"
        fields, *sentences = _RECORDS[kind]
        values = {field: self._value(rng, field, 0 if zh else 1) for field in fields}
        while "to" in values and values["to"] == values["from"]:
            values["to"] = self._value(rng, "to", 0 if zh else 1)
        shown = {field: value[0] for field, value in values.items()}
        text = pick(rng, *sentences[0 if zh else 1]).format(**shown)
        text = text[0].upper() + text[1:]
        wanted = list(fields) if rng.random() < 0.7 else rng.sample(fields, rng.randint(2, 3))
        record = {field: values[field][1] for field in wanted}
        keys = ("、" if zh else ", ").join(wanted)
        question = pick(rng, *(_JSON_ZH if zh else _JSON_EN)).format(keys=keys, text=text)
        listed = [f"{field}{'是' if zh else ' is '}{value}" for field, value in record.items()]
        thinking = "，".join(listed) + "。" if zh else ", ".join(listed) + "."
        answer = json.dumps(record, ensure_ascii=False)
        key = (kind, *wanted, *(str(values[field][1]) for field in fields))
        return Problem(self.name, language, key, question, thinking, answer)

    @staticmethod
    def _value(rng: random.Random, field: str, side: int) -> tuple:
        """(as the sentence says it, as the JSON holds it)."""
        numbers = {"age": (3, 90), "quantity": (2, 200), "price": (2, 999), "score": (30, 100)}
        if field in numbers:
            number = rng.randint(*numbers[field])
            return number, number
        if field == "date":
            year, month, day = rng.randint(2020, 2030), rng.randint(1, 12), rng.randint(1, 28)
            said = f"{_MONTHS[month - 1]} {day}, {year}" if side else f"{year}年{month}月{day}日"
            return said, f"{year}-{month:02d}-{day:02d}"
        lists = {"city": _CITIES, "from": _CITIES, "to": _CITIES, "job": _JOBS, "product": _PRODUCTS,
                 "event": _EVENTS, "subject": _SCHOOL}
        word = rng.choice(lists.get(field, _NAMES))[side]
        return word, word

    def solve(self, key: tuple, language: str) -> str:
        return ""

    def grade(self, problem: Problem, reply: str) -> bool:
        """The whole reply is the JSON object with the wanted keys and values."""
        return _same_json(reply.strip(), problem.answer)


FAMILIES = [ToolCall(), JsonAnswer()]

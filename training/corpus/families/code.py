"""Short Python functions, graded by running them against hidden tests in a process of their own."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass

from corpus.problem import Family, Problem, pick

_PASSED = 87  # exit status that says "all tests passed"; a crash or sys.exit() gives another one

# Runs the code given on standard input. Limits are set before any of it runs.
_RUNNER = """
import json, os, resource, sys
for what, limit in ((resource.RLIMIT_AS, 512 << 20), (resource.RLIMIT_CPU, 5), (resource.RLIMIT_FSIZE, 0),
                    (resource.RLIMIT_NOFILE, 32), (resource.RLIMIT_NPROC, 0), (resource.RLIMIT_CORE, 0)):
    resource.setrlimit(what, (limit, limit))
job = json.load(sys.stdin)
def guard(event, given):
    reading = event in ("os.listdir", "os.scandir")  # an import needs these
    writing = event == "open" and given[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC)
    if writing or not reading and event.startswith(("os.", "shutil.", "subprocess.", "socket.", "ctypes.")):
        raise PermissionError(event)
sys.addaudithook(guard)
space = {"__name__": "reply"}
def plain(value):
    return json.loads(json.dumps(value, default=lambda other: sorted(other)))
def same(given, wanted, any_order):
    if isinstance(wanted, float):
        return abs(given - wanted) < 1e-6
    if any_order:
        given, wanted = sorted(given), sorted(wanted)
    return given == wanted
good = False
try:
    exec(compile(job["code"], "reply", "exec"), space)
    function = space[job["name"]]
    good = all(same(plain(function(*arguments)), wanted, job["any_order"])
               for arguments, wanted in job["tests"])
except BaseException:
    good = False
os._exit(%d if good else 1)
""" % _PASSED

_BLOCK = re.compile(r"```(?:python|py)?[ \t]*\n(.*?)```", re.S | re.I)
_DEFINITION = re.compile(r"^def +([A-Za-z_]\w*) *\(", re.M)


def run_tests(code: str, name: str, tests: list, any_order: bool = False, limit_s: float = 5.0) -> bool:
    """True if the function `name` of the code gives the wanted value in every test.

    The code is a model's output, so it never runs in this process: a child does it, without an
    environment, much memory, files to write, network or children of its own (a guard against accidents,
    not against an attacker), and it is killed with its group after the limit.
    """
    job = json.dumps({"code": code, "name": name, "tests": tests, "any_order": any_order})
    with tempfile.TemporaryDirectory() as folder:
        child = subprocess.Popen([sys.executable, "-I", "-B", "-c", _RUNNER], cwd=folder, env={},
                                 stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
                                 stderr=subprocess.DEVNULL, start_new_session=True)
        try:
            child.communicate(job.encode(), timeout=limit_s)
        except (subprocess.TimeoutExpired, BrokenPipeError):
            pass
        finally:
            try:
                os.killpg(child.pid, signal.SIGKILL)  # also whatever the code started
            except (ProcessLookupError, PermissionError):
                pass
            child.wait()
    return child.returncode == _PASSED


@dataclass(frozen=True)
class Task:
    """One function to write. In the code {f} is its name, {a} and {b} are its parameters."""

    name: str
    text_zh: str  # a verb phrase, also the docstring
    text_en: str
    names: tuple[str, ...]  # the first one is used where the question names none
    arguments: tuple[str, ...]
    code: str
    plan_zh: str
    plan_en: str
    tests: tuple  # (arguments, wanted) pairs, hidden from the model
    any_order: bool = False


_STRING = ("s", "text", "word", "string", "st", "txt")
_NUMBER = ("n", "num", "x", "number", "value", "k")
_LIST = ("nums", "items", "values", "arr", "lst", "data", "numbers")
_TWO = ("a, b", "x, y", "m, n", "p, q", "first, second", "u, v")
_LISTS = ("a, b", "x, y", "list1, list2", "first, second", "xs, ys", "p, q")
_STRINGS = ("a, b", "s, t", "x, y", "first, second", "word1, word2", "s1, s2")
_DICTS = ("a, b", "d1, d2", "first, second", "x, y", "left, right")


def _tasks() -> list[Task]:
    table = []

    def task(name, zh, en, names, arguments, code, plan_zh, plan_en, *tests, any_order=False):
        table.append(Task(name, zh, en, tuple(names.split()), arguments, code.strip("\n"), plan_zh, plan_en,
                          tests, any_order))

    _text_tasks(task)
    _number_tasks(task)
    _formula_tasks(task)
    _list_tasks(task)
    _filter_tasks(task)
    _pair_tasks(task)
    _two_value_tasks(task)
    return table


def _text_tasks(task) -> None:
    task("palindrome", "判断回文字符串", "checks whether a string is a palindrome",
         "is_palindrome palindrome check_palindrome", _STRING, """
def {f}({a}):
    return {a} == {a}[::-1]""", "回文正读反读一样，比较它和它的反转。", "Compare the string with its reverse.",
         (["level"], True), (["ab"], False), (["noon"], True), (["上海自来水来自海上"], True),
         (["abca"], False), (["x"], True))
    task("reverse_string", "反转字符串", "reverses a string", "reverse_string reverse backwards", _STRING, """
def {f}({a}):
    return {a}[::-1]""", "用切片[::-1]反转。", "Reverse with the slice [::-1].",
         (["abc"], "cba"), ([""], ""), (["hello"], "olleh"))
    task("count_vowels", "统计字符串中元音字母的个数", "counts the vowels in a string", "count_vowels vowels num_vowels",
         _STRING, """
def {f}({a}):
    return sum(1 for c in {a}.lower() if c in "aeiou")""", "转成小写，数出aeiou的个数。",
         "Make it lower case and count the letters aeiou.",
         (["hello"], 2), (["AEIOU"], 5), (["xyz"], 0), ([""], 0))
    task("count_words", "统计句子中的单词数", "counts the words in a sentence",
         "count_words words word_count", _STRING, """
def {f}({a}):
    return len({a}.split())""", "用split分开，数个数。", "Split at blanks and take the length.",
         (["a b c"], 3), (["hello"], 1), (["one  two"], 2), ([""], 0))
    task("count_char", "统计字符在字符串中出现的次数", "counts how often a character occurs in a string",
         "count_char char_count occurrences", ("s, c", "text, ch", "word, letter", "string, char"), """
def {f}({a}, {b}):
    return {a}.count({b})""", "用字符串的count方法。", "Use the method count of the string.",
         (["banana", "a"], 3), (["abc", "z"], 0), (["", "a"], 0))
    task("capitalize", "把句子中每个单词的首字母大写", "capitalizes the first letter of each word",
         "capitalize_words title_case cap_words", _STRING, """
def {f}({a}):
    return " ".join(w.capitalize() for w in {a}.split())""", "分开单词，逐个首字母大写，再连接。",
         "Split into words, capitalize each one, join them.",
         (["hello world"], "Hello World"), (["abc"], "Abc"))
    task("remove_spaces", "去掉字符串中的空格", "removes all spaces from a string",
         "remove_spaces no_spaces strip_spaces",
         _STRING, """
def {f}({a}):
    return {a}.replace(" ", "")""", "用replace把空格换成空串。", "Replace each space by nothing.",
         (["a b c"], "abc"), ([" x "], "x"), ([""], ""))


def _number_tasks(task) -> None:
    task("factorial", "计算一个数的阶乘", "computes the factorial of a number", "factorial fact fac", _NUMBER, """
def {f}({a}):
    result = 1
    for i in range(2, {a} + 1):
        result *= i
    return result""", "从1开始，依次乘2到最后一个数。", "Start with 1 and multiply by 2, 3 and so on.",
         ([0], 1), ([1], 1), ([5], 120), ([10], 3628800))
    task("fibonacci", "计算第n个斐波那契数", "computes the n-th Fibonacci number",
         "fibonacci fib nth_fib", _NUMBER, """
def {f}({a}):
    prev, cur = 0, 1
    for _ in range({a}):
        prev, cur = cur, prev + cur
    return prev""", "从0和1开始，每次把后两个数相加。", "Start with 0 and 1 and add the last two each time.",
         ([1], 1), ([2], 1), ([7], 13), ([10], 55), ([20], 6765))
    task("is_prime", "判断一个数是否为质数", "checks whether a number is prime",
         "is_prime prime check_prime", _NUMBER, """
def {f}({a}):
    if {a} < 2:
        return False
    i = 2
    while i * i <= {a}:
        if {a} % i == 0:
            return False
        i += 1
    return True""", "小于2不是质数，再试除到平方根。", "Below 2 is not prime; then try divisors up to the root.",
         ([1], False), ([2], True), ([9], False), ([17], True), ([49], False), ([97], True), ([0], False))
    task("sum_digits", "计算一个整数各位数字之和", "computes the sum of the digits of a number",
         "sum_digits digit_sum add_digits", _NUMBER, """
def {f}({a}):
    return sum(int(d) for d in str({a}))""", "转成字符串，把每位数字相加。", "Turn it into a string and add the digits.",
         ([0], 0), ([7], 7), ([123], 6), ([9999], 36))


def _formula_tasks(task) -> None:
    task("leap_year", "判断闰年", "checks whether a year is a leap year", "is_leap_year leap_year is_leap",
         ("year", "y", "n", "yr"), """
def {f}({a}):
    return {a} % 4 == 0 and ({a} % 100 != 0 or {a} % 400 == 0)""", "能被4整除但不能被100整除，或能被400整除。",
         "Divisible by 4 but not by 100, or divisible by 400.",
         ([2000], True), ([1900], False), ([2024], True), ([2023], False))
    task("fahrenheit", "把摄氏度转换成华氏度", "converts Celsius to Fahrenheit",
         "celsius_to_fahrenheit c_to_f to_fahrenheit",
         ("c", "celsius", "temp", "t", "degrees"), """
def {f}({a}):
    return {a} * 9 / 5 + 32""", "乘9除以5再加32。", "Multiply by 9, divide by 5, add 32.",
         ([0], 32.0), ([100], 212.0), ([-40], -40.0), ([37], 98.6))
    task("is_even", "判断一个数是否为偶数", "checks whether a number is even", "is_even even check_even", _NUMBER, """
def {f}({a}):
    return {a} % 2 == 0""", "除以2余0就是偶数。", "Even means remainder 0 after division by 2.",
         ([0], True), ([3], False), ([10], True))
    task("absolute", "求一个数的绝对值", "returns the absolute value of a number",
         "absolute abs_value absolute_value",
         _NUMBER, """
def {f}({a}):
    return -{a} if {a} < 0 else {a}""", "负数取相反数，否则不变。", "Negate it if it is negative.",
         ([5], 5), ([-3], 3), ([0], 0))
    task("sum_to", "计算从1加到n的和", "computes the sum of the numbers from 1 to n",
         "sum_to_n sum_to total", _NUMBER, """
def {f}({a}):
    return {a} * ({a} + 1) // 2""", "用公式：首项加末项，乘项数，除以2。", "Use the formula n(n+1)/2.",
         ([1], 1), ([10], 55), ([100], 5050))
    task("fizzbuzz", "实现FizzBuzz：3的倍数返回Fizz，5的倍数返回Buzz，15的倍数返回FizzBuzz，否则返回数字字符串",
         "returns Fizz for multiples of 3, Buzz for multiples of 5, FizzBuzz for multiples of 15, "
         "else the number as a string", "fizzbuzz fizz_buzz fb", _NUMBER, """
def {f}({a}):
    if {a} % 15 == 0:
        return "FizzBuzz"
    if {a} % 3 == 0:
        return "Fizz"
    if {a} % 5 == 0:
        return "Buzz"
    return str({a})""", "先判断15，再判断3和5。", "Test 15 first, then 3 and 5.",
         ([15], "FizzBuzz"), ([9], "Fizz"), ([10], "Buzz"), ([7], "7"))


def _list_tasks(task) -> None:
    task("max_of_list", "求列表中的最大值", "finds the largest number in a list",
         "find_max max_of_list largest", _LIST, """
def {f}({a}):
    best = {a}[0]
    for v in {a}:
        if v > best:
            best = v
    return best""", "先取第一个，遇到更大的就替换。", "Start with the first one and keep the larger one.",
         ([[3, 9, 2]], 9), ([[-5, -2]], -2), ([[7]], 7))
    task("min_of_list", "求列表中的最小值", "finds the smallest number in a list",
         "find_min min_of_list smallest", _LIST, """
def {f}({a}):
    best = {a}[0]
    for v in {a}:
        if v < best:
            best = v
    return best""", "先取第一个，遇到更小的就替换。", "Start with the first one and keep the smaller one.",
         ([[3, 9, 2]], 2), ([[-5, -2]], -5), ([[7]], 7))
    task("sum_list", "求列表中所有数的和", "adds up all numbers of a list", "sum_list list_sum add_all", _LIST, """
def {f}({a}):
    total = 0
    for v in {a}:
        total += v
    return total""", "从0开始，逐个相加。", "Start with 0 and add each number.",
         ([[1, 2, 3]], 6), ([[]], 0), ([[-4, 4]], 0))
    task("average", "求列表的平均值", "computes the average of a list of numbers", "average mean avg", _LIST, """
def {f}({a}):
    return sum({a}) / len({a})""", "总和除以个数。", "Divide the sum by the length.",
         ([[1, 2, 3]], 2.0), ([[5]], 5.0), ([[1, 2]], 1.5))
    task("bubble_sort", "实现冒泡排序", "sorts a list with bubble sort", "bubble_sort bubble sort_list", _LIST, """
def {f}({a}):
    {a} = list({a})
    for i in range(len({a})):
        for j in range(len({a}) - 1 - i):
            if {a}[j] > {a}[j + 1]:
                {a}[j], {a}[j + 1] = {a}[j + 1], {a}[j]
    return {a}""", "两层循环，相邻的数顺序不对就交换。", "Two loops; swap neighbours that are out of order.",
         ([[3, 1, 2]], [1, 2, 3]), ([[]], []), ([[5, 5, -1, 0]], [-1, 0, 5, 5]))


def _filter_tasks(task) -> None:
    task("unique", "去除列表中的重复元素并保持顺序", "removes duplicates from a list and keeps the order",
         "unique remove_duplicates dedupe", _LIST, """
def {f}({a}):
    result = []
    for v in {a}:
        if v not in result:
            result.append(v)
    return result""", "逐个检查，没出现过的才加入结果。", "Append only what is not in the result yet.",
         ([[1, 2, 1, 3, 2]], [1, 2, 3]), ([[]], []), ([["b", "a", "b"]], ["b", "a"]))
    task("even_numbers", "返回列表中的所有偶数", "returns the even numbers of a list",
         "even_numbers evens get_even", _LIST, """
def {f}({a}):
    return [v for v in {a} if v % 2 == 0]""", "用列表推导式，留下除以2余0的数。",
         "Keep the numbers with remainder 0 modulo 2.",
         ([[1, 2, 3, 4]], [2, 4]), ([[1]], []), ([[0, -2]], [0, -2]))
    task("flatten", "把二维列表展开成一维列表", "flattens a list of lists", "flatten flatten_list flat", _LIST, """
def {f}({a}):
    return [v for row in {a} for v in row]""", "两层遍历，依次取出每个元素。", "Go through each row and take each element.",
         ([[[1, 2], [3]]], [1, 2, 3]), ([[]], []), ([[[], [4]]], [4]))
    task("transpose", "求矩阵的转置", "transposes a matrix", "transpose transposed flip_matrix",
         ("matrix", "m", "rows", "grid", "table"), """
def {f}({a}):
    return [list(r) for r in zip(*{a})]""", "用zip把行变成列。", "Turn rows into columns with zip.",
         ([[[1, 2], [3, 4]]], [[1, 3], [2, 4]]), ([[[1, 2, 3]]], [[1], [2], [3]]))
    task("second_largest", "求列表中第二大的数", "finds the second largest number of a list",
         "second_largest second_max runner_up", _LIST, """
def {f}({a}):
    return sorted(set({a}))[-2]""", "去重后排序，取倒数第二个。", "Remove duplicates, sort, take the last but one.",
         ([[3, 9, 2]], 3), ([[1, 2]], 1), ([[5, 5, 4]], 4))


def _pair_tasks(task) -> None:
    task("gcd", "求两个数的最大公约数", "computes the greatest common divisor of two numbers",
         "gcd greatest_divisor common_div",
         _TWO, """
def {f}({a}, {b}):
    while {b}:
        {a}, {b} = {b}, {a} % {b}
    return {a}""", "辗转相除，直到余数为0。", "Take remainders until one is 0.",
         ([12, 18], 6), ([7, 5], 1), ([100, 10], 10), ([48, 36], 12))
    task("lcm", "求两个数的最小公倍数", "computes the least common multiple of two numbers",
         "lcm least_multiple common_mul",
         _TWO, """
def {f}({a}, {b}):
    i, j = {a}, {b}
    while j:
        i, j = j, i % j
    return {a} * {b} // i""", "先求最大公约数，再用积除以它。",
         "Find the greatest common divisor, divide the product by it.",
         ([4, 6], 12), ([7, 5], 35), ([10, 10], 10))
    task("power", "用循环计算一个数的整数次幂", "raises a number to a whole power with a loop",
         "power pow_int raise_to", ("a, b", "x, n", "base, exp", "m, k", "num, times"), """
def {f}({a}, {b}):
    result = 1
    for _ in range({b}):
        result *= {a}
    return result""", "从1开始，重复相乘。", "Start with 1 and multiply again and again.",
         ([2, 10], 1024), ([5, 0], 1), ([3, 3], 27))
    task("binary_search", "在有序列表中二分查找，找不到返回-1",
         "does a binary search in a sorted list and returns the index or -1",
         "binary_search bsearch find_index",
         ("nums, target", "arr, x", "items, key", "values, wanted", "data, goal"), """
def {f}({a}, {b}):
    low, high = 0, len({a}) - 1
    while low <= high:
        mid = (low + high) // 2
        if {a}[mid] == {b}:
            return mid
        if {a}[mid] < {b}:
            low = mid + 1
        else:
            high = mid - 1
    return -1""", "每次看中间，把范围缩小一半。", "Look at the middle and halve the range.",
         ([[1, 3, 5, 7], 5], 2), ([[1, 3], 4], -1), ([[], 1], -1), ([[2], 2], 0), ([[1, 4, 6, 8, 9], 9], 4))


def _two_value_tasks(task) -> None:
    task("anagram", "判断两个字符串是否为变位词", "checks whether two strings are anagrams",
         "is_anagram anagram are_anagrams", _STRINGS, """
def {f}({a}, {b}):
    return sorted({a}) == sorted({b})""", "排序后比较。", "Sort both and compare.",
         (["listen", "silent"], True), (["ab", "abb"], False), (["", ""], True), (["abc", "abd"], False))
    task("two_sum", "求两数之和：返回列表中和为目标值的两个数的下标",
         "solves two sum: returns the indices of two numbers of a list that add up to a target",
         "two_sum find_pair pair_sum",
         ("nums, target", "arr, goal", "numbers, wanted", "data, t"), """
def {f}({a}, {b}):
    seen = {}
    for i, v in enumerate({a}):
        if {b} - v in seen:
            return [seen[{b} - v], i]
        seen[v] = i
    return []""", "用字典记下标，查目标减当前数。", "Keep indices in a dict and look up target minus number.",
         ([[2, 7, 11, 15], 9], [0, 1]), ([[3, 2, 4], 6], [1, 2]), ([[3, 3], 6], [0, 1]), any_order=True)
    task("merge_dicts", "合并两个字典", "merges two dictionaries", "merge_dicts merge join_dicts", _DICTS, """
def {f}({a}, {b}):
    return {**{a}, **{b}}""", "展开两个字典，后者覆盖前者。", "Unpack both; the second one wins.",
         ([{"a": 1}, {"b": 2}], {"a": 1, "b": 2}), ([{"a": 1}, {"a": 3}], {"a": 3}), ([{}, {}], {}))
    task("intersection", "求两个列表的交集", "returns the common elements of two lists",
         "intersection common_items intersect", _LISTS, """
def {f}({a}, {b}):
    return [v for v in {a} if v in {b}]""", "留下第一个列表中也在第二个里的元素。", "Keep what is in both lists.",
         ([[1, 2, 3], [2, 3, 4]], [2, 3]), ([[1], [2]], []), ([[5, 6], [6]], [6]), any_order=True)
    task("larger", "返回两个数中较大的一个", "returns the larger of two numbers", "larger max_of_two bigger", _TWO, """
def {f}({a}, {b}):
    return {a} if {a} > {b} else {b}""", "比较两个数，返回大的。", "Compare them and return the larger one.",
         ([3, 5], 5), ([9, 2], 9), ([4, 4], 4))


TASKS = _tasks()

_ASK_ZH = (
    "写一个Python函数{t}。", "请写一个Python函数{t}。", "用Python写一个函数，{t}。", "帮我写个Python函数：{t}。",
    "请用Python实现一个函数{t}。", "用Python怎么写一个函数{t}？", "编写一个Python函数，功能是{t}。",
    "我需要一个{t}的Python函数。", "Python编程：{t}，写成函数。", "写一段Python代码，用函数{t}。",
)
_ASK_EN = (
    "Write a Python function that {t}.", "Please write a Python function that {t}.",
    "Give me a Python function that {t}.", "I need a Python function that {t}.",
    "Implement a function in Python that {t}.", "Can you write a Python function that {t}?",
    "Show me how to write a Python function that {t}.", "Python: write a function that {t}.",
    "Create a short Python function that {t}.", "Help me with a Python function that {t}.",
)
_NAMED_ZH = ("函数名为{n}，参数为{p}。", "函数名用{n}，参数名用{p}。", "函数叫{n}，参数叫{p}。", "名字：{n}，参数：{p}。")
_NAMED_EN = ("Call it {n} with the parameters {p}.", "Its name is {n} and its parameters are {p}.",
             "Name: {n}, parameters: {p}.", "Use the name {n} and the parameters {p}.")
_DECORATIONS = ("{0}", "{0}", "my_{0}", "{0}_of", "do_{0}", "{0}_fn", "{0}2", "calc_{0}", "{0}_func",
                "run_{0}", "the_{0}", "f_{0}", "py_{0}", "{0}_it")


class PythonFunction(Family):
    name = "python_function"

    def make(self, rng: random.Random, language: str) -> Problem:
        task, zh = TASKS[rng.randrange(len(TASKS))], language == "zh"
        body = task.text_zh if zh else task.text_en
        question = pick(rng, *(_ASK_ZH if zh else _ASK_EN)).format(t=body)
        if rng.random() < 0.3:
            question = question.rstrip("。.")
        note = rng.randrange(2)  # 1: with a docstring
        if rng.random() < 0.25:
            name, arguments, key = task.names[0], task.arguments[0], (task.name, "", "", note)
            if task.name == "palindrome" and zh and not note and rng.random() < 0.5:
                question = "写一个Python函数判断回文字符串"  # an example of the page, word for word
        else:
            name = pick(rng, *_DECORATIONS).format(pick(rng, *task.names))
            arguments = pick(rng, *task.arguments)
            key = (task.name, name, arguments, note)
            question = self._sentence(question, zh) + self._named(rng, zh, name, arguments)
        if note:
            question = self._sentence(question, zh) + pick(rng, *(
                ("加上文档字符串。", "请写文档字符串。") if zh else ("Add a docstring.", "With a docstring.")))
        question = question.strip()
        code = self._code(task, name, arguments, note, zh)
        shown = arguments.replace(" ", "")
        if zh:
            thinking = f"函数{name}({shown})。{task.plan_zh}" + ("加文档字符串。" if note else "")
            answer = f"函数如下：\n```python\n{code}\n```"
        else:
            thinking = f"Function {name}({shown}). {task.plan_en}" + (
                " Add a docstring." if note else "")
            answer = f"Here is the function:\n```python\n{code}\n```"
        return Problem(self.name, language, key, question, thinking, answer, "",
                       facts={"task": task.name, "function": key[1]})

    @staticmethod
    def _sentence(question: str, zh: bool) -> str:
        """The question closed by a mark, so that another sentence can follow."""
        if question[-1] not in "。？.?":
            question += "。" if zh else "."
        return question if zh else question + " "

    @staticmethod
    def _named(rng: random.Random, zh: bool, name: str, arguments: str) -> str:
        text = pick(rng, *(_NAMED_ZH if zh else _NAMED_EN)).format(
            n=name, p=arguments.replace(", ", "和" if zh else " and "))
        return text.replace("parameters are", "parameter is").replace("parameters", "parameter") if (
            "," not in arguments) else text

    @staticmethod
    def _code(task: Task, name: str, arguments: str, note: int, zh: bool) -> str:
        fields = dict(zip("ab", arguments.split(", ")))
        doc = f"{task.text_zh}。" if zh else f"{task.text_en[0].upper()}{task.text_en[1:]}."
        head, _, rest = task.code.partition("\n")
        text = f"{head}\n" + (f'    """{doc}"""\n' if note else "") + rest
        # Only {f}, {a} and {b} are fields; other braces are Python's.
        return re.sub(r"\{([fab])\}", lambda match: {"f": name, **fields}[match.group(1)], text)

    def solve(self, key: tuple, language: str) -> str:
        return ""  # many programs are right: grade() runs them

    def grade(self, problem: Problem, reply: str) -> bool:
        """Runs the reply's last code block against the task's tests."""
        blocks = _BLOCK.findall(reply)
        if not blocks:
            return False
        task = next(task for task in TASKS if task.name == problem.key[0])
        defined = _DEFINITION.findall(blocks[-1])
        if not defined or (problem.key[1] and problem.key[1] not in defined):
            return False
        return run_tests(blocks[-1], problem.key[1] or defined[-1], task.tests, task.any_order)


FAMILIES = [PythonFunction()]

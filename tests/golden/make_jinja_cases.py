#!/usr/bin/env python3
"""Writes tests/golden/jinja_cases.json: small templates, their variables and what Python's Jinja2 makes of them.

    python3 tests/golden/make_jinja_cases.py > tests/golden/jinja_cases.json       (Jinja2 3.1.6)

The environment is that of transformers' chat templates: immutable sandbox, trim_blocks, lstrip_blocks, loop
controls, tojson without ASCII escapes, raise_exception. A case that Python cannot render has "error"; one that
begins with ! here is refused by Sparrow on purpose, and has "refused".
"""
import json
import sys

import jinja2
import jinja2.ext
import jinja2.sandbox

VARIABLES = {
    "messages": [
        {"role": "system", "content": "Be terse."},
        {"role": "user", "content": "你好, \"quoted\" & <b>it's</b>\n\n  two  spaces "},
        {"role": "assistant", "content": None, "tool_calls": [
            {"type": "function", "function": {"name": "f", "arguments": {"a": 1, "b": [1.5, True, None]}}}]},
        {"role": "tool", "content": "21"},
        {"role": "assistant", "content": "<think>\nx\n</think>\n\nHello!", "reasoning_content": "r"},
    ],
    "numbers": [3, 1, 2, 10],
    "words": ["pear", "Apple", "fig", "apple"],
    "people": [{"name": "Bo", "age": 3, "tag": {"k": 2}}, {"name": "al", "age": 1, "tag": {"k": 1}}, {"name": "Cy", "age": 2}],
    "d": {"b": 2, "a": 1, "C": 3},
    "empty": "", "zero": 0, "nothing": None, "yes": True, "big": 18446744073709551615,
    "float": 100000.0, "small": 0.0001, "tiny": 1.5e-7, "huge": 1e22, "third": 0.3333333333333333,
    "text": " \u3000\u00a0trim me\u2003\n", "control": "a\u0001b\u007fc\u200bd\te\\f",
    "unicode": "Straße ÀÉ ñ 汉字 😀", "lines": "one\ntwo\r\nthree\n\nfive",
}

CASES = r"""
{{ 1 + 2 * 3 - 4 / 2 }} {{ 7 // 2 }} {{ -7 // 2 }} {{ -7 % 3 }} {{ 7.5 % 2 }} {{ 2 ** 10 }} {{ 2 ** -1 }} {{ 2 ** 62 }}
{{ -2 ** 2 }} {{ 2 ** 3 ** 2 }} {{ -1 | abs }} {{ - 3 | abs + 1 }} {{ +4 }} {{ --4 }}
{{ 1 ~ 2 ~ 'x' ~ none ~ true ~ 1.0 }} {{ 'a' ~ 1 + 2 }}
{{ float }} {{ small }} {{ tiny }} {{ huge }} {{ third }} {{ big }} {{ 1e16 }} {{ 123456789012345.0 }} {{ -0.0 }}
{{ [float, small, tiny, huge, third, big] | tojson }}
{{ 10 / 5 }} {{ 1 / 3 }} {{ 7 // 2.0 }} {{ true + 1 }}
{{ 'a' * 3 }}|{{ 3 * 'ab' }}|{{ [1] * 2 }}|{{ 'a' * -1 }}
{{ [1, 2] + [3] }} {{ (1, 2) + (3,) }} {{ (1,) }} {{ () }} {{ [] }} {{ {} }} {{ ('a', 'b') }}
{{ d.items() | list }} {{ d | items | list }} {{ d | dictsort }} {{ d | list }} {{ d.keys() | list }} {{ d.values() | list }}
{{ (1, 2) == [1, 2] }} {{ (1, 2) == (1, 2) }} {{ 1 == 1.0 }} {{ '1' == 1 }} {{ none == false }} {{ true == 1 }} {{ d == d }} {{ [1, [2]] == [1, [2]] }}
{{ 1 < 2 }} {{ 'a' < 'b' }} {{ [1, 2] < [1, 3] }} {{ 1 <= 1.0 }} {{ 2 >= 3 }} {{ 1 != 2 }}
{{ none < 1 }}
{{ 1 in [1, 2] }} {{ 'a' in 'cat' }} {{ 'b' in d }} {{ 'z' not in d }} {{ 1 not in [] }} {{ none in [none] }} {{ '' in 'x' }}
{{ 'x' in missing }} {{ 'x' not in missing }}
{{ 'x' in nothing }}
{{ 1 and 2 }} {{ 0 and 2 }} {{ 0 or 'x' }} {{ '' or none or 'last' }} {{ not 1 }} {{ not '' }} {{ not not 3 }} {{ not 1 == 2 }}
{{ 'yes' if 1 else 'no' }} {{ 'yes' if 0 else 'no' }} {{ 'only' if 0 }}| {{ 1 if 0 else 2 if 0 else 3 }} {{ ('a' if yes) ~ 'b' }}
{{ missing }}|{{ missing is defined }}|{{ d.missing is defined }}|{{ messages[99] is defined }}|{{ nothing.foo is defined }}|{{ empty.foo }}
{{ missing.foo }}
{{ missing['foo'] }}
{{ missing + 'x' }}
{{ 'x' + missing }}
{{ 'x' + 1 }}
{{ 'x' + nothing }}
{{ missing | length }} {{ missing | default('d') }} {{ nothing | default('d') }} {{ nothing | default('d', true) }} {{ empty | d('e', boolean=true) }} {{ missing | list }} {{ missing | join }}| {{ missing | first is defined }} {{ missing | upper }}|
{{ missing | tojson }}
{{ missing is iterable }} {{ missing is sequence }} {{ missing is string }} {{ missing is mapping }} {{ missing is none }} {{ missing == missing }} {{ missing is undefined }}
{% for x in missing %}{{ x }}{% else %}none{% endfor %}
{% for x in nothing %}{{ x }}{% endfor %}
{{ messages[0].role }} {{ messages[0]['role'] }} {{ messages[-1].role }} {{ messages[1:3] | length }} {{ messages[::-1][0].role }} {{ messages[:-1] | length }} {{ messages.0.role }} {{ (messages | last).role }} {{ (messages | first)['content'] }}
{{ 'abcdef'[1:4] }} {{ 'abcdef'[::-1] }} {{ 'abcdef'[-3:] }} {{ 'abcdef'[:2] }} {{ 'abcdef'[10:] }}| {{ 'abcdef'[4:1] }}| {{ 'abcdef'[4:1:-1] }} {{ 'abcdef'[::2] }} {{ unicode[-1] }} {{ unicode[4:6] }} {{ unicode[0] }} {{ 'abc'[5] is defined }} {{ [1,2,3][-5:2] }} {{ (1,2,3)[1:] }}
{{ unicode | upper }}|{{ unicode | lower }}|{{ unicode | title }}|{{ unicode | capitalize }}|{{ unicode | length }}
{{ "it's a tEST-case (of x)" | title }}|{{ "it's a tEST-case (of x)".title() }}|{{ 'aBC dEF' | capitalize }}|{{ 'aBC dEF'.capitalize() }}
[{{ text | trim }}] [{{ text.strip() }}] [{{ text.lstrip() }}] [{{ text.rstrip() }}] [{{ 'xxabcxx'.strip('x') }}] [{{ 'xyabcyx' | trim('xy') }}] [{{ '，。汉，'.strip('，') }}] [{{ '字汉'.rstrip('汉') }}] [{{ '  a '.strip(none) }}]
{{ 'a,b,,c'.split(',') }} {{ ' a  b '.split() }} {{ ' a  b '.split(' ') }} {{ 'a b c  '.split(none, 1) }} {{ 'a,b,c'.split(',', 1) }} {{ 'a,b,c'.rsplit(',', 1) }} {{ 'aaa'.rsplit('aa', 1) }} {{ ''.split() }} {{ ''.split(',') }} {{ 'a b c'.rsplit(none, 1) }} {{ 'a,b'.split(sep=',') }} {{ 'a,b,c'.split(',', maxsplit=1) }}
{{ 'a\u3000b\u2003c'.split() }}
{{ lines.splitlines() }} {{ 'a\n'.splitlines() }} {{ ''.splitlines() }} {{ 'a\u2028b\x0bc'.splitlines() }} {{ 'a\r\nb'.splitlines(true) }}
{{ 'hello'.find('l') }} {{ 'hello'.rfind('l') }} {{ 'hello'.find('z') }} {{ '汉字x'.find('x') }} {{ 'hello'.index('e') }} {{ 'hello'.count('l') }} {{ 'aaaa'.count('aa') }} {{ 'abc'.count('') }} {{ 'abc'.find('') }}
{{ 'hello'.index('z') }}
{{ 'hello'.startswith('he') }} {{ 'hello'.endswith(('x', 'lo')) }} {{ 'hello'.startswith('') }}
{{ 'a-b-c'.replace('-', '+') }} {{ 'a-b-c'.replace('-', '+', 1) }} {{ 'a-b-c' | replace('-', '') }} {{ 'aaa' | replace('a', 'b', 2) }} {{ 5 | replace('5', '6') }} {{ 'abc'.replace('', '-') }}
{{ 'abc'.upper() }} {{ 'ABC'.lower() }} {{ ', '.join(['a', 'b']) }} {{ 'abc'.removeprefix('a') }} {{ 'abc'.removesuffix('c') }} {{ 'abc'.isalpha() }} {{ '12'.isdigit() }} {{ ' '.isspace() }} {{ 'AB'.isupper() }} {{ 'ab'.islower() }} {{ 'aB'.swapcase() }} {{ 'a=b=c'.partition('=') }} {{ 'a=b=c'.rpartition('=') }}
{{ ', '.join([1]) }}
{{ d.get('a') }} {{ d.get('z') }} {{ d.get('z', 9) }} {{ d['a'] }} {{ d.a }} {{ d['z'] is defined }}
{{ numbers | join(', ') }} {{ people | join('|', attribute='name') }} {{ words | join }} {{ 'abc' | join('-') }}
{{ people | map(attribute='name') | list }} {{ people[:2] | map(attribute='tag.k') | list }} {{ people | map(attribute='zip', default='-') | list }} {{ words | map('upper') | list }} {{ words | map('replace', 'p', 'b') | join(',') }} {{ numbers | map('string') | join }}
{{ people | selectattr('age', 'equalto', 1) | map(attribute='name') | list }} {{ people | selectattr('age', '==', 1) | list | length }} {{ people | selectattr('age', '>', 1) | map(attribute='name') | join }} {{ people | rejectattr('age', 'gt', 1) | map(attribute='name') | join }} {{ people | selectattr('tag') | list | length }} {{ people | selectattr('tag', 'defined') | list | length }} {{ people | selectattr('name', 'in', ['Bo', 'Cy']) | list | length }} {{ people[:2] | rejectattr('tag.k', 'undefined') | list | length }}
{{ people | map(attribute='tag.k') | list }}
{{ numbers | select('odd') | list }} {{ numbers | reject('odd') | list }} {{ numbers | select('>', 2) | list }} {{ [0, 1, '', 'a', none] | select | list }} {{ [0, 1] | reject | list }} {{ numbers | select('divisibleby', 5) | list }} {{ words | select('ne', 'fig') | list }}
{{ numbers | sort }} {{ numbers | sort(reverse=true) }} {{ words | sort }} {{ words | sort(case_sensitive=true) }} {{ words | sort(true) }} {{ people | sort(attribute='age') | map(attribute='name') | list }} {{ people | sort(attribute='name') | map(attribute='name') | list }} {{ [[2, 1], [1, 2]] | sort }}
{{ people | sort(attribute='age,name') | map(attribute='name') | list }}
{{ d | dictsort(true) }} {{ d | dictsort(by='value') }} {{ d | dictsort(reverse=true) }} {{ d | dictsort(false, 'value', true) }}
{{ words | unique | list }} {{ words | unique(case_sensitive=true) | list }} {{ [1, 1.0, 2] | unique | list }} {{ people | unique(attribute='age') | list | length }}
{{ numbers | reverse | list }} {{ 'abc' | reverse }} {{ numbers | first }} {{ numbers | last }} {{ 'abc' | first }} {{ 'abc' | last }} {{ d | first }} {{ [] | first is defined }}
{{ numbers | sum }} {{ people | sum(attribute='age') }} {{ [1.5, 2] | sum }} {{ [1] | sum(start=5) }} {{ numbers | min }} {{ numbers | max }} {{ words | min }} {{ words | max }}
{{ 2.5 | round }} {{ 2.55 | round(1) }} {{ 3 | round }} {{ 2.4 | round(0, 'ceil') }} {{ 2.6 | round(method='floor') }} {{ 3.14159 | round(2) }} {{ 3.5 | round | int }} {{ 1234 | round(-2) }}
{{ '12' | int }} {{ ' 12 ' | int }} {{ 'x' | int }} {{ 'x' | int(7) }} {{ '1.9' | int }} {{ 1.9 | int }} {{ -1.9 | int }} {{ true | int }} {{ '+5' | int }} {{ none | int }} {{ 'ff' | int(base=16) }} {{ '1_000' | int }} {{ 'x' | int(default=3) }}
{{ '1.5' | float }} {{ 'x' | float }} {{ 2 | float }} {{ 'x' | float(1.5) }} {{ ' 2.5 ' | float }} {{ '1e3' | float }}
{{ 1.0 | string ~ 'x' }} {{ none | string }} {{ [1] | string | length }} {{ 'x' | safe }} {{ -3 | abs }} {{ -3.5 | abs }}
{{ 'a\nb\n\nc' | indent }}|{{ 'a\nb\n\nc' | indent(2, true) }}|{{ 'a\nb\n\nc' | indent(2, blank=true) }}|{{ 'a\nb' | indent('> ') }}|{{ 'a\nb' | indent(width=1, first=true) }}
{{ messages | tojson }}
{{ messages | tojson(indent=2) }}
{{ d | tojson(sort_keys=true) }} {{ d | tojson(separators=(',', ':')) }} {{ unicode | tojson(ensure_ascii=true) }} {{ unicode | tojson(ensure_ascii=false) }} {{ [] | tojson(indent=4) }} {{ {} | tojson(indent=4) }} {{ d | tojson(indent=1, sort_keys=true) }} {{ control | tojson }} {{ d | tojson(indent=none) }} {{ [1, [2]] | tojson(indent=0) }}
{{ (1, 'a') | tojson }} {{ 1.0 | tojson }} {{ 'x' | tojson }} {{ none | tojson }} {{ true | tojson }} {{ '</script>' | tojson }}
{{ messages[1].content }} {{ [messages[1].content] }} {{ [control] }} {{ ["it's", 'say "hi"', 'both \' and "'] }} {{ [unicode] }} {{ {'k': none} }} {{ ['\u00a0\u200b\ue000'] }}
{{ 1 is number }} {{ 1.0 is number }} {{ 'a' is number }} {{ true is number }} {{ true is boolean }} {{ 1 is boolean }} {{ 1 is integer }} {{ true is integer }} {{ 1.0 is float }} {{ 1 is float }}
{{ d is mapping }} {{ [] is mapping }} {{ 'a' is string }} {{ 'a' is iterable }} {{ 1 is iterable }} {{ d is iterable }} {{ 'a' is sequence }} {{ d is sequence }} {{ [] is sequence }} {{ 1 is sequence }} {{ none is iterable }}
{{ none is none }} {{ 1 is not none }} {{ true is true }} {{ 1 is true }} {{ false is false }} {{ 0 is false }} {{ 3 is odd }} {{ 4 is even }} {{ 9 is divisibleby 3 }} {{ 9 is divisibleby(3) }} {{ 1 is eq 1 }} {{ 1 is equalto(1) }} {{ 1 is ne 2 }} {{ 2 is gt 1 }} {{ 2 is lt 1 }} {{ 2 is ge 2 }} {{ 2 is le 1 }} {{ 1 is in [1] }} {{ 'a' is in d }} {{ 2 is greaterthan 1 }} {{ 2 is lessthan 1 }}
{{ 'abc' is lower }} {{ 'ABC' is upper }} {{ 'aBC' is upper }} {{ 1 is sameas 1 }} {{ none is sameas none }}
{{ 1 is eq d.a }} {{ 'user' is eq messages[1].role }} {{ 'a' is in d.keys() }} {{ not 1 is eq 2 }} {{ 1 is not eq 1 or 2 is eq 2 }} {{ missing is not defined and true }}
{{ 'x' if missing is not defined else 'y' }} {{ (messages | length) is gt 2 }} {{ messages | length > 2 }} {{ 'a' ~ 'b' | upper }} {{ ('a' ~ 'b') | upper }}
!{{ 1 < 2 < 3 }}
{% for x in numbers %}{{ loop.index }},{{ loop.index0 }},{{ loop.revindex }},{{ loop.revindex0 }},{{ loop.first }},{{ loop.last }},{{ loop.length }},{{ loop.previtem }},{{ loop.nextitem }},{{ loop.depth }},{{ loop.depth0 }} {% endfor %}
{% for x in numbers %}{{ loop.cycle('odd', 'even') }} {% endfor %}
{% for x in [1,2] %}{% for y in [1,2] %}{{ loop.index }}{{ loop.depth }}{% endfor %}{{ loop.index }} {% endfor %}
{% for k, v in d.items() %}{{ k }}={{ v }};{% endfor %}{% for k, v in d | dictsort %}{{ k }}={{ v }};{% endfor %}{% for a, b in [[1, 2], (3, 4)] %}{{ a }}{{ b }}{% endfor %}{% for k in d %}{{ k }}{% endfor %}{% for c in '汉字' %}[{{ c }}]{% endfor %}
!{% for (a, b), c in [((1, 2), 3)] %}{{ a }}{{ b }}{{ c }}{% endfor %}
{% for a, b in [[1, 2, 3]] %}{% endfor %}
{% for x in numbers if x > 1 %}{{ loop.index }}:{{ x }}/{{ loop.length }}{{ loop.last }} {% else %}none{% endfor %}{% for x in numbers if x > 100 %}{{ x }}{% else %}none{% endfor %}
{% for x in numbers %}{% if x == 2 %}{% break %}{% endif %}{{ x }}{% endfor %}|{% for x in numbers %}{% if x == 1 %}{% continue %}{% endif %}{{ x }}{% endfor %}|{% for x in [1] %}{% break %}{% else %}else{% endfor %}
{% for x in range(3) %}{{ x }}{% endfor %} {{ range(1, 10, 3) | list }} {{ range(5, 0, -2) | list }} {{ range(0) | list }} {{ range(3) | length }} {{ 2 in range(3) }} {{ range(10)[2] }} {{ range(10)[2:4] | list }}
{% set x = 1 %}{% for i in [1, 2] %}{{ x }}{% set x = 5 %}{{ x }}{% endfor %}{{ x }}{% if true %}{% set x = 9 %}{% endif %}{{ x }}
{% set ns = namespace(a=1, b='x') %}{% for i in [1, 2] %}{% set ns.a = ns.a + i %}{% set ns.c = i %}{% endfor %}{{ ns.a }}{{ ns.b }}{{ ns.c }}{{ ns.zip is defined }}{{ ns['a'] }}
{% set ns = namespace() %}{% set ns.x = [1] %}{% set ns.x = ns.x + [2] %}{{ ns.x }} {% set n2 = namespace({'k': 1}, k=2) %}{{ n2.k }}
{% set a, b = 1, 2 %}{{ a }}{{ b }}{% set c = 1, 2 %}{{ c }}{% set (e, f) = [3, 4] %}{{ e }}{{ f }}
{% set a = d %}{% set a.x = 1 %}
{% set t %}  block {{ 1 + 1 }}{% set inner = 3 %} {% endset %}[{{ t }}]{{ t is string }}{{ inner is defined }}
!{% set t | upper | trim %} block {% endset %}[{{ t }}]
{% macro m(a, b='B', c=none) %}{{ a }}{{ b }}{{ c }}{% endmacro %}{{ m(1) }} {{ m(1, 2) }} {{ m(1, c=3) }} {{ m(b=1, a=2) }} {{ m() }} {{ m(1) | upper }}
{% macro m(a) %}{{ a }}{% endmacro %}{{ m(1, 2) }}
{% macro m(a) %}{{ a }}{% endmacro %}{{ m(1, z=2) }}
{% macro fact(n) %}{% if n > 1 %}{{ n }}*{{ fact(n - 1) }}{% else %}1{% endif %}{% endmacro %}{{ fact(5) }}
{% macro outer() %}{% macro inner() %}i{% endmacro %}{{ inner() }}{% endmacro %}{{ outer() }}
{% set g = 1 %}{% macro m() %}{{ g }}{% set g = 2 %}{{ g }}{% endmacro %}{{ m() }}{{ g }}{% set g = 3 %}{{ m() }}
{% for x in [1, 2] %}{% macro m() %}{{ x is defined }}{% endmacro %}{{ m() }}{% endfor %}
{%- macro m(x) -%}  {{ x }}  {%- endmacro -%}  [{{ m('a') }}]
{% macro m(items, sep=', ') %}{% for i in items %}{{ i }}{% if not loop.last %}{{ sep }}{% endif %}{% endfor %}{% endmacro %}{{ m([1, 2], sep='; ') }}
{{ caller is defined }} {{ loop is defined }} {{ varargs is defined }}
{# comment #}a{#- x -#} b {# y #}
{% if false %}a{% elif zero %}b{% elif 1 %}c{% else %}d{% endif %}{% if not yes %}x{% endif %}
{% if messages[0].role == 'system' and messages | length > 1 and not missing %}ok{% endif %}
{% raw %}{{ not parsed }} {% if %}{% endraw %}|{%- raw -%}  x  {%- endraw -%}  |
{{ {'a': 1, 'b': [1, 2]}['b'][1] }} {{ {'a': {'b': 'c'}}.a.b }} {{ [[1, 2], [3]][0][1] }} {{ {'a': 1, 'a': 2} }} {{ {'x': 1, }.x }} {{ [1, 2, ] }}
{{ dict(a=1, b=2) }} {{ dict(d, a=9) }} {{ dict() }}
{{ 'tab\there\\n \x41 \u4f60 \U0001F600 \' " \/ \0' }}|{{ "a" 'b' }}
{{ 1_000 }} {{ 1.5e3 }}
!{{ 0x1F }}
{{ 'line
break' }}
{{ raise_exception('no ' ~ 1) }}
{{ 1 / 0 }}
{{ 1 // 0 }}
{{ 1 % 0 }}
!{{ ''.__class__ }}
{{ ''.__class__.__mro__ }}
!{{ messages['__class__'] }}
!{{ d.__init__ }}
!{{ messages | map(attribute='__class__') | list }}
{{ nothing() }}
{{ d.a() }}
{{ [1].append(2) }}
{{ d.update({'z': 1}) }}
{{ numbers.index(1) }} {{ numbers.count(1) }}
{{ namespace(a=1).a }}
!{{ '%s is %d' % ('x', 3) }} {{ '%s' % 'y' }} {{ '%.2f|%5d|%%' % (1.234, 42) }}
!{{ '%s-%s' | format('a', 1) }}
!{{ '{} and {}'.format(1, 'b') }} {{ '{0}{1}{0}'.format('a', 'b') }} {{ '{x}'.format(x=3) }}
!{{ messages | groupby('role') | length }}
!{% filter upper %}abc{{ 1 }}{% endfilter %}
{% call(x) foo() %}{% endcall %}
!{% with a = 1, b = 2 %}{{ a + b }}{% endwith %}{{ a is defined }}
!{{ numbers | batch(2) | list }}
!{{ '<b>' | e }}
{{ messages | selectattr('role', 'equalto', 'user') | map(attribute='content') | first | trim }}
{% for m in messages %}{% if m['role'] == 'user' %}<|u|>{{ m['content'] }}{% elif m.role == 'assistant' and m.tool_calls %}{% for t in m.tool_calls %}{{ t.function.name }}({{ t.function.arguments | tojson }}){% endfor %}{% else %}{{ m.content }}{% endif %}{% endfor %}
{% for m in messages %}{% if m.content is string %}S{% elif m.content is none %}N{% elif m.content is iterable %}I{% endif %}{% if 'tool_calls' in m and m['tool_calls'] %}T{% endif %}{% if m.reasoning_content is defined and m.reasoning_content is not none %}R{% endif %}{% endfor %}
{%- set ns = namespace(multi_step_tool=true, last_query_index=messages|length - 1) %}{%- for message in messages[::-1] %}{%- set index = (messages|length - 1) - loop.index0 %}{%- if ns.multi_step_tool and message.role == "user" and message.content is string and not(message.content.startswith('<tool_response>') and message.content.endswith('</tool_response>')) %}{%- set ns.multi_step_tool = false %}{%- set ns.last_query_index = index %}{%- endif %}{%- endfor %}{{ ns.last_query_index }}
{%- for message in messages %}{%- if message.content is string and '</think>' in message.content %}{%- set reasoning = message.content.split('</think>')[0].rstrip('\n').split('<think>')[-1].lstrip('\n') %}{%- set content = message.content.split('</think>')[-1].lstrip('\n') %}[{{ reasoning }}|{{ content }}]{%- endif %}{%- endfor %}
a
  {% if true %}
    b
  {% endif %}
c
a {% if true %} b {% endif %} c
a\n{%- if true -%}\n  b\n{%- endif %}\nc
  {{ 1 }}\n{# note #}\n  {#- x -#}  y\n
  {%+ if true +%}\nx{% endif %}
x\n\n{% set a = 1 %}\n\ny\n
{{ 1 -}}   \n  2 {{- 3 }}\n{{ 4 }}\n
\u3000{%- if true -%}\u3000x{% endif %}
x\t{% if true %}\ty{% endif %}\n\t  {% if true %}z{% endif %}
{% if true %}\n\n  a\n{% endif %}
{{ 'a' }}{% for x in [1,2] %}\n{{ x }}\n{% endfor %}\nend
"""


def environment():
    env = jinja2.sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[jinja2.ext.loopcontrols])

    def raise_exception(message):
        raise jinja2.exceptions.TemplateError(message)

    def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
        return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)

    env.filters["tojson"] = tojson
    env.globals["raise_exception"] = raise_exception
    return env


def templates():
    case = None
    for line in CASES.strip("\n").split("\n"):
        starts_more = line.startswith(("  {% ", "c", "    b", "break"))  # templates of several lines
        if case is not None and starts_more:
            case += "\n" + line
            continue
        if case is not None:
            yield case
        case = line
    yield case


def main():
    rows = []
    for template in templates():
        if "{{" not in template or "\\n{" in template or "\\n" in template.split("{", 1)[0] or template.endswith("\\n") \
                or "\\u3000{" in template or "\\t{" in template or "}\\n" in template:
            template = template.replace("\\n", "\n").replace("\\t", "\t").replace("\\u3000", "\u3000")
        row = {"template": template.removeprefix("!")}
        if template.startswith("!"):
            rows.append(row | {"refused": True})
            continue
        try:
            row["text"] = environment().from_string(template).render(**VARIABLES)
        except Exception as error:  # whatever Python raises, a request would get
            row["error"] = type(error).__name__
        rows.append(row)
    print(json.dumps({"made_by": f"make_jinja_cases.py, Jinja2 {jinja2.__version__}, Python "
                      + sys.version.split()[0], "variables": VARIABLES}, ensure_ascii=False)[:-1] + ', "cases": [')
    print(",\n".join(json.dumps(row, ensure_ascii=False) for row in rows))
    print("]}")


main()

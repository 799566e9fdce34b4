#include "tokenizer/chat_template.h"

#include <gtest/gtest.h>

#include "base/json.h"

namespace sparrow {
namespace {

std::string render(std::string_view source, const char* variables = "{}",
                   const ChatTemplateLimits& limits = {}) {
  const auto parsed = ChatTemplate::parse(source, limits);
  if (!parsed.ok()) return "PARSE " + parsed.message();
  const auto json = parse_json(variables, "variables");
  EXPECT_TRUE(json.ok()) << json.message();
  const auto text = (*parsed)->render(json->as_object());
  return text.ok() ? *text : "RENDER " + text.message();
}

TEST(ChatTemplate, Output_PrintsAsPythonDoes) {
  EXPECT_EQ(render("{{ 1 + 2 }} {{ 7 // 2 }} {{ -7 % 3 }} {{ 1 / 2 }} {{ 2 ** 3 }}"),
            "3 3 2 0.5 8");
  EXPECT_EQ(render("{{ true }} {{ none }} {{ [1, 'a', none] }} {{ {'k': 1.0} }}"),
            "True None [1, 'a', None] {'k': 1.0}");
  EXPECT_EQ(render("{{ missing }}|{{ 'a' ~ 1 }}|{{ 'ab' * 2 }}"), "|a1|abab");
  EXPECT_EQ(render("{{ 'x' if 0 else 'y' }}{{ 'z' if 0 }}"), "y");
}

TEST(ChatTemplate, WhiteSpace_FollowsTrimAndLstripBlocks) {
  EXPECT_EQ(render("a\n  {% if true %}\nb\n  {% endif %}\nc"), "a\nb\nc");
  EXPECT_EQ(render("a\n{%- if true -%}\n  b\n{%- endif %}\nc"), "abc");
  EXPECT_EQ(render("a {% if true %} b {% endif %} c"), "a  b  c");
  EXPECT_EQ(render("  {{ 1 }}\n{# note #}\n  {#- x -#}  y\n"), "  1\ny");
  EXPECT_EQ(render("  {%+ if true +%}\nx{% endif %}"), "  \nx");
  EXPECT_EQ(render("{% raw %}{{ x }}{% endraw %}"), "{{ x }}");
  EXPECT_EQ(render("a{% generation %}\nb{% endgeneration %}\nc"), "abc");
}

TEST(ChatTemplate, Loops_HaveLoopVariablesAndOwnScope) {
  EXPECT_EQ(
      render("{% for x in [1,2,3] %}{{ loop.index }}{{ loop.first }}{{ loop.last }} {% endfor %}"),
      "1TrueFalse 2FalseFalse 3FalseTrue ");
  EXPECT_EQ(render("{% for k, v in {'a': 1, 'b': 2}.items() %}{{ k }}{{ v }}{% endfor %}"), "a1b2");
  EXPECT_EQ(render("{% for x in range(5) if x % 2 == 0 %}{{ x }}{% else %}none{% endfor %}"),
            "024");
  EXPECT_EQ(render("{% for x in [] %}{% else %}none{% endfor %}"), "none");
  EXPECT_EQ(render("{% for x in [1,2,3,4] %}{% if x == 2 %}{% continue %}{% endif %}{% if x == 4 "
                   "%}{% break %}{% endif %}{{ x }}{% endfor %}"),
            "13");
  EXPECT_EQ(render("{% set x = 1 %}{% for i in [1] %}{% set x = 2 %}{% endfor %}{{ x }}"), "1");
  EXPECT_EQ(
      render(
          "{% set n = namespace(x=1) %}{% for i in [1] %}{% set n.x = 2 %}{% endfor %}{{ n.x }}"),
      "2");
}

TEST(ChatTemplate, FiltersTestsAndMethods_DoWhatJinjaDoes) {
  EXPECT_EQ(render("{{ {'a': [1, 'é', true, none, 0.5]} | tojson }}"),
            R"({"a": [1, "é", true, null, 0.5]})");
  EXPECT_EQ(render("{{ [{'a': 1}] | tojson(indent=2) }}"), "[\n  {\n    \"a\": 1\n  }\n]");
  EXPECT_EQ(
      render("{{ ' x ' | trim }}{{ [1,2] | length }}{{ '汉字' | length }}{{ x | default('d') }}"),
      "x22d");
  EXPECT_EQ(
      render("{{ items | map(attribute='n') | join(',') }}", R"({"items": [{"n": 1}, {"n": 2}]})"),
      "1,2");
  EXPECT_EQ(render("{{ items | selectattr('k', 'equalto', 1) | list | length }}",
                   R"({"items": [{"k": 1}, {"k": 2}]})"),
            "1");
  EXPECT_EQ(render("{{ 'a</t>b</t>c'.split('</t>')[-1] }}{{ ' a b '.split() }}"), "c['a', 'b']");
  EXPECT_EQ(render("{{ 'abc'[1:] }}{{ 'abc'[::-1] }}{{ [1,2,3][:-1] }}{{ 'Ab'.upper() }}"),
            "bccba[1, 2]AB");
  EXPECT_EQ(render("{{ 'a' in 'cat' }}{{ 'k' in {'k': 1} }}{{ 3 not in [1] }}"), "TrueTrueTrue");
  EXPECT_EQ(render("{{ x is defined }}{{ 1 is odd }}{{ none is none }}{{ 'a' is string }}{{ x is "
                   "not defined }}"),
            "FalseTrueTrueTrueTrue");
  EXPECT_EQ(render("{{ {'a': 1}.get('b', 2) }}{{ 'x'.startswith(('y', 'x')) }}"), "2True");
}

TEST(ChatTemplate, Macros_TakeDefaultsAndSeeTheTop) {
  EXPECT_EQ(render("{% set g = 'G' %}{% macro m(a, b='B') %}{{ a }}{{ b }}{{ g }}{% endmacro %}{{ "
                   "m('A') }}{{ m('x', b='y') }}"),
            "ABGxyG");
}

TEST(ChatTemplate, UnknownSyntax_IsRefusedAtParseTime) {
  for (const char* bad : {"{% include 'x' %}",
                          "{{ x | nonsense }}",
                          "{{ x is strange }}",
                          "{{ open('f') }}",
                          "{{ x.__class__() }}",
                          "{{ 1 +",
                          "{% if x %}",
                          "{{ x }",
                          "{% for x in y recursive %}{% endfor %}",
                          "{{ (x) (1) }}",
                          "{% endif %}",
                          "{{ 'open }}",
                          "{{ 99999999999999999999 }}",
                          "{% break %}",
                          "{{ x[1:2:3:4] }}",
                          "{% set a, b %}",
                          "{{ x | tojson(2, colour=1) }}",
                          "{{ x | replace('a') }}",
                          "{{ x.split(1, 2, 3) }}",
                          "{{ x is divisibleby }}",
                          "{{ range() }}",
                          "{{ x | map('nonsense') }}",
                          "{{ x | selectattr('a', 'nonsense') }}",
                          "{{ x | select('odd', 1) }}",
                          "{{ 1 < 2 < 3 }}",
                          "{{ '%s' % x }}",
                          "{% set a, b.c = 1, 2 %}",
                          "{% set true = 1 %}",
                          "{% for loop in x %}{% endfor %}",
                          "{{ x | map(other=1) }}",
                          "{{ x.y.__z }}"}) {
    EXPECT_EQ(render(bad).substr(0, 6), "PARSE ") << bad << " -> " << render(bad);
  }
  EXPECT_NE(render("\n\n{{ x | nonsense }}").find("line 3: unknown filter 'nonsense'"),
            std::string::npos);
}

TEST(ChatTemplate, ArgumentsOfMacros_AreChecked) {
  const std::string macro = "{% macro m(a) %}{{ a }}{% endmacro %}";
  EXPECT_EQ(render(macro + "{{ m(1, 2) }}"),
            "RENDER chat template: the macro 'm' takes 1 arguments");
  EXPECT_EQ(render(macro + "{{ m(b=2) }}"),
            "RENDER chat template: the macro 'm' has no argument 'b'");
}

TEST(ChatTemplate, StrftimeNow_FormatsTheYear) {
  EXPECT_EQ(render("{{ strftime_now('%Y') | int > 2020 }}"), "True");
}

TEST(ChatTemplate, MissingKeyInText_IsAnError) {
  EXPECT_EQ(render("{{ 'a' + m['content'] }}", R"({"m": {}})"),
            "RENDER chat template: 'content' is undefined");
  EXPECT_EQ(render("{{ raise_exception('no system') }}"), "RENDER chat template: no system");
}

TEST(ChatTemplate, Bombs_EndInBoundedSteps) {
  // An eighth of the default, so that sanitizers get through.
  const ChatTemplateLimits limits{.max_steps = 1u << 17, .max_output_bytes = 2u << 20};
  const std::string doubled =
      "{% set n = namespace(x=['a']) %}{% for i in range(60) %}{% set n.x = [n.x, n.x] %}"
      "{% endfor %}";
  for (const std::string& bomb : std::vector<std::string>{
           "{% for i in range(1000000000) %}x{% endfor %}", "{{ 'a' * 1000000000 }}",
           "{{ [1] * 1000000000 }}", "{{ 'ab' * 9223372036854775807 }}",
           "{% for i in range(3000) %}{% for j in range(3000) %}{% endfor %}{% endfor %}",
           "{% set n = namespace(s='aaaaaaaaaaaaaaaa') %}{% for i in range(100) %}"
           "{% set n.s = n.s + n.s %}{% endfor %}",
           "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
           "{% macro m(n) %}{{ m(n + 1) }}{{ m(n + 1) }}{% endmacro %}{{ m(0) }}",
           "{{ range(0, 9223372036854775807) }}",
           "{{ range(-9223372036854775807, 9223372036854775807) }}",
           "{{ 9223372036854775807 + 1 }}", "{{ (0 - 9223372036854775807 - 1) // (0 - 1) }}",
           "{{ (0 - 9223372036854775807 - 1) | abs }}", "{{ 10 ** 100 }}", "{{ 1 // 0 }}",
           "{{ 1 % 0 }}", "{{ 0 ** -1 }}",
           // Values that share their parts are exponential to print, compare, sort or search.
           doubled + "{{ n.x }}", doubled + "{{ n.x | tojson }}", doubled + "{{ n.x == n.x }}",
           doubled + "{{ [n.x, n.x] | sort }}", doubled + "{{ n.x in [n.x] }}",
           doubled + "{{ n.x | string | length }}", doubled + "{{ [n.x, n.x] | unique }}",
           // Values inside each other would end the stack, when printed or when thrown away.
           "{% set n = namespace(x=[]) %}{% for i in range(30000) %}{% set n.x = [n.x] %}"
           "{% endfor %}",
           "{% set n = namespace(x={}) %}{% for i in range(30000) %}{% set n.x = {'k': n.x} %}"
           "{% endfor %}",
           "{% set n = namespace(x=0) %}{% for i in range(30000) %}{% for j in [n.x] %}"
           "{% set n.x = loop %}{% endfor %}{% endfor %}",
           "{% set s = 'a' * 900000 %}{{ s.split('a') }}", "{{ ('a,' * 800000).split(',') }}",
           "{{ ('a' * 900000) | replace('a', 'bbbb') }}", "{{ ('a\n' * 90000) | indent(100) }}",
           "{{ ('a' * 900000) | list }}", "{{ ['a' * 1900000, 'b' * 1900000] | join }}",
           "{{ [1, 2] | tojson(indent=1000000000) }}"}) {
    const std::string result = render(bomb, "{}", limits);
    EXPECT_TRUE(result.starts_with("RENDER ")) << bomb << " -> " << result.substr(0, 99);
  }
}

TEST(ChatTemplate, NamespacesInACircle_AreFreed) {
  EXPECT_EQ(render("{% set n = namespace() %}{% set n.self = n %}{% set n.list = [n] %}"
                   "{% for i in [n] %}{% set n.loop = loop %}{% endfor %}ok"),
            "ok");  // the address sanitizer sees a leak
  EXPECT_EQ(render("{% set n = namespace(x=0) %}{% for i in range(9000) %}"
                   "{% set n.x = namespace(x=n.x) %}{% endfor %}ok"),
            "ok");
}

TEST(ChatTemplate, LongTexts_CostNoMoreThanTheirLength) {
  const std::string source =
      "{% set s = 'ab' * 4000000 %}{% for i in range(2000) %}{{ '' if s is string and s }}"
      "{% endfor %}{{ s.find('a' * 9000) }}{{ ('b' * 9000 + 'a') in s }}";
  EXPECT_EQ(render(source), "-1False");
  // Every line of a long text may be replaced or indented: the budget is for work, not for length.
  EXPECT_EQ(render("{{ ('x\n' * 300000) | replace('x', 'y') | indent(2) | length }}"),
            std::to_string(300000 * 2 + 299999 * 2));
}

TEST(ChatTemplate, Implementation_IsOutOfReach) {
  for (const char* probe :
       {"{{ ''.__class__ }}", "{{ x.__init__ }}", "{{ x['__class__'] }}", "{{ [].__len__() }}",
        "{{ [{}] | map(attribute='__class__') | list }}", "{{ x | attr('y') }}",
        "{{ self }}{{ self.x }}", "{{ cycler.__init__ }}", "{{ lipsum() }}", "{{ [1].append(2) }}",
        "{{ {}.update({}) }}", "{{ x.mro() }}", "{% import 'os' as os %}", "{% extends 'x' %}",
        "{% set x.y = 1 %}"}) {
    const std::string result = render(probe, R"({"x": {}})");
    EXPECT_TRUE(result.starts_with("PARSE ") || result.starts_with("RENDER ")) << probe << result;
  }
}

TEST(ChatTemplate, InvalidUtf8_IsRefused) { EXPECT_EQ(render("a\xff").substr(0, 6), "PARSE "); }

TEST(ChatTemplate, DeepSyntax_IsRefusedWithoutRecursionTrouble) {
  for (const size_t depth : {1000u, 100000u}) {
    EXPECT_EQ(render("{{ " + std::string(depth, '(') + "1" + std::string(depth, ')') + " }}")
                  .substr(0, 6),
              "PARSE ");
    EXPECT_EQ(render("{{ " + std::string(depth, '-') + "1 }}").substr(0, 6), "PARSE ");
    std::string sum = "{{ 1", blocks, elifs = "{% if a %}";
    for (size_t i = 0; i < depth; ++i) {
      sum += "+1";
      blocks += "{% if a %}";
      elifs += "{% elif a %}";
    }
    EXPECT_EQ(render(sum + " }}").substr(0, 6), "PARSE ");
    EXPECT_EQ(render(blocks).substr(0, 6), "PARSE ");
    EXPECT_EQ(render(elifs + "{% endif %}").substr(0, 6), "PARSE ");
  }
}

}  // namespace
}  // namespace sparrow

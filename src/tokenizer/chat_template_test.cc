#include "tokenizer/chat_template.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <fstream>
#include <map>
#include <sstream>

#include "base/file.h"
#include "base/json.h"

namespace sparrow {
namespace {

std::string render(std::string_view source, const char* variables = "{}") {
  const auto parsed = ChatTemplate::parse(source);
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
  for (const char* bad :
       {"{% include 'x' %}", "{{ x | nonsense }}", "{{ x is strange }}", "{{ open('f') }}",
        "{{ x.__class__() }}", "{{ 1 +", "{% if x %}", "{{ x }",
        "{% for x in y recursive %}{% endfor %}", "{{ (x) (1) }}", "{% endif %}", "{{ 'open }}",
        "{{ 99999999999999999999 }}", "{% break %}", "{{ x[1:2:3:4] }}", "{% set a, b %}"}) {
    EXPECT_EQ(render(bad).substr(0, 6), "PARSE ") << bad << " -> " << render(bad);
  }
  EXPECT_NE(render("\n\n{{ x | nonsense }}").find("line 3: unknown filter 'nonsense'"),
            std::string::npos);
}

TEST(ChatTemplate, MissingKeyInText_IsAnError) {
  EXPECT_EQ(render("{{ 'a' + m['content'] }}", R"({"m": {}})"),
            "RENDER chat template: 'content' is undefined");
  EXPECT_EQ(render("{{ raise_exception('no system') }}"), "RENDER chat template: no system");
}

TEST(ChatTemplate, Bombs_EndInBoundedSteps) {
  for (const char* bomb :
       {"{% for i in range(1000000000) %}x{% endfor %}", "{{ 'a' * 1000000000 }}",
        "{{ [1] * 1000000000 }}",
        "{% for i in range(3000) %}{% for j in range(3000) %}{% endfor %}{% endfor %}",
        "{% set n = namespace(s='aaaaaaaaaaaaaaaa') %}{% for i in range(100) %}{% set n.s = n.s + "
        "n.s %}{% endfor %}",
        "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "{{ range(0, 9223372036854775807) }}",
        "{{ 9223372036854775807 + 1 }}", "{{ (0 - 9223372036854775807 - 1) // (0 - 1) }}",
        "{{ 1 // 0 }}{{ 1 % 0 }}"}) {
    EXPECT_EQ(render(bomb).substr(0, 7), "RENDER ") << bomb;
  }
}

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

// The published renderings: Python's Jinja2 and a JavaScript implementation agree on all of them.
TEST(ChatTemplateGolden, EveryRendering_AgreesByteForByte) {
  const char* override_path = getenv("SPARROW_TEST_DATA");
  const std::string data = override_path != nullptr ? override_path : "../shared/data";
  const auto golden = read_file(data + "/tokenizer-vectors/golden_chat.jsonl", 64u << 20);
  if (!golden.ok()) GTEST_SKIP() << golden.message();
  const std::map<std::string, std::string> files = {
      {"deepseek-r1-distill-qwen", "deepseek-r1-distill-qwen-1.5b/chat_template.jinja"},
      {"qwen2.5-instruct", "tokenizer-vectors/templates/Qwen-Qwen2.5-7B-Instruct.jinja"},
      {"llama-cpp-deepseek-r1", "tokenizer-vectors/templates/llama-cpp-deepseek-r1.jinja"}};
  int compared = 0;
  std::istringstream lines(*golden);
  for (std::string line; std::getline(lines, line, '\n');) {
    const auto row = parse_json(line, "row");
    if (!row.ok()) continue;  // half of a row that holds a raw line separator
    const auto& object = row->as_object();
    const auto source =
        read_file(data + "/" + files.at(std::string(object.at("template").as_string())), 1u << 20);
    ASSERT_TRUE(source.ok()) << source.message();
    const auto parsed = ChatTemplate::parse(*source);
    ASSERT_TRUE(parsed.ok()) << parsed.message();
    boost::json::object variables;
    for (const char* name :
         {"messages", "tools", "add_generation_prompt", "bos_token", "eos_token"})
      variables[name] = object.at(name);
    const auto text = (*parsed)->render(variables);
    ASSERT_TRUE(text.ok()) << text.message() << " in " << line;
    EXPECT_EQ(*text, std::string(object.at("text").as_string()))
        << std::string(object.at("template").as_string()) << " "
        << std::string(object.at("case").as_string());
    ++compared;
  }
  EXPECT_EQ(compared, 72);
}

}  // namespace
}  // namespace sparrow

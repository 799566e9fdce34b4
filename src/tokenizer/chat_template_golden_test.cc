// The interpreter against Python's Jinja2: published renderings of whole conversations, and small
// cases of the language made by tests/golden/make_jinja_cases.py.

#include <gtest/gtest.h>
#include <stdlib.h>

#include <map>
#include <sstream>

#include "base/file.h"
#include "base/json.h"
#include "base/random.h"
#include "tokenizer/chat_template.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace sparrow {
namespace {

std::string text_at(const boost::json::object& object, const char* key) {
  return std::string(object.at(key).as_string());
}

Result<boost::json::value> read_cases() { return parse_json_file("tests/golden/jinja_cases.json"); }

// What Python renders we render alike; what it refuses, and what we cannot do, is an error.
TEST(ChatTemplateGolden, EveryCaseOfTheLanguage_IsAsInPython) {
  const auto file = read_cases();
  ASSERT_TRUE(file.ok()) << file.message();
  const auto& variables = file->at("variables").as_object();
  int compared = 0;
  for (const auto& row : file->at("cases").as_array()) {
    const auto& one = row.as_object();
    const std::string source = text_at(one, "template");
    const auto parsed = ChatTemplate::parse(source);
    if (!one.contains("text")) {
      EXPECT_FALSE(parsed.ok() && (*parsed)->render(variables).ok()) << source;
      continue;
    }
    ASSERT_TRUE(parsed.ok()) << source << "\n" << parsed.message();
    const auto text = (*parsed)->render(variables);
    ASSERT_TRUE(text.ok()) << source << "\n" << text.message();
    EXPECT_EQ(*text, text_at(one, "text")) << source;
    ++compared;
  }
  EXPECT_GT(compared, 90);
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

// The fuzz entry on mutated templates: it CHECKs its own properties.
TEST(ChatTemplateFuzz, MutatedTemplates_DoNotCrash) {
  const auto file = read_cases();
  ASSERT_TRUE(file.ok()) << file.message();
  const auto& cases = file->at("cases").as_array();
  constexpr int kNumRounds = 6000;
  for (int round = 0; round < kNumRounds; ++round) {
    uint64_t counter = 0;
    const auto draw = [&](uint64_t bound) {
      return random_bits(11, static_cast<uint64_t>(round), counter++) % bound;
    };
    std::string input = text_at(cases[draw(cases.size())].as_object(), "template");
    const std::string other = text_at(cases[draw(cases.size())].as_object(), "template");
    const size_t num_edits = 1 + draw(4);
    for (size_t edit = 0; edit < num_edits; ++edit) {
      const size_t at = draw(input.size());
      switch (draw(5)) {
        case 0:
          input[at] = static_cast<char>(draw(256));
          break;
        case 1:
          input.erase(at, 1 + draw(8));
          break;
        case 2:
          input.insert(at, other.substr(draw(other.size()), draw(40)));
          break;
        case 3: {
          static constexpr std::string_view kPieces[] = {
              "{{",    "}}",   "{%", "%}", "-",     "(",    ")",    "[",      "]",
              "|",     ".",    ",",  "'",  " for ", " in ", " if ", " else ", " is ",
              " not ", " or ", "*",  "**", "//",    "{#",   "#}",   "~",      ":"};
          input.insert(at, kPieces[draw(std::size(kPieces))]);
          break;
        }
        default:
          input.insert(at, std::to_string(draw(1u << 31) << draw(33)));
      }
      if (input.empty()) input = "{{";
    }
    ASSERT_EQ(LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t*>(input.data()), input.size()),
              0);
  }
}

}  // namespace
}  // namespace sparrow

// The JSONTestSuite of Nicolas Seriot (MIT licence) against our parser, with the limits of a
// request body: what must be read (y_), what must be refused (n_), and, one by one, what a parser
// may decide (i_).

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/json.h"
#include "tests/support/test_data.h"

namespace sparrow {
namespace {

namespace fs = std::filesystem;

constexpr JsonLimits kLimits{.max_depth = 128, .max_keys = 65'536};

// By file: read, or refused, and why.
struct Choice {
  bool is_read;
  const char* reason;
};
const std::map<std::string, Choice> kChoices = {
    {"i_number_double_huge_neg_exp.json", {true, "rounds to zero"}},
    {"i_number_huge_exp.json", {false, "the exponent fits no integer"}},
    {"i_number_neg_int_huge_exp.json", {false, "no finite double"}},
    {"i_number_pos_double_huge_exp.json", {false, "no finite double"}},
    {"i_number_real_neg_overflow.json", {false, "no finite double"}},
    {"i_number_real_pos_overflow.json", {false, "no finite double"}},
    {"i_number_real_underflow.json", {true, "rounds to zero"}},
    {"i_number_too_big_neg_int.json", {true, "becomes a double"}},
    {"i_number_too_big_pos_int.json", {true, "becomes a double"}},
    {"i_number_very_big_negative_int.json", {true, "becomes a double"}},
    {"i_object_key_lone_2nd_surrogate.json", {false, "no character"}},
    {"i_string_1st_surrogate_but_2nd_missing.json", {false, "no character"}},
    {"i_string_1st_valid_surrogate_2nd_invalid.json", {false, "no character"}},
    {"i_string_UTF-16LE_with_BOM.json", {false, "JSON is UTF-8"}},
    {"i_string_UTF-8_invalid_sequence.json", {false, "no UTF-8"}},
    {"i_string_UTF8_surrogate_U+D800.json", {false, "no UTF-8"}},
    {"i_string_incomplete_surrogate_and_escape_valid.json", {false, "no character"}},
    {"i_string_incomplete_surrogate_pair.json", {false, "no character"}},
    {"i_string_incomplete_surrogates_escape_valid.json", {false, "no character"}},
    {"i_string_invalid_lonely_surrogate.json", {false, "no character"}},
    {"i_string_invalid_surrogate.json", {false, "no character"}},
    {"i_string_invalid_utf-8.json", {false, "no UTF-8"}},
    {"i_string_inverted_surrogates_U+1D11E.json", {false, "no character"}},
    {"i_string_iso_latin_1.json", {false, "no UTF-8"}},
    {"i_string_lone_second_surrogate.json", {false, "no character"}},
    {"i_string_lone_utf8_continuation_byte.json", {false, "no UTF-8"}},
    {"i_string_not_in_unicode_range.json", {false, "no UTF-8"}},
    {"i_string_overlong_sequence_2_bytes.json", {false, "no UTF-8"}},
    {"i_string_overlong_sequence_6_bytes.json", {false, "no UTF-8"}},
    {"i_string_overlong_sequence_6_bytes_null.json", {false, "no UTF-8"}},
    {"i_string_truncated-utf-8.json", {false, "no UTF-8"}},
    {"i_string_utf16BE_no_BOM.json", {false, "JSON is UTF-8"}},
    {"i_string_utf16LE_no_BOM.json", {false, "JSON is UTF-8"}},
    {"i_structure_500_nested_arrays.json", {false, "deeper than the limit"}},
    {"i_structure_UTF-8_BOM_empty_object.json", {false, "no byte order mark is wanted"}},
};

TEST(JsonSuite, EveryFile_ReadOrRefusedAsItsNameSays) {
  const std::string folder = test_data_path("structured/jsontestsuite/test_parsing");
  if (!fs::is_directory(folder)) GTEST_SKIP() << folder << " is not there";
  std::map<char, int> num_files;
  for (const auto& entry : fs::directory_iterator(folder)) {
    const std::string name = entry.path().filename();
    const auto text = read_file(entry.path(), 1u << 20);
    ASSERT_TRUE(text.ok()) << text.message();
    bool wanted = name.front() == 'y';
    if (name.front() == 'i') {
      const auto choice = kChoices.find(name);
      ASSERT_NE(choice, kChoices.end()) << name << " is not documented";
      wanted = choice->second.is_read;
    }
    const auto parsed = parse_json(*text, name, kLimits);
    EXPECT_EQ(parsed.ok(), wanted) << name << ": " << (parsed.ok() ? "was read" : parsed.message());
    ++num_files[name.front()];
  }
  EXPECT_EQ(num_files['y'], 95);
  EXPECT_EQ(num_files['n'], 188);
  EXPECT_EQ(num_files['i'], static_cast<int>(kChoices.size()));
}

// The suite reads an object with one key twice; the request layer does not.
TEST(JsonSuite, SameKeyTwice_RefusedWhereAsked) {
  for (const char* text : {R"({"a":1,"a":2})", R"({"a":1,"\u0061":1})", R"([{"b":{"a":1,"a":1}}])",
                           R"({"":0,"":0})"}) {
    EXPECT_TRUE(parse_json(text, "body").ok()) << text;
    EXPECT_FALSE(parse_json(text, "body", {.unique_keys = true}).ok()) << text;
  }
  for (const char* text : {R"({"a":1,"b":2})", R"([{"a":1},{"a":1}])", R"({"a":{"a":1}})",
                           R"({"a":"b:c","d:\"":":"})", "[]", "7", R"("a:b")"}) {
    EXPECT_TRUE(parse_json(text, "body", {.unique_keys = true}).ok()) << text;
  }
}

TEST(JsonSuite, KeysAndNumbers_AtTheLimitReadOneOverRefused) {
  const JsonLimits limits{.max_keys = 3, .max_number_bytes = 5};
  EXPECT_TRUE(parse_json(R"({"a":{"b":1},"c":12345})", "body", limits).ok());
  EXPECT_FALSE(parse_json(R"({"a":{"b":1},"c":{"d":1}})", "body", limits).ok());
  for (const char* good : {"-1.25", "1e+10", "[12345,12345]", "\"1234567890\""}) {
    EXPECT_TRUE(parse_json(good, "body", limits).ok()) << good;
  }
  for (const char* bad :
       {"123456", "-1.255", "1e+100", "[0,1.2345]", "0.00000000000000000000000"}) {
    EXPECT_FALSE(parse_json(bad, "body", limits).ok()) << bad;
  }
}

}  // namespace
}  // namespace sparrow

#include "base/json.h"

#include <gtest/gtest.h>
#include <boost/json/serialize.hpp>

#include <cmath>

namespace sparrow {
namespace {

std::string json_string(std::string_view text) {
  std::string out;
  append_json_string(out, text);
  return out;
}

std::string number(double value) {
  std::string out;
  append_json_number(out, value);
  return out;
}

TEST(Json, DepthLimit_IsReachedAndNamed) {
  const auto nested = [](size_t depth) {
    return std::string(depth, '[') + std::string(depth, ']');
  };
  EXPECT_TRUE(parse_json(nested(128), "body").ok());
  const auto deep = parse_json(nested(100000), "body");
  ASSERT_FALSE(deep.ok());
  EXPECT_EQ(deep.status().code(), StatusCode::kInvalidArgument);
  EXPECT_NE(deep.message().find("body"), std::string::npos);
}

TEST(Json, SizeLimit_IsReachedBeforeParsing) {
  EXPECT_FALSE(parse_json("[1,2,3]", "body", {.max_bytes = 6}).ok());
  EXPECT_TRUE(parse_json("[1,2,3]", "body", {.max_bytes = 7}).ok());
}

TEST(Json, BrokenText_IsRefused) {
  for (const char* bad :
       {"", " ", "{", "{\"a\":}", "[1,]", "nul", "1 2", "{} x", "\"\xFF\"", "\"\\ud800\"", "[1}"}) {
    EXPECT_FALSE(parse_json(bad, "body").ok()) << bad;
  }
  EXPECT_TRUE(parse_json(" {\"a\": 1} \n", "body").ok());
}

TEST(Json, Strings_SurviveARoundTrip) {
  for (const char* text :
       {"plain", "汉字 🐦", "quote\" back\\ tab\t nl\n \x01 \x7F", "\xE2\x80\xA8"}) {
    const auto value = parse_json(json_string(text), "string");
    ASSERT_TRUE(value.ok()) << value.message();
    EXPECT_EQ(std::string(value->as_string()), text);
  }
  EXPECT_EQ(json_string("a\xFF"), "\"a\xEF\xBF\xBD\"");
}

TEST(Json, Numbers_AreShortAndFinite) {
  EXPECT_EQ(number(0.6), "0.6");
  EXPECT_EQ(number(1.0), "1");
  EXPECT_EQ(number(NAN), "null");
  EXPECT_EQ(number(-INFINITY), "null");
}

}  // namespace
}  // namespace sparrow

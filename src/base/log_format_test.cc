#include "base/log_format.h"

#include <gtest/gtest.h>

#include "base/json.h"

namespace sparrow {
namespace {

std::string text_of(std::string_view message, const LogFields& fields = {}) {
  std::string out;
  append_log_text(out, message, fields);
  return out;
}

std::string json_of(std::string_view message, const LogFields& fields = {}) {
  std::string out = "{";
  append_log_json(out, message, fields);
  return out + "}";
}

TEST(LogFormat, Fields_StandBehindTheMessage) {
  const LogFields fields = {{"status", int64_t{200}}, {"total_ms", 12.34}, {"tenant", "alice"}};
  EXPECT_EQ(text_of("done", fields), "done status=200 total_ms=12.3 tenant=alice");
  EXPECT_EQ(json_of("done", fields),
            R"({"message":"done","status":200,"total_ms":12.34,"tenant":"alice"})");
}

TEST(LogFormat, ClientStrings_CannotBreakALine) {
  const std::string hostile = "a\nI 00:00:00 fake\r\x1b[31m\"\\ \xC2\x9B\xE2\x80\xA8\xFFz\x7f";
  for (const std::string& line : {text_of(hostile), text_of("m", {{"x", hostile}})}) {
    for (const char c : line) {
      EXPECT_TRUE(static_cast<unsigned char>(c) >= 0x20 && c != 0x7f) << line;
    }
    EXPECT_EQ(line.find('\n'), std::string::npos);
    EXPECT_EQ(line.find("\xC2\x9B"), std::string::npos) << "a terminal obeys it";
    EXPECT_EQ(line.find("\xE2\x80\xA8"), std::string::npos);
    EXPECT_EQ(line.find('\xFF'), std::string::npos);
  }
  EXPECT_EQ(text_of("m", {{"x", std::string("a b\"\\")}}), R"(m x="a b\"\\")");
  EXPECT_EQ(text_of("m", {{"x", std::string("a=b")}}), R"(m x="a=b")") << "no second field";
  EXPECT_EQ(text_of("m", {{"x", std::string()}}), R"(m x="")");
  EXPECT_EQ(text_of("100 % größer"), "100 % größer");
  const std::string json = json_of(hostile, {{"x", hostile}});
  EXPECT_EQ(json.find('\n'), std::string::npos);
  EXPECT_TRUE(parse_json(json, "line").ok()) << json;
}

TEST(LogFormat, LongStrings_AreCutBetweenCharacters) {
  std::string longer;
  while (longer.size() <= 2 * kMaxLogStringBytes) longer += "ä";
  for (const std::string& line : {text_of(longer), text_of("m", {{"x", longer}}), json_of(longer),
                                  json_of("m", {{"x", longer}})}) {
    EXPECT_LT(line.size(), kMaxLogStringBytes + 64);
    EXPECT_NE(line.find("bytes more)"), std::string::npos);
    EXPECT_EQ(line.find("\\x"), std::string::npos) << "no half character";
  }
}

}  // namespace
}  // namespace sparrow

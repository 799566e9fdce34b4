#include "base/utf8.h"

#include <gtest/gtest.h>

namespace sparrow {
namespace {

std::string cleaned(std::string_view bytes) {
  std::string out;
  append_valid_utf8(out, bytes);
  return out;
}

TEST(Utf8, ValidSequences_HaveTheirLength) {
  EXPECT_EQ(utf8_sequence_len("a"), 1u);
  EXPECT_EQ(utf8_sequence_len("é"), 2u);
  EXPECT_EQ(utf8_sequence_len("汉"), 3u);
  EXPECT_EQ(utf8_sequence_len("🐦"), 4u);
}

TEST(Utf8, InvalidSequences_AreRefused) {
  for (const char* bad : {"\x80", "\xC0\xAF", "\xE0\x80\xAF", "\xED\xA0\x80", "\xF4\x90\x80\x80",
                          "\xF5\x80\x80\x80", "\xE6\xB1"}) {
    EXPECT_EQ(utf8_sequence_len(bad), 0u) << bad;
    EXPECT_FALSE(is_valid_utf8(bad));
  }
  EXPECT_TRUE(is_valid_utf8("麻雀 sparrow"));
}

TEST(Utf8, CutCharacter_IsAnIncompleteSuffixAtEveryByte) {
  const std::string text = "a🐦";
  EXPECT_EQ(utf8_incomplete_suffix_len(text), 0u);
  for (size_t cut = 1; cut <= 3; ++cut) {
    EXPECT_EQ(utf8_incomplete_suffix_len(text.substr(0, 1 + cut)), cut);
  }
  EXPECT_EQ(utf8_incomplete_suffix_len("\x80\x80"), 0u);
  EXPECT_EQ(utf8_incomplete_suffix_len("\xED\xA0"), 0u) << "a surrogate can never be completed";
}

TEST(Utf8, InvalidBytes_BecomeOneReplacementPerMaximalPart) {
  EXPECT_EQ(cleaned("a\xFF"
                    "b"),
            "a\xEF\xBF\xBD"
            "b");
  EXPECT_EQ(cleaned("\xF0\x9F\x90"), "\xEF\xBF\xBD");
  EXPECT_EQ(cleaned("\xE0\x80\x80"), "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD");
}

}  // namespace
}  // namespace sparrow

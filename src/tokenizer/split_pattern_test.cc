#include "tokenizer/split_pattern.h"

#include <gtest/gtest.h>

#include "base/random.h"
#include "tokenizer/nfc.h"
#include "tokenizer/tokenizer_test_util.h"

namespace sparrow {
namespace {

using Words = std::vector<std::string>;

struct Split {
  Words words;
  bool gave_up;
};

Split split(std::string_view pattern, std::string_view text, SplitPatternOptions options = {}) {
  auto compiled = SplitPattern::compile(pattern, options);
  if (!compiled.ok()) {
    ADD_FAILURE() << compiled.message();
    return {};
  }
  SplitPattern::Splitter splitter(*compiled);
  splitter.start(text);
  Split result{};
  while (true) {
    const std::string_view word = splitter.next_word();
    if (word.empty()) break;
    result.words.emplace_back(word);
  }
  result.gave_up = splitter.gave_up();
  return result;
}

Words words(std::string_view pattern, std::string_view text, SplitPatternOptions options = {}) {
  return split(pattern, text, options).words;
}

TEST(SplitPattern, QwenPattern_OrdinaryText_IsCutAsTheReferenceSays) {
  EXPECT_EQ(words(test::kQwenPattern, "I'm 23,  ok?\n\n x"),
            (Words{"I", "'m", " ", "2", "3", ",", " ", " ok", "?\n\n", " x"}));
  EXPECT_EQ(words(test::kQwenPattern, "a \n  \n b   "), (Words{"a", " \n  \n", " b", "   "}));
  EXPECT_EQ(words(test::kQwenPattern, "你好，世界"), (Words{"你好", "，世界"}));
}

TEST(SplitPattern, GapsBetweenMatches_AreWords) {
  EXPECT_EQ(words("b+", "aabbcébx"), (Words{"aa", "bb", "cé", "b", "x"}));
  EXPECT_EQ(words("b", ""), Words{});
  EXPECT_EQ(words("b", "aaa"), Words{"aaa"});
}

TEST(SplitPattern, EmptyMatches_CutButMakeNoWord) {
  EXPECT_EQ(words("(?=b)", "aabab"), (Words{"aa", "ba", "b"}));
  EXPECT_EQ(words("", "aé"), (Words{"a", "é"}));
}

TEST(SplitPattern, LookBehind_SeesTheTextBeforeTheWord) {
  EXPECT_EQ(words("(?<=a)b", "abbab"), (Words{"a", "b", "ba", "b"}));
}

TEST(SplitPattern, Compile_WrongPattern_NamesOffsetAndReason) {
  const auto bad = SplitPattern::compile("a(b");
  ASSERT_FALSE(bad.ok());
  EXPECT_NE(bad.message().find("does not compile at byte 3: missing closing parenthesis"),
            std::string::npos)
      << bad.message();
  EXPECT_FALSE(SplitPattern::compile(std::string(SplitPattern::kMaxPatternBytes + 1, 'a')).ok());
  EXPECT_FALSE(SplitPattern::compile(std::string(200, '(') + std::string(200, ')')).ok());
  EXPECT_FALSE(SplitPattern::compile("((a{1,900}){1,900}){1,900}").ok());
  EXPECT_FALSE(SplitPattern::compile("\\C").ok());  // half a character
}

// Windows, the interpreter and one big match give the same words, wherever a border falls.
TEST(SplitPattern, SmallWindowsAndInterpreter_RandomText_GiveTheSameWords) {
  const std::vector<std::string> parts{"a",  "Word", " ",  "  ",     "\n",     "\r\n", "1",
                                       "'s", "'",    "，", "你好",   "é",      "😀",    "\t",
                                       "!?", "'LL",  "ſ",  "\u3000", "e\u0301"};
  for (uint64_t seed = 0; seed < 200; ++seed) {
    std::string text;
    const size_t num_parts = random_bits(seed, 1, 0) % 120;
    for (size_t i = 0; i < num_parts; ++i) {
      const std::string& part = parts[random_bits(seed, 2, i) % parts.size()];
      const size_t num_repeats = random_bits(seed, 3, i) % 8 == 0 ? 40 : 1;
      for (size_t repeat = 0; repeat < num_repeats; ++repeat) text += part;
    }
    const Split whole = split(test::kQwenPattern, text, {.first_window_bytes = 1u << 20});
    const Split windows = split(test::kQwenPattern, text, {.first_window_bytes = 8});
    const Split interpreted =
        split(test::kQwenPattern, text, {.use_jit = false, .first_window_bytes = 64});
    ASSERT_EQ(windows.words, whole.words) << "seed " << seed;
    ASSERT_EQ(interpreted.words, whole.words) << "seed " << seed;
    std::string joined;
    for (const std::string& word : whole.words) joined += word;
    ASSERT_EQ(joined, text);
    ASSERT_FALSE(whole.gave_up || windows.gave_up || interpreted.gave_up) << "seed " << seed;
  }
}

TEST(SplitPattern, QwenPattern_LongRuns_StayWithinTheBudget) {
  for (const bool use_jit : {true, false}) {
    for (const char* unit : {"a", " ", "\n", " \n", "!", "\u3000", "😀", "a ", "     x", "1"}) {
      std::string text;
      while (text.size() < 1u << 17) text += unit;
      text += "x";
      EXPECT_FALSE(split(test::kQwenPattern, text, {.use_jit = use_jit}).gave_up) << unit;
    }
  }
}

// Exponential and polynomial patterns end; all the text is still there.
TEST(SplitPattern, HostilePatterns_LongText_EndAndKeepTheText) {
  for (const bool use_jit : {true, false}) {
    for (const char* pattern : {"(a+)+b", "(a|aa)+$b", "(a*)*b", "(?:a?){60}a{60}b", "a*a*a*a*b",
                                "(?=(a+)+b)", "((a)|(aa)|(aaa))*b", "(?R)?a(?R)?b"}) {
      const std::string text(2000, 'a');
      const Split result = split(pattern, text, {.use_jit = use_jit});
      std::string joined;
      for (const std::string& word : result.words) joined += word;
      EXPECT_EQ(joined, text) << pattern;
    }
  }
}

TEST(SplitPattern, ExponentialPattern_LongText_GivesUpWithOneWord) {
  const Split result = split("(a+)+b", std::string(20000, 'a'));
  EXPECT_TRUE(result.gave_up);
  EXPECT_EQ(result.words.size(), 1u);
}

std::string nfc(std::string_view text) {
  std::string buffer;
  return std::string(to_nfc(text, buffer));
}

TEST(Nfc, NormalizedText_IsNotCopied) {
  for (const char* text : {"", "plain", "é中文。😀", "각", "Tiếng Việt", "Ω"}) {
    std::string buffer;
    EXPECT_EQ(to_nfc(text, buffer).data(), text);
  }
}

TEST(Nfc, KnownCases_AreComposed) {
  EXPECT_EQ(nfc("e\u0301"), "é");
  EXPECT_EQ(nfc("xe\u0301y"), "xéy");
  EXPECT_EQ(nfc("\u212B"), "Å");               // singleton
  EXPECT_EQ(nfc("\u1112\u1161\u11AB"), "한");  // Hangul by arithmetic
  EXPECT_EQ(nfc("\uD558\u11AB"), "한");        // LV and a trailing consonant
  EXPECT_EQ(nfc("a\u0323\u0302"), "ậ");
  EXPECT_EQ(nfc("a\u0302\u0323"), "ậ");      // marks reordered first
  EXPECT_EQ(nfc("\u0958"), "\u0915\u093C");  // composition exclusion
  EXPECT_EQ(nfc("\u0301e"), "\u0301e");      // a mark with nothing before it
  EXPECT_EQ(nfc("a\u0315\u0300\u05AE\u0300b"), "\u00E0\u05AE\u0300\u0315b");  // UAX 15 test file
}

TEST(Nfc, AlternatingMarks_LongRun_IsSorted) {
  // Quadratic when reordered by neighbour swaps: 10^10 steps.
  constexpr size_t kNumMarks = 100000;
  std::string text = "q";
  std::string expected = "q";
  for (size_t i = 0; i < kNumMarks; ++i) text += "\u0301";
  for (size_t i = 0; i < kNumMarks; ++i) text += "\u0327";
  for (size_t i = 0; i < kNumMarks; ++i) expected += "\u0327";
  for (size_t i = 0; i < kNumMarks; ++i) expected += "\u0301";
  EXPECT_EQ(nfc(text), expected);
}

}  // namespace
}  // namespace sparrow

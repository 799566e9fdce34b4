#include "scheduler/prompt_lookup.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string_view>

#include "base/random.h"

namespace sparrow {
namespace {

std::vector<TokenId> tokens_of(std::string_view text) { return {text.begin(), text.end()}; }

std::string guess(PromptLookup& lookup, std::string_view text, int count) {
  std::vector<TokenId> drafts;
  lookup.propose(tokens_of(text), count, drafts);
  return {drafts.begin(), drafts.end()};
}

TEST(PromptLookup, Repeat_IsContinuedAsItWentOnBefore) {
  PromptLookup lookup(2, 4);
  EXPECT_EQ(guess(lookup, "the cat sat. the c", 4), "at s");
}

TEST(PromptLookup, NothingRepeats_NoGuess) {
  PromptLookup lookup(2, 4);
  EXPECT_EQ(guess(lookup, "", 4), "");
  EXPECT_EQ(guess(lookup, "a", 4), "");
  EXPECT_EQ(guess(lookup, "abcdefgh", 4), "");
  EXPECT_EQ(guess(lookup, "abcdefga", 4), "") << "one token is shorter than min_ngram";
}

TEST(PromptLookup, LongerMatch_GoesBeforeALaterShorterOne) {
  PromptLookup lookup(2, 4);
  EXPECT_EQ(guess(lookup, "wxyzA xyzB yzC wxyz", 1), "A");
}

TEST(PromptLookup, SameLength_TheLatestCounts) {
  PromptLookup lookup(2, 4);
  EXPECT_EQ(guess(lookup, "..abcd1..abcd2..abcd", 1), "2");
}

TEST(PromptLookup, MatchAtTheEnd_GoesOnWithItsOwnGuesses) {
  PromptLookup lookup(2, 4);
  EXPECT_EQ(guess(lookup, "xyzabab", 5), "ababa");
}

TEST(PromptLookup, LoopOfMoreThanEightRepeats_IsNotFed) {
  for (const int period : {1, 2, 7, 60}) {
    std::string text = "start:";
    const auto append_period = [&] {
      for (int i = 0; i < period; ++i) text += static_cast<char>('A' + i);
    };
    for (int i = 0; i < 8; ++i) append_period();
    PromptLookup lookup(1, 4);
    EXPECT_EQ(guess(lookup, text, 1), "A") << "8 times is still a list";
    append_period();
    EXPECT_EQ(guess(lookup, text, 1), "") << period;
    text += "AX start:";  // out of the loop
    EXPECT_NE(guess(lookup, text, 1), "");
  }
}

// A shorter match inside the period must not feed the loop either.
TEST(PromptLookup, LoopSeenOnce_IsRecognisedAtEveryPlaceOfItsPeriod) {
  const std::string period = "abcd1 abcd2 abcd3 ";
  std::string text;
  for (int i = 0; i < 9; ++i) text += period;
  PromptLookup lookup(2, 4);
  EXPECT_EQ(guess(lookup, text, 4), "");
  for (const char next : period) {
    text += next;
    EXPECT_EQ(guess(lookup, text, 4), "") << text.substr(text.size() - 20);
  }
}

TEST(PromptLookup, GrowingText_SameGuessesAsAFreshIndex) {
  PromptLookup lookup(2, 4);
  std::vector<TokenId> text;
  for (uint64_t i = 0; i < 3000; ++i) {
    text.push_back(static_cast<TokenId>(random_bits(1, 2, i) % 12));
    std::vector<TokenId> grown, fresh;
    lookup.propose(text, 3, grown);
    PromptLookup(2, 4).propose(text, 3, fresh);
    // Both are the latest match of the greatest length, unless two n-grams share a table slot.
    const auto is_match = [&](const std::vector<TokenId>& drafts) {
      std::vector<TokenId> wanted(text.end() - 2, text.end());
      wanted.insert(wanted.end(), drafts.begin(), drafts.begin() + 1);
      return std::search(text.begin(), text.end(), wanted.begin(), wanted.end()) != text.end();
    };
    if (!grown.empty()) {
      ASSERT_TRUE(is_match(grown)) << i;
    }
    if (!fresh.empty()) {
      ASSERT_TRUE(is_match(fresh)) << i;
    }
    if (i > 2000) {
      ASSERT_FALSE(grown.empty()) << "144 pairs of 12 letters were all seen";
    }
  }
}

TEST(PromptLookup, CutText_IsNeverContinuedWithWhatIsGone) {
  PromptLookup lookup(2, 4);
  EXPECT_EQ(guess(lookup, "abcXabcYabc", 1), "Y");
  EXPECT_EQ(guess(lookup, "abcXabc", 1), "X");
  EXPECT_EQ(guess(lookup, "abcX", 1), "");
  EXPECT_EQ(guess(lookup, "abcZ--abc", 1), "Z");
}

TEST(PromptLookup, HugeText_IsIndexedInPiecesWithinTheBound) {
  PromptLookup lookup(2, 4);
  std::vector<TokenId> text;
  for (uint64_t i = 0; i < 200'000; ++i) {
    text.push_back(static_cast<TokenId>(random_bits(5, 5, i) % 100'000));
  }
  const std::vector<TokenId> quote(text.end() - 1000, text.end() - 900);
  text.insert(text.end(), quote.begin(), quote.begin() + 20);
  std::vector<TokenId> drafts;
  size_t num_calls = 0;
  for (; drafts.empty() && num_calls < 1000; ++num_calls) lookup.propose(text, 8, drafts);
  EXPECT_GE(num_calls, 200'000 / PromptLookup::kMaxIndexedPerCall)
      << "one call does a bounded part";
  EXPECT_LT(num_calls, 200'000 / PromptLookup::kMaxIndexedPerCall + 3);
  EXPECT_EQ(drafts, std::vector<TokenId>(quote.begin() + 20, quote.begin() + 28));
  EXPECT_EQ(lookup.num_entries(), PromptLookup::kMaxEntries);
}

}  // namespace
}  // namespace sparrow

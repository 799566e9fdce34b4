#include "api/engines/prefix_affinity.h"

#include <gtest/gtest.h>

#include <array>
#include <numeric>

namespace sparrow::api {
namespace {

constexpr SipKey kKey{1, 2};

std::vector<TokenId> prompt_of(TokenId first, int length) {
  std::vector<TokenId> prompt(static_cast<size_t>(length));
  std::iota(prompt.begin(), prompt.end(), first);
  return prompt;
}

std::array<int, 3> tokens_of(PrefixAffinity& affinity, const std::vector<TokenId>& prompt,
                             std::string_view salt = "") {
  std::array<int, 3> tokens{-1, -1, -1};
  affinity.look_up(affinity.name(salt, prompt), tokens);
  return tokens;
}

TEST(PrefixAffinity, LongestKnownBeginning_CountsForTheEngineThatHasIt) {
  PrefixAffinity affinity(kKey);
  const std::vector<TokenId> system = prompt_of(0, 64);
  std::vector<TokenId> conversation = system;
  for (TokenId id = 0; id < 200; ++id) conversation.push_back(1000 + id);
  affinity.note(affinity.name("", system), 0);
  affinity.note(affinity.name("", conversation), 2);
  // Its next turn: 264 tokens are known, 256 of them by name.
  std::vector<TokenId> next = conversation;
  next.resize(400, 7);
  EXPECT_EQ(tokens_of(affinity, next), (std::array{64, 0, 256}));
  // Another conversation under the same system text.
  std::vector<TokenId> other = system;
  other.resize(300, 9);
  EXPECT_EQ(tokens_of(affinity, other), (std::array{64, 0, 64}));
  EXPECT_EQ(tokens_of(affinity, prompt_of(5, 64)), (std::array{0, 0, 0}));
}

TEST(PrefixAffinity, OneTokenAnother_IsAnotherBeginning) {
  PrefixAffinity affinity(kKey);
  const std::vector<TokenId> prompt = prompt_of(0, 16);
  affinity.note(affinity.name("", prompt), 1);
  EXPECT_EQ(tokens_of(affinity, prompt), (std::array{0, 16, 0}));
  for (size_t i = 0; i < prompt.size(); ++i) {
    std::vector<TokenId> changed = prompt;
    changed[i] += 1;
    EXPECT_EQ(tokens_of(affinity, changed), (std::array{0, 0, 0})) << i;
  }
}

TEST(PrefixAffinity, SaltsKeepApart) {
  PrefixAffinity affinity(kKey);
  affinity.note(affinity.name("alice", prompt_of(0, 32)), 0);
  EXPECT_EQ(tokens_of(affinity, prompt_of(0, 32), "bob"), (std::array{0, 0, 0}));
  EXPECT_EQ(tokens_of(affinity, prompt_of(0, 32), "alice"), (std::array{32, 0, 0}));
}

TEST(PrefixAffinity, ShortAndEndlessPrompts_AreBounded) {
  PrefixAffinity affinity(kKey);
  EXPECT_EQ(affinity.name("", prompt_of(0, 0)).num_lengths, 0);
  EXPECT_EQ(affinity.name("", prompt_of(0, 15)).num_lengths, 0);
  EXPECT_EQ(affinity.name("", prompt_of(0, 16)).num_lengths, 1);
  EXPECT_EQ(affinity.name("", prompt_of(0, 100'000)).num_lengths, PrefixAffinity::kMaxLengths);
}

TEST(PrefixAffinity, FullTable_ForgetsWhatWasNotUsedForLongest) {
  PrefixAffinity affinity(kKey, 64);
  const auto prompt = [](int i) { return prompt_of(i * 1000, 16); };
  constexpr int kStrangers = 10'000;
  affinity.note(affinity.name("", prompt(-1)), 1);
  for (int i = 0; i < kStrangers; ++i) {
    affinity.note(affinity.name("", prompt(i)), 0);
    affinity.note(affinity.name("", prompt(-1)), 1);  // in use all the time
  }
  EXPECT_EQ(tokens_of(affinity, prompt(-1)), (std::array{0, 16, 0}));
  int num_known = 0;
  for (int i = 0; i < kStrangers; ++i) num_known += tokens_of(affinity, prompt(i))[0] > 0;
  EXPECT_LE(num_known, 63);
  EXPECT_GE(num_known, 32);
}

}  // namespace
}  // namespace sparrow::api

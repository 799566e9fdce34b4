#include "tools/bench/replay.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "base/random.h"
#include "model/fake_executor.h"

namespace sparrow {
namespace {

constexpr int kVocab = 256;

// A fake that says the texts itself, so that it accepts the plans of those who replay them.
FakeExecutorOptions fake_for(const std::vector<ReplayText>& texts) {
  FakeExecutorOptions options;
  options.limits = {.block_tokens = 4,
                    .num_blocks = static_cast<int32_t>(replay_num_blocks(texts, 4)),
                    .num_slots = 1,
                    .max_batch_tokens = 40,
                    .max_context_tokens = replay_num_positions(texts),
                    .vocab_size = kVocab};
  options.script = [texts](std::span<const TokenId> tokens) -> std::optional<TokenId> {
    for (const ReplayText& text : texts) {
      std::vector<TokenId> all = text.prompt;
      all.insert(all.end(), text.output.begin(), text.output.end());
      if (tokens.size() < text.prompt.size() || tokens.size() >= all.size()) continue;
      if (std::equal(tokens.begin(), tokens.end(), all.begin())) return all[tokens.size()];
    }
    return std::nullopt;
  };
  return options;
}

ReplayText random_text(uint64_t seed, int prompt_length, int output_length) {
  ReplayText text;
  const auto token = [&](int i) {
    return static_cast<TokenId>(random_bits(seed, 9, static_cast<uint64_t>(i)) % kVocab);
  };
  for (int i = 0; i < prompt_length; ++i) text.prompt.push_back(token(i));
  for (int i = 0; i < output_length; ++i) text.output.push_back(token(prompt_length + i));
  return text;
}

ReplayOptions options_of(int num_rounds) {
  ReplayOptions options;
  options.num_rounds = num_rounds;
  options.speculation.max_tokens = 8;
  return options;
}

bool go_on(const std::string&) { return true; }

TEST(Replay, CopiedText_TakesFewerStepsThanARandomOne) {
  ReplayText copied = random_text(1, 60, 0);
  copied.output.assign(copied.prompt.begin() + 10, copied.prompt.end());
  const std::vector<ReplayText> texts = {copied, random_text(2, 50, 40)};
  FakeExecutor executor(fake_for(texts));
  const auto report = run_replay(executor, texts, options_of(2), go_on);
  ASSERT_TRUE(report.ok()) << report.message();
  EXPECT_FALSE(report->stopped);
  ASSERT_EQ(report->rows.size(), 3u);
  const ReplayRow& first = report->rows[0];
  EXPECT_EQ(first.num_tokens, 49) << "behind the first";
  EXPECT_LT(first.steps, 25);
  EXPECT_GT(first.right, 25);
  EXPECT_EQ(report->rows[1].steps, 39);
  EXPECT_EQ(report->rows[1].right, 0);
  const ReplayRow& all = report->rows[2];
  EXPECT_EQ(all.text, -1);
  EXPECT_EQ(all.num_tokens, 49 + 39);
  EXPECT_EQ(all.steps, first.steps + 39);
  for (const ReplayRow& row : report->rows) {
    EXPECT_LE(row.right, row.guessed);
    EXPECT_DOUBLE_EQ(row.steps + row.right, row.num_tokens);
    EXPECT_LE(row.speedup_min, row.speedup);
    EXPECT_LE(row.speedup, row.speedup_max);
  }
  EXPECT_EQ(executor.num_held_slots(), 0);
}

TEST(Replay, Stopped_GivesTheFullRounds) {
  const std::vector<ReplayText> texts = {random_text(3, 30, 20), random_text(4, 30, 20)};
  FakeExecutor executor(fake_for(texts));
  for (const auto& [num_calls, num_rows] : {std::pair{3, 0u}, {4, 3u}, {5, 3u}}) {
    int left = num_calls;
    const auto report =
        run_replay(executor, texts, options_of(5), [&](const std::string&) { return left-- > 0; });
    ASSERT_TRUE(report.ok()) << report.message();
    EXPECT_TRUE(report->stopped);
    EXPECT_EQ(report->rows.size(), num_rows);
  }
}

TEST(Replay, TextsThatCannotBeSaid_AreRefused) {
  const std::vector<ReplayText> texts = {random_text(5, 30, 20)};
  FakeExecutor executor(fake_for(texts));
  const auto refused = [&](const std::vector<ReplayText>& others) {
    return !run_replay(executor, others, options_of(1), go_on).ok();
  };
  EXPECT_TRUE(refused({}));
  EXPECT_TRUE(refused({{.prompt = {}, .output = {1, 2}}}));
  EXPECT_TRUE(refused({{.prompt = {1}, .output = {2}}}));
  EXPECT_TRUE(refused({{.prompt = {1}, .output = {2, kVocab}}}));
  EXPECT_TRUE(refused({{.prompt = {-1}, .output = {2, 3}}}));
  EXPECT_TRUE(refused({random_text(5, 30, 21)})) << "longer than the context";
}

}  // namespace
}  // namespace sparrow

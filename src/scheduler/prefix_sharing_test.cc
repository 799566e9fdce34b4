#include "scheduler/prefix_sharing.h"

#include <gtest/gtest.h>

#include "base/random.h"
#include "scheduler/test_support.h"

namespace sparrow {
namespace {

// Blocks have four tokens here. Every test compares tokens with those of the prompt alone: the fake
// executor derives them from what the blocks hold.
class PrefixSharingTest : public SchedulerTest {
 protected:
  static Request request(uint64_t id, std::vector<TokenId> prompt, const std::string& salt = "") {
    Request request;
    request.id = id;
    request.prompt = std::move(prompt);
    request.cache_salt = salt;
    return request;
  }
  // Adds and runs to the end; the rows it took.
  int run_alone(Request request, int max_tokens) {
    add(std::move(request), max_tokens);
    int num_rows = 0;
    while (!scheduler_->idle()) num_rows += step();
    return num_rows;
  }
  static std::vector<TokenId> joined(std::vector<TokenId> a, const std::vector<TokenId>& b) {
    a.insert(a.end(), b.begin(), b.end());
    return a;
  }
};

TEST_F(PrefixSharingTest, SamePromptAgain_ComputesOnlyItsEnd) {
  make(64);
  EXPECT_EQ(run_alone(request(1, prompt(3, 20)), 4), 20 + 3);
  EXPECT_EQ(scheduler_->blocks().num_used(), 0);
  EXPECT_EQ(scheduler_->blocks().num_cached(), 5) << "23 tokens have K and V";
  EXPECT_EQ(run_alone(request(2, prompt(3, 20)), 4), 4 + 3) << "the last token's logits are needed";
  EXPECT_EQ(cached_[1], 0);
  EXPECT_EQ(cached_[2], 16);
  EXPECT_EQ(output_[2], alone(3, 20, 4));
  EXPECT_EQ(scheduler_->prefix_counts().num_queried_tokens, 40u);
  EXPECT_EQ(scheduler_->prefix_counts().num_hit_tokens, 16u);
}

TEST_F(PrefixSharingTest, NextTurn_ReusesPromptAndAnswer) {
  make(64);
  run_alone(request(1, prompt(3, 20)), 9);
  const std::vector<TokenId> answer = output_[1];
  const auto second = joined(joined(prompt(3, 20), answer), {1, 2, 3, 4, 5});
  run_alone(request(2, second), 3);
  EXPECT_EQ(cached_[2], 28) << "28 of 29 tokens had K and V, in full blocks";
  EXPECT_EQ(output_[2], executor_->expected_tokens(second, 3));
}

TEST_F(PrefixSharingTest, SamePromptAtOnce_IsComputedOnce) {
  make(256, 8, 16);  // a prompt takes several steps
  for (uint64_t id = 1; id <= 5; ++id) add(request(id, prompt(3, 43)), 6);
  int num_rows = 0;
  while (!scheduler_->idle()) num_rows += step();
  EXPECT_EQ(num_rows, 43 + 4 * 3 + 5 * 5) << "40 tokens shared by five";
  for (uint64_t id = 1; id <= 5; ++id) EXPECT_EQ(output_[id], alone(3, 43, 6));
}

TEST_F(PrefixSharingTest, WaitingForAPrefix_LetsOthersPass) {
  make(256, 8, 32);
  add(request(1, prompt(3, 120)), 2);
  step();
  add(request(2, prompt(3, 120)), 2);
  add(request(3, prompt(9, 8)), 2);
  while (!finished_.contains(3)) step();
  EXPECT_FALSE(output_.contains(2)) << "still waits for the first";
  run();
  EXPECT_EQ(output_[2], alone(3, 120, 2));
  EXPECT_EQ(cached_[2], 116);
}

TEST_F(PrefixSharingTest, TheOneWaitedForLeaves_TheWaiterComputesItself) {
  make(256, 8, 16);
  add(request(1, prompt(3, 60)), 2);
  step();
  add(request(2, prompt(3, 60)), 2);
  step();
  scheduler_->finish_request(1, FinishReason::kCancelled);
  run();
  EXPECT_EQ(output_[2], alone(3, 60, 2));
  EXPECT_GT(cached_[2], 0) << "what the first had done is not lost";
}

TEST_F(PrefixSharingTest, AnotherSalt_SharesNothing) {
  make(64);
  run_alone(request(1, prompt(3, 20), "alice"), 4);
  run_alone(request(2, prompt(3, 20), "bob"), 4);
  EXPECT_EQ(cached_[2], 0);
  run_alone(request(3, prompt(3, 20), "alice"), 4);
  EXPECT_EQ(cached_[3], 16);
}

TEST_F(PrefixSharingTest, SwitchedOff_SharesNothing) {
  prefix_.enabled = false;
  make(64);
  run_alone(request(1, prompt(3, 20)), 4);
  run_alone(request(2, prompt(3, 20)), 4);
  EXPECT_EQ(cached_[2], 0);
  EXPECT_EQ(scheduler_->blocks().num_cached(), 0);
}

TEST_F(PrefixSharingTest, PreemptedSequence_FindsItsBlocksAgain) {
  make(12);
  for (uint64_t id = 1; id <= 3; ++id) add(id, 8, 24);
  int num_rows = 0;
  while (!scheduler_->idle()) num_rows += step();
  EXPECT_GT(scheduler_->num_preemptions(), 0u);
  for (uint64_t id = 1; id <= 3; ++id) EXPECT_EQ(output_[id], alone(id, 8, 24));
  const int with_cache = num_rows;

  prefix_.enabled = false;
  make(12);
  num_rows = 0;
  for (uint64_t id = 1; id <= 3; ++id) add(id, 8, 24);
  while (!scheduler_->idle()) num_rows += step();
  EXPECT_LE(with_cache, num_rows);
}

TEST_F(PrefixSharingTest, MemoryIsNeeded_OldestEndsGoFirst) {
  make(16);
  run_alone(request(1, prompt(1, 24)), 1);  // six blocks
  run_alone(request(2, prompt(2, 24)), 1);
  run_alone(request(3, prompt(1, 24)), 1);  // the first prompt is in use again
  run_alone(request(4, prompt(4, 24)), 1);
  EXPECT_GT(scheduler_->blocks().num_evictions(), 0u);
  run_alone(request(5, prompt(1, 24)), 1);
  EXPECT_EQ(cached_[5], 20) << "used lately: kept";
  run_alone(request(6, prompt(2, 24)), 1);
  EXPECT_LT(cached_[6], 20);
  EXPECT_EQ(output_[6], alone(2, 24, 1));
}

TEST_F(PrefixSharingTest, FloodingTenant_EvictsItself) {
  make(64);
  Request modest = request(1, prompt(1, 40), "m");
  modest.tenant = "modest";
  run_alone(modest, 1);
  for (uint64_t id = 10; id < 60; ++id) {
    Request flood = request(id, joined({static_cast<TokenId>(id)}, prompt(id, 20)), "f");
    flood.tenant = "flood";
    run_alone(std::move(flood), 1);
  }
  modest.id = 2;
  run_alone(modest, 1);
  EXPECT_EQ(cached_[2], 36);
}

TEST_F(PrefixSharingTest, NotFiniteRow_IsNeverServedFromTheCache) {
  not_finite_ = [](uint64_t step, size_t) { return step == 2; };
  make(64);
  run_alone(request(1, prompt(3, 20)), 8);
  EXPECT_EQ(finished_[1], FinishReason::kNotFinite);
  EXPECT_EQ(scheduler_->blocks().num_cached(), 0);
  run_alone(request(2, prompt(3, 20)), 4);
  EXPECT_EQ(cached_[2], 0);
  EXPECT_EQ(output_[2], alone(3, 20, 4));
}

TEST_F(PrefixSharingTest, TruncatedSequence_LeavesItsOldBlocksAlone) {
  make(64);
  Sequence* sequence = add(request(1, prompt(3, 10)), 20);
  for (int i = 0; i < 10; ++i) step();
  const std::vector<TokenId> before = sequence->tokens;
  scheduler_->truncate(*sequence, 12);
  scheduler_->append_forced(*sequence, std::vector<TokenId>{5, 6, 7, 8, 9});
  run();
  run_alone(request(2, before), 3);
  EXPECT_GT(cached_[2], 8);
  EXPECT_EQ(output_[2], executor_->expected_tokens(before, 3));
}

// Few prefixes, random continuations, little memory, several salts; also with hashes that collide.
TEST_F(PrefixSharingTest, RandomTraffic_EveryTextIsTheOneAlone) {
  for (const int hash_bits : {128, 6}) {
    prefix_.hash_bits = hash_bits;
    make(48, 6, 24);
    output_.clear();
    finished_.clear();
    std::map<uint64_t, std::vector<TokenId>> prompts;
    uint64_t next_id = 1;
    for (uint64_t step_number = 0; step_number < 3000; ++step_number) {
      const uint64_t dice = random_bits(7, static_cast<uint64_t>(hash_bits), step_number);
      if (dice % 4 == 0 && scheduler_->num_waiting() < 12) {
        std::vector<TokenId> tokens = prompt(dice / 4 % 3, static_cast<int>(dice / 16 % 30) + 1);
        if (dice / 1024 % 2 == 0) tokens.push_back(static_cast<TokenId>(dice / 4096 % 5));
        prompts[next_id] = tokens;
        add(request(next_id++, tokens, dice / 65536 % 5 == 0 ? "other" : ""),
            static_cast<int>(dice / 256 % 20) + 1);
      }
      step();
      if (dice % 61 == 0) scheduler_->finish_request(next_id - 1, FinishReason::kCancelled);
    }
    run();
    EXPECT_GT(scheduler_->prefix_counts().num_hit_tokens, 1000u);
    for (const auto& [id, tokens] : output_) {
      EXPECT_EQ(tokens, executor_->expected_tokens(prompts[id], static_cast<int>(tokens.size())));
    }
  }
}

}  // namespace
}  // namespace sparrow

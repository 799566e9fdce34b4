// Any allocation of a step may fail, on the caller or on a compute worker: begin() or sample()
// throws, the process lives, and the next step computes what it always computes.

#include <gtest/gtest.h>

#include <new>

#include "base/failing_new_test_support.h"
#include "model/cpu_executor.h"
#include "model/generated_weights.h"

namespace sparrow {
namespace {

constexpr int kNumSequences = 6;
constexpr int kNumPrompt = 5;

// Prompts that all end in this step, each sampled with penalties (counts grow) and logprobs.
struct Step {
  explicit Step(GeneratedWeights& weights) : prompt(weights.token_ids(kNumPrompt)) {
    params.temperature = 0.6;
    params.top_p = 0.9;
    params.repetition_penalty = 1.1;
    params.num_top_logprobs = 5;
    for (int slot = 0; slot < kNumSequences; ++slot) {
      plan.slot_starts.push_back({.slot = slot,
                                  .params = &params,
                                  .tokens = prompt,
                                  .num_prompt_tokens = kNumPrompt,
                                  .banned_early = {},
                                  .min_tokens = 0});
      Span span;
      span.slot = slot;
      span.num_tokens = kNumPrompt;
      span.num_logit_rows = 1;
      span.token_begin = plan.num_tokens();
      span.block_begin = slot;
      span.num_blocks = 1;
      plan.block_ids.push_back(slot);
      plan.token_ids.insert(plan.token_ids.end(), prompt.begin(), prompt.end());
      plan.spans.push_back(span);
    }
  }

  // The sampled tokens; empty where memory ran out. No slot is held afterwards.
  std::vector<TokenId> run(CpuExecutor& executor) {
    std::vector<TokenId> ids;
    ++plan.step;
    bool begun = false;
    try {
      ids.reserve(kNumSequences);
      const Ticket ticket = executor.begin(plan);
      begun = true;
      executor.sample(ticket, {});
      for (const SampledToken& token : executor.wait(ticket).tokens) ids.push_back(token.id);
    } catch (const std::bad_alloc&) {
    }
    for (int slot = 0; begun && slot < kNumSequences; ++slot) executor.release(slot);
    return ids;
  }

  const std::vector<TokenId> prompt;
  SamplingParams params;
  BatchPlan plan;
};

TEST(CpuExecutorMemory, FailedAllocationOnAnyThread_CostsThatStepOnly) {
  GeneratedWeights weights(small_model_config(), 3, TensorType::kF32);
  CpuExecutorOptions options;
  options.num_threads = 3;
  options.num_slots = kNumSequences;
  options.num_blocks = 16;
  options.max_batch_tokens = 64;
  Step step(weights);
  std::vector<TokenId> expected;
  int num_failed = 0;
  for (int64_t k = 0;; ++k) {
    auto executor = make_cpu_executor(weights.config(), options);
    ASSERT_TRUE(executor.ok()) << executor.message();
    ASSERT_TRUE((*executor)->load(weights).ok());
    if (k == 0) expected = step.run(**executor);
    // Buffers that grow in the first step only are new in every executor.
    if (k == 0) continue;
    fail_allocation(k - 1);
    const std::vector<TokenId> found = step.run(**executor);
    const bool all_succeeded = stop_failing_allocations() >= 0;
    EXPECT_TRUE(found.empty() || found == expected) << k;
    num_failed += found.empty() ? 1 : 0;
    EXPECT_EQ(step.run(**executor), expected) << "after the failure of allocation " << k;
    if (all_succeeded) break;
    ASSERT_LT(k, 10'000) << "a step allocates without end";
  }
  EXPECT_EQ(expected.size(), static_cast<size_t>(kNumSequences));
  EXPECT_GT(num_failed, kNumSequences) << "sampling was not reached";
}

}  // namespace
}  // namespace sparrow

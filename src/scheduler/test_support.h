#pragma once
// For tests of the scheduler: drives it against the fake executor, which checks every plan and
// whose tokens depend on what the blocks really hold.

#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <memory>
#include <numeric>
#include <utility>
#include <vector>

#include "model/fake_executor.h"
#include "scheduler/scheduler.h"

namespace sparrow {

// Drives the scheduler against the fake executor, which checks every plan, and keeps the results.
class SchedulerTest : public ::testing::Test, public TokenConsumer {
 protected:
  void make(int num_blocks, int num_slots = 8, int max_rows = 64, double max_step_ms = 250) {
    FakeExecutorOptions fake;
    fake.script = script_;
    fake.not_finite = not_finite_;
    fake.limits.num_blocks = num_blocks;
    fake.limits.num_slots = num_slots;
    fake.limits.max_batch_tokens = max_rows;
    fake.limits.max_steps_in_flight = max_steps_in_flight_;
    fake.row_ms = 1;
    fake.fixed_ms = 5;
    executor_ = std::make_unique<FakeExecutor>(fake);
    scheduler_ = std::make_unique<Scheduler>(SchedulerOptions{.block_tokens = 4,
                                                              .num_blocks = num_blocks,
                                                              .num_slots = num_slots,
                                                              .max_batch_tokens = max_rows,
                                                              .max_num_seqs = num_slots,
                                                              .max_num_batched_tokens = max_rows,
                                                              .max_step_ms = max_step_ms,
                                                              .speculation = speculation_,
                                                              .prefix = prefix_});
  }
  static std::vector<TokenId> prompt(uint64_t id, int length) {
    std::vector<TokenId> tokens(static_cast<size_t>(length));
    std::iota(tokens.begin(), tokens.end(), static_cast<TokenId>(id * 11 % 100));
    return tokens;
  }
  Sequence* add(uint64_t id, int prompt_len, int max_tokens, const std::string& key = "",
                int priority = 0) {
    Request request;
    request.id = id;
    request.fairness_key = key;
    request.priority = priority;
    request.prompt = prompt(id, prompt_len);
    return add(std::move(request), max_tokens);
  }
  Sequence* add(Request request, int max_tokens) {
    auto sequence = std::make_unique<Sequence>();
    sequence->params.temperature = 0;
    sequence->tokens = request.prompt;
    sequence->num_prompt_tokens = static_cast<int>(request.prompt.size());
    sequence->max_tokens = max_tokens;
    sequence->request = std::make_shared<Request>(std::move(request));
    Sequence* added = sequence.get();
    scheduler_->add(std::move(sequence));
    return added;
  }
  FinishReason on_token(Sequence& sequence, const SampledToken& token,
                        std::span<const TokenLogprob>) override {
    order_of_tokens_.push_back(sequence.request->id);
    output_[sequence.request->id].push_back(token.id);
    return sequence.num_output_tokens() >= sequence.max_tokens ? FinishReason::kMaxTokens
                                                               : FinishReason::kNone;
  }
  void release_slots() {
    for (const SlotId slot : scheduler_->released_slots()) executor_->release(slot);
    scheduler_->clear_released_slots();
  }
  // The rows of the step, 0 when there was nothing to do.
  int step() {
    const BatchPlan& plan = scheduler_->plan(now_);
    release_slots();
    const int num_rows = plan.num_tokens();
    if (!plan.empty()) {
      const Ticket ticket = executor_->begin(plan);
      executor_->sample(ticket, {});
      const StepResult& result = executor_->wait(ticket);
      now_ += Duration{result.elapsed_ns};
      scheduler_->commit(result, now_, *this);
    }
    for (auto& sequence : scheduler_->take_finished()) {
      finished_[sequence->request->id] = sequence->finish;
      preemptions_[sequence->request->id] = sequence->num_preemptions;
      cached_[sequence->request->id] = sequence->num_cached;
    }
    release_slots();
    scheduler_->check_integrity();
    return num_rows;
  }
  void run() {
    for (int i = 0; i < 10000 && !scheduler_->idle(); ++i) step();
    ASSERT_TRUE(scheduler_->idle()) << "no end";
    EXPECT_EQ(scheduler_->blocks().num_used(), 0);
    EXPECT_EQ(executor_->num_held_slots(), 0);
  }
  std::vector<TokenId> alone(uint64_t id, int prompt_len, int count) {
    return executor_->expected_tokens(prompt(id, prompt_len), count);
  }

  // For make().
  int max_steps_in_flight_ = 1;
  SpeculationOptions speculation_;
  PrefixOptions prefix_;
  std::function<bool(uint64_t step, size_t span)> not_finite_;
  std::function<std::optional<TokenId>(std::span<const TokenId>)> script_;

  std::unique_ptr<FakeExecutor> executor_;
  std::unique_ptr<Scheduler> scheduler_;
  TimePoint now_{};
  std::vector<uint64_t> order_of_tokens_;
  std::map<uint64_t, std::vector<TokenId>> output_;
  std::map<uint64_t, FinishReason> finished_;
  std::map<uint64_t, int> preemptions_;
  std::map<uint64_t, int> cached_;  // prompt tokens found computed
};

}  // namespace sparrow

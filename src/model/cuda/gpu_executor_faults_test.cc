// What happens to steps when the card fails: a step ends as failed, the process and the executor go
// on, and what comes back later is right again.
#include <gtest/gtest.h>

#include "model/cuda/forwarding_device_test_support.h"
#include "model/cuda/gpu_executor.h"
#include "model/executor_driver.h"
#include "model/generated_weights.h"

namespace sparrow {
namespace {

// The twin behind a switch: while it is on, waiting for work fails as it does on a lost device.
struct Faults {
  bool wait_fails = false;
  int allocations_left = 1 << 30;  // pinned memory included
};

class FaultyDevice final : public ForwardingDevice {
 public:
  // Each multiprocessor costs the emulator a block that prepares its inputs.
  explicit FaultyDevice(Faults& faults) : ForwardingDevice({.num_sms = 12}), faults_(faults) {}

  Result<void*> allocate(size_t bytes) override {
    if (faults_.allocations_left-- <= 0) return resource_exhausted("out of memory");
    return ForwardingDevice::allocate(bytes);
  }
  Result<void*> allocate_pinned(size_t bytes) override {
    if (faults_.allocations_left-- <= 0) return resource_exhausted("out of pinned memory");
    return ForwardingDevice::allocate_pinned(bytes);
  }
  Status wait(GpuEvent& event) override {
    if (faults_.wait_fails) return unavailable("the device is lost");
    return ForwardingDevice::wait(event);
  }

 private:
  Faults& faults_;
};

GpuExecutorOptions small_options() {
  GpuExecutorOptions options;
  options.num_slots = 4;
  options.max_batch_tokens = 32;
  options.max_context = 128;
  options.max_logit_rows = 4;
  return options;
}

TEST(GpuExecutorFaults, LostDevice_StepsFailAndLaterOnesAreRight) {
  Faults faults;
  GeneratedWeights weights(small_model_config(), 5, TensorType::kBF16);
  Result<std::unique_ptr<GpuExecutor>> executor =
      make_gpu_executor(std::make_unique<FaultyDevice>(faults), weights, small_options());
  ASSERT_TRUE(executor.ok()) << executor.message();
  ASSERT_TRUE((*executor)->load(weights).ok());
  const std::vector<TokenId> prompt = weights.token_ids(12);
  const SamplingParams params = ExecutorDriver::greedy();
  TokenId expected = 0;
  {
    ExecutorDriver driver(**executor);
    expected = driver.step({{driver.add(prompt), 12, 1}}).tokens.at(0).id;
  }
  BatchPlan plan;
  plan.slot_starts.push_back({1, &params, prompt, 12, {}, 0});
  Span span;
  span.slot = 1;
  span.num_tokens = 12;
  span.num_logit_rows = 1;
  span.num_blocks = 1;
  plan.spans.push_back(span);
  plan.token_ids = prompt;
  plan.block_ids = {3};
  faults.wait_fails = true;
  for (int i = 0; i < 3; ++i) {
    const Ticket ticket = (*executor)->begin(plan);
    (*executor)->sample(ticket, {});
    const StepResult& result = (*executor)->wait(ticket);
    EXPECT_TRUE(result.failed);
    EXPECT_TRUE(result.tokens.empty());
    EXPECT_EQ(result.spans.size(), 1u);
    plan.slot_starts.clear();  // the slot is held: the scheduler decides what becomes of it
  }
  (*executor)->release(1);
  faults.wait_fails = false;
  ExecutorDriver driver(**executor);
  EXPECT_EQ(driver.step({{driver.add(prompt), 12, 1}}).tokens.at(0).id, expected);
}

// Uploads that do not fit the half of the staging that is left wait for the card: a begin() that
// throws then has started no slot, and the slot can be started again.
TEST(GpuExecutorFaults, LostDeviceInsideBegin_StartsNoSlot) {
  Faults faults;
  ModelConfig config = small_model_config();
  GeneratedWeights weights(config, 5, TensorType::kBF16);
  GpuExecutorOptions options = small_options();
  options.enforce_eager = true;
  Result<std::unique_ptr<GpuExecutor>> executor =
      make_gpu_executor(std::make_unique<FaultyDevice>(faults), weights, options);
  ASSERT_TRUE(executor.ok()) << executor.message();
  ASSERT_TRUE((*executor)->load(weights).ok());
  SamplingParams params = ExecutorDriver::greedy();
  for (int id = 0; id < 200; ++id) params.logit_bias.push_back({id, 0.5f});
  const std::vector<TokenId> prompt = weights.token_ids(1);
  BatchPlan plan;
  plan.slot_starts.push_back({1, &params, prompt, 1, {}, 0});
  Span span;
  span.slot = 1;
  span.num_tokens = 1;
  span.num_logit_rows = 1;
  span.num_blocks = 1;
  plan.spans.push_back(span);
  plan.token_ids = prompt;
  plan.block_ids = {3};
  int num_thrown = 0;
  // 1 MiB of staging a half, two kilobytes a step.
  for (int i = 0; i < 3000 && num_thrown < 1; ++i) {
    faults.wait_fails = true;
    Ticket ticket = 0;
    try {
      ticket = (*executor)->begin(plan);
    } catch (const std::runtime_error&) {
      ++num_thrown;
      faults.wait_fails = false;
      ticket = (*executor)->begin(plan);  // the slot is free
    }
    faults.wait_fails = false;
    (*executor)->sample(ticket, {});
    EXPECT_FALSE((*executor)->wait(ticket).failed);
    (*executor)->release(1);
  }
  EXPECT_EQ(num_thrown, 1);
}

// A prompt of one token in slot 1, and behind it the token that follows beside three that start in
// other slots with large uploads.
class TwoSteps {
 public:
  explicit TwoSteps(const GeneratedWeights& weights) : prompt_(weights.token_ids(1)) {
    for (int id = 0; id < weights.config().vocab_size; ++id)
      biased_.logit_bias.push_back({id, 0.5f});
    add(first, 1, 0, prompt_[0], 3);
    first.slot_starts.push_back({1, &plain_, prompt_, 1, {}, 0});
    add(second, 1, 1, kPendingToken, 3);
    for (const SlotId slot : {0, 2, 3}) {
      add(second, slot, 0, prompt_[0], 4 + slot);
      second.spans.back().num_logit_rows = 0;
      second.slot_starts.push_back({slot, &biased_, prompt_, 1, {}, 0});
    }
  }
  BatchPlan first, second;

 private:
  static void add(BatchPlan& plan, SlotId slot, int position, TokenId token, BlockId block) {
    Span span;
    span.slot = slot;
    span.first_position = position;
    span.num_tokens = 1;
    span.num_logit_rows = 1;
    span.token_begin = plan.num_tokens();
    span.block_begin = static_cast<int32_t>(plan.block_ids.size());
    span.num_blocks = 1;
    plan.spans.push_back(span);
    plan.token_ids.push_back(token);
    plan.block_ids.push_back(block);
  }
  const std::vector<TokenId> prompt_;
  const SamplingParams plain_ = ExecutorDriver::greedy();
  SamplingParams biased_ = ExecutorDriver::greedy();
};

Ticket start(GpuExecutor& executor, const BatchPlan& plan) {
  const Ticket ticket = executor.begin(plan);
  executor.sample(ticket, {});
  return ticket;
}

// The device tells of an error once, and not whose it was.
TEST(GpuExecutorFaults, ErrorWithTwoStepsOnTheWay_EndsBoth) {
  Faults faults;
  GeneratedWeights weights(small_model_config(), 5, TensorType::kBF16);
  Result<std::unique_ptr<GpuExecutor>> executor =
      make_gpu_executor(std::make_unique<FaultyDevice>(faults), weights, small_options());
  ASSERT_TRUE(executor.ok()) << executor.message();
  ASSERT_TRUE((*executor)->load(weights).ok());
  const TwoSteps steps(weights);
  for (const bool fails : {true, false}) {
    const Ticket first = start(**executor, steps.first);
    const Ticket second = start(**executor, steps.second);
    faults.wait_fails = fails;
    EXPECT_EQ((*executor)->wait(first).failed, fails);
    faults.wait_fails = false;
    const StepResult& result = (*executor)->wait(second);
    EXPECT_EQ(result.failed, fails);
    EXPECT_EQ(result.tokens.size(), fails ? 0u : 1u);
    for (const SlotId slot : {0, 1, 2, 3}) (*executor)->release(slot);
  }
}

TEST(GpuExecutorFaults, ErrorFoundByTheNextBegin_EndsTheStepBeforeToo) {
  Faults faults;
  ModelConfig config = small_model_config();
  config.vocab_size = kMaxLogitBias;
  GeneratedWeights weights(config, 5, TensorType::kBF16);
  GpuExecutorOptions options = small_options();
  options.enforce_eager = true;
  Result<std::unique_ptr<GpuExecutor>> executor =
      make_gpu_executor(std::make_unique<FaultyDevice>(faults), weights, options);
  ASSERT_TRUE(executor.ok()) << executor.message();
  ASSERT_TRUE((*executor)->load(weights).ok());
  const TwoSteps steps(weights);
  bool has_thrown = false;
  // Until the staging is full and waits within the second step.
  for (int i = 0; i < 3000 && !has_thrown; ++i) {
    const Ticket first = start(**executor, steps.first);
    Ticket second = 0;
    faults.wait_fails = true;
    try {
      second = start(**executor, steps.second);
    } catch (const std::runtime_error&) {
      has_thrown = true;
    }
    faults.wait_fails = false;
    EXPECT_EQ((*executor)->wait(first).failed, has_thrown);
    if (!has_thrown) {
      EXPECT_FALSE((*executor)->wait(second).failed);
      for (const SlotId slot : {0, 2, 3}) (*executor)->release(slot);
    }
    (*executor)->release(1);
  }
  EXPECT_TRUE(has_thrown);
}

// Whichever allocation fails, load() says so, names the device and gives everything back.
TEST(GpuExecutorFaults, NoMemory_AtEveryAllocationOfLoad) {
  GeneratedWeights weights(small_model_config(), 5, TensorType::kBF16);
  int num_failures = 0;
  for (int allowed = 0;; ++allowed) {
    Faults faults;
    Result<std::unique_ptr<GpuExecutor>> executor =
        make_gpu_executor(std::make_unique<FaultyDevice>(faults), weights, small_options());
    ASSERT_TRUE(executor.ok()) << executor.message();
    faults.allocations_left = allowed;
    const Status loaded = (*executor)->load(weights);
    if (loaded.ok()) break;
    ++num_failures;
    EXPECT_EQ(loaded.code(), StatusCode::kResourceExhausted) << loaded.message();
    EXPECT_NE(loaded.message().find("host twin"), std::string::npos) << loaded.message();
  }
  // Staging, workspace, weights, cache and the pinned memory of results at least. The twin's
  // destructor finds what is not given back.
  EXPECT_GE(num_failures, 7);
}

}  // namespace
}  // namespace sparrow

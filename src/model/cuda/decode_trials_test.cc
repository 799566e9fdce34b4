// Trials of decode steps at start: whichever way the clock chooses, answers stay what they were,
// and a way whose logits are wrong is never chosen.
#include "model/cuda/decode_trials.h"

#include <gtest/gtest.h>

#include "kernels/cuda/gpu_test_support.h"
#include "model/cuda/gpu_executor.h"
#include "model/executor_driver.h"
#include "model/generated_weights.h"
#include "model/golden_file.h"

namespace sparrow {
namespace {

GpuExecutorOptions small_options() {
  GpuExecutorOptions options;
  options.num_slots = 10;
  options.max_batch_tokens = 32;
  options.max_context = 48;  // the emulator takes its time
  options.max_logit_rows = 10;
  options.choices = GpuForwardChoices::plain();
  return options;
}

class DecodeTrials : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    if (open_test_device(GetParam()) == nullptr) {
      GTEST_SKIP() << "no GPU: " << why_no_cuda_device();
    }
  }
  std::vector<float> logits_of(const GpuExecutorOptions& options) {
    GeneratedWeights weights(small_model_config(), 5, TensorType::kBF16);
    Result<std::unique_ptr<GpuExecutor>> executor =
        make_gpu_executor(open_test_device(GetParam()), weights, options);
    EXPECT_TRUE(executor.ok()) << executor.message();
    const Status loaded = (*executor)->load(weights);
    EXPECT_TRUE(loaded.ok()) << loaded.message();
    ExecutorDriver driver(**executor);
    std::vector<float> logits;
    std::vector<ExecutorDriver::Part> parts;
    for (int i = 0; i < 10; ++i) {
      const std::vector<TokenId> all = weights.token_ids(20 + i);
      const int sequence = driver.add({all.begin() + i, all.end()});
      driver.step({{sequence, 20, 1}});
      parts.push_back({sequence, 1, 1});
    }
    driver.step({parts[3]});
    driver.step(parts);
    for (const int sequence : {0, 3, 9}) {
      const std::vector<float>& one = driver.logits(sequence, 20);
      logits.insert(logits.end(), one.begin(), one.end());
    }
    return logits;
  }
};

TEST_P(DecodeTrials, TriedWays_AnswersStay) {
  for (const GpuKvFormat kv : {GpuKvFormat::kBF16, GpuKvFormat::kInt8}) {
    GpuExecutorOptions options = small_options();
    options.kv_type = kv;
    if (kv == GpuKvFormat::kInt8) options.max_logit_rows = 2;  // trials of one row only
    const std::vector<float> plain = logits_of(options);
    options.choices = {};
    options.tries_decode = true;
    // Two ways to round the same sums, as in gpu_executor_test.cc.
    EXPECT_LT(relative_l2(logits_of(options), plain), 3e-3);
    options.enforce_eager = true;  // nothing is tried: the plain way, to the bit
    GpuExecutorOptions eager = options;
    eager.tries_decode = false;
    eager.choices = GpuForwardChoices::plain();
    EXPECT_EQ(logits_of(options), logits_of(eager));
  }
}

// A card too small for a block a row: nothing is tried, and nothing fails.
TEST_P(DecodeTrials, TinyCache_PlainWay) {
  GpuExecutorOptions options = small_options();
  options.max_context = 32;
  options.kv_cache_bytes = 2 * 16 * 2 * 2 * 2 * 32 * 2;  // two blocks of two layers
  options.choices = {};
  options.tries_decode = true;
  GeneratedWeights weights(small_model_config(), 5, TensorType::kBF16);
  Result<std::unique_ptr<GpuExecutor>> executor =
      make_gpu_executor(open_test_device(GetParam()), weights, options);
  ASSERT_TRUE(executor.ok()) << executor.message();
  EXPECT_TRUE((*executor)->load(weights).ok());
}

SPARROW_ON_EVERY_GPU(DecodeTrials);

}  // namespace
}  // namespace sparrow

// Trials of decode steps at start: whichever way the clock chooses, answers stay what they were,
// and a way whose logits are wrong is never chosen.
#include "model/cuda/decode_trials.h"

#include <gtest/gtest.h>

#include "kernels/cuda/gpu_test_support.h"
#include "model/cuda/forwarding_device_test_support.h"
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

// A card with room for one block: nothing is tried, and nothing fails.
TEST_P(DecodeTrials, TinyCache_PlainWay) {
  GpuExecutorOptions options = small_options();
  options.max_context = 16;
  options.kv_cache_bytes = 16 * 2 * 2 * 2 * 32 * 2;  // a block of two layers
  options.choices = {};
  options.tries_decode = true;
  GeneratedWeights weights(small_model_config(), 5, TensorType::kBF16);
  Result<std::unique_ptr<GpuExecutor>> executor =
      make_gpu_executor(open_test_device(GetParam()), weights, options);
  ASSERT_TRUE(executor.ok()) << executor.message();
  const Status loaded = (*executor)->load(weights);
  EXPECT_TRUE(loaded.ok()) << loaded.message();
}

// One long sequence needs most of the cache, eight short ones the rest: the twin's memory ends
// where the cache does, so a cell beyond it would end the test.
TEST_P(DecodeTrials, CacheThatIsJustLargeEnough_NothingIsTouchedBeyond) {
  GpuExecutorOptions options = small_options();
  options.max_context = 256;
  options.kv_cache_bytes = 17 * 16 * 2 * 2 * 2 * 32 * 2;  // 17 blocks of two layers
  options.choices = {};
  options.tries_decode = true;
  GeneratedWeights weights(small_model_config(), 5, TensorType::kBF16);
  Result<std::unique_ptr<GpuExecutor>> executor =
      make_gpu_executor(open_test_device(GetParam()), weights, options);
  ASSERT_TRUE(executor.ok()) << executor.message();
  ASSERT_EQ((*executor)->limits().num_blocks, 17);
  const Status loaded = (*executor)->load(weights);
  EXPECT_TRUE(loaded.ok()) << loaded.message();
}

SPARROW_ON_EVERY_GPU(DecodeTrials);

// A card on which the newer way stores neither keys nor values.
class WrongDevice final : public ForwardingDevice {
 public:
  WrongDevice() : ForwardingDevice({.num_sms = 12}), table_(ForwardingDevice::kernels()) {
    table_.linear_rope_store = [](GpuStream, const LinearArgs&, const RopeStoreArgs&) {};
  }
  const GpuKernels& kernels() const override { return table_; }

 private:
  GpuKernels table_;
};

// A card that cannot capture the newer ways: the first graph is the plain way's trial, the second
// and the third are theirs.
class UncapturedDevice final : public ForwardingDevice {
 public:
  UncapturedDevice() : ForwardingDevice({.num_sms = 12}) {}
  Result<std::unique_ptr<GpuGraph>> end_capture() override {
    Result<std::unique_ptr<GpuGraph>> graph = ForwardingDevice::end_capture();
    const int number = num_captures_++;
    if (number == 1 || number == 2) return unavailable("no graph of this");
    return graph;
  }

 private:
  int num_captures_ = 0;
};

std::vector<float> logits_on(std::unique_ptr<GpuDevice> device, const GpuExecutorOptions& options) {
  GeneratedWeights weights(small_model_config(), 5, TensorType::kBF16);
  Result<std::unique_ptr<GpuExecutor>> executor =
      make_gpu_executor(std::move(device), weights, options);
  EXPECT_TRUE(executor.ok()) << executor.message();
  const Status loaded = (*executor)->load(weights);
  EXPECT_TRUE(loaded.ok()) << loaded.message();
  if (!loaded.ok()) return {};
  ExecutorDriver driver(**executor);
  const int sequence = driver.add(weights.token_ids(20));
  driver.step({{sequence, 20, 1}});
  driver.step({{sequence, 1, 1}});
  return driver.logits(sequence, 20);
}

// The plain way's bits: the other was found out, and the start goes on.
TEST(DecodeTrialsOnABadCard, WrongOrUncapturedWay_IsLeftOut) {
  GpuExecutorOptions options = small_options();
  options.max_logit_rows = 1;
  const std::vector<float> plain = logits_on(make_twin_device({.num_sms = 12}), options);
  options.choices = {};
  options.tries_decode = true;
  EXPECT_EQ(logits_on(std::make_unique<WrongDevice>(), options), plain);
  EXPECT_EQ(logits_on(std::make_unique<UncapturedDevice>(), options), plain);
}

}  // namespace
}  // namespace sparrow

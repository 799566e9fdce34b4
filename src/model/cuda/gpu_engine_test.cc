// The engine on the GPU executor, with two steps in flight and with one: clients see the same.
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>

#include "engine/engine.h"
#include "engine/test_support.h"
#include "kernels/cuda/gpu_test_support.h"
#include "model/cuda/gpu_executor.h"
#include "model/generated_weights.h"

namespace sparrow {
namespace {

// Passes everything on, as many steps at once as it is told, and counts those behind another.
class LimitedExecutor final : public Executor {
 public:
  LimitedExecutor(Executor& executor, int max_steps) : executor_(executor), max_steps_(max_steps) {}
  ExecutorLimits limits() const override {
    ExecutorLimits limits = executor_.limits();
    EXPECT_EQ(limits.max_steps_in_flight, 2);
    limits.max_steps_in_flight = max_steps_;
    return limits;
  }
  Status load(TensorSource& source) override { return executor_.load(source); }
  Ticket begin(const BatchPlan& plan) override {
    num_ahead += num_in_flight_++;
    return executor_.begin(plan);
  }
  void sample(Ticket ticket, const TokenMasks& masks) override { executor_.sample(ticket, masks); }
  const StepResult& wait(Ticket ticket) override {
    --num_in_flight_;
    const StepResult& result = executor_.wait(ticket);
    EXPECT_GE(result.elapsed_ns, 0);
    sum_ns += result.elapsed_ns;
    return result;
  }
  void release(SlotId slot) override { executor_.release(slot); }

  int num_ahead = 0;
  int64_t sum_ns = 0;

 private:
  Executor& executor_;
  const int max_steps_;
  int num_in_flight_ = 0;
};

ModelConfig tiny_config() {
  ModelConfig config;
  config.hidden_size = 64;
  config.intermediate_size = 96;
  config.num_layers = 2;
  config.num_heads = 4;
  config.num_kv_heads = 2;
  config.head_dim = 32;
  config.vocab_size = kTestVocab;
  config.max_position = 256;
  return config;
}

std::vector<Request> mixed_load() {
  std::vector<Request> requests;
  for (int i = 0; i < 6; ++i) {
    const auto id = static_cast<uint64_t>(i) + 1;
    Request request = test_request(id, prompt_of(id % 3, 5 + 7 * i), 10 + 3 * i);
    if (i % 2 == 1) request.sampling.temperature = 0.8;
    request.sampling.seed = id;
    if (i == 2) request.sampling.frequency_penalty = 0.5;
    if (i >= 3) request.sampling.num_top_logprobs = 2;
    // Few letters are likely, so that ends by a stop token and by a stop string come.
    request.sampling.logit_bias = {{'a', 8.0f}, {'b', 8.0f}, {kEos, 6.0f}};
    request.stop.token_ids = {kEos};
    request.stop.min_tokens = 4;
    if (i == 4) request.stop.strings = {"ab", "ba"};
    if (i == 5) request.num_choices = 2;
    requests.push_back(std::move(request));
  }
  return requests;
}

struct Served {
  std::map<std::pair<uint64_t, int>, Transcript> transcripts;
  int num_ahead = 0;
};

Served serve(GpuExecutor& gpu, int max_steps) {
  LimitedExecutor executor(gpu, max_steps);
  const std::shared_ptr<const Tokenizer> tokenizer = test_tokenizer();
  EngineOptions options;
  options.max_num_seqs = 4;     // some wait
  options.max_step_ms = 60000;  // the machine's speed decides nothing here
  CollectingSink sink;
  Engine engine(executor, *tokenizer, options, nullptr);
  const auto begin = RealClock().now();
  for (Request& request : mixed_load()) {
    EXPECT_TRUE(engine.submit(std::move(request), &sink).ok());
  }
  TimePoint now{};
  for (int step = 0; step < 1000 && !engine.idle(); ++step) {
    engine.step(now += from_ms(1));
    engine.check_integrity();
  }
  EXPECT_TRUE(engine.idle());
  EXPECT_EQ(engine.snapshot().num_blocks_live, 0);
  // No time of the device is counted twice.
  EXPECT_LE(Duration(executor.sum_ns), RealClock().now() - begin);
  return {std::move(sink.transcripts), executor.num_ahead};
}

class GpuEngine : public testing::TestWithParam<std::string> {};

TEST_P(GpuEngine, TwoStepsInFlight_SameAnswersAsOne) {
  for (const bool enforce_eager : {false, true}) {
    std::unique_ptr<GpuDevice> device = open_test_device(GetParam());
    if (device == nullptr) GTEST_SKIP() << "no GPU: " << why_no_cuda_device();
    GeneratedWeights weights(tiny_config(), 11, TensorType::kBF16);
    GpuExecutorOptions options;
    options.num_slots = 8;
    options.max_batch_tokens = 64;
    options.max_context = 128;
    options.max_logit_rows = 8;
    options.enforce_eager = enforce_eager;
    Result<std::unique_ptr<GpuExecutor>> executor =
        make_gpu_executor(std::move(device), weights, options);
    ASSERT_TRUE(executor.ok()) << executor.message();
    const Status loaded = (*executor)->load(weights);
    ASSERT_TRUE(loaded.ok()) << loaded.message();
    const Served one = serve(**executor, 1);
    const Served two = serve(**executor, 2);
    EXPECT_EQ(one.num_ahead, 0);
    EXPECT_GT(two.num_ahead, 10);
    ASSERT_EQ(one.transcripts.size(), 7u);
    ASSERT_EQ(two.transcripts.size(), 7u);
    for (const auto& [key, expected] : one.transcripts) {
      const Transcript& found = two.transcripts.at(key);
      EXPECT_EQ(found.answer, expected.answer) << key.first;
      EXPECT_EQ(found.tokens, expected.tokens) << key.first;
      EXPECT_EQ(found.finishes, expected.finishes) << key.first;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Gpu, GpuEngine, testing::ValuesIn(gpu_targets()), gpu_target_name);

}  // namespace
}  // namespace sparrow

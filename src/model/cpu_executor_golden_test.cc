// The executor's logits against PyTorch, and against the oracle for the quantized formats.
#include <gtest/gtest.h>

#include <algorithm>

#include "kernels/cpu_features.h"
#include "model/cpu_executor.h"
#include "model/executor_driver.h"
#include "model/golden_file.h"
#include "model/reference_forward.h"

namespace sparrow {
namespace {

CpuExecutorOptions small_options() {
  CpuExecutorOptions options;
  options.num_threads = 2;
  options.num_slots = 4;
  options.num_blocks = 320;
  options.max_batch_tokens = 320;
  return options;
}

std::unique_ptr<CpuExecutor> make_loaded(GeneratedWeights& weights,
                                         const CpuExecutorOptions& options) {
  Result<std::unique_ptr<CpuExecutor>> executor = make_cpu_executor(weights.config(), options);
  EXPECT_TRUE(executor.ok()) << executor.message();
  const Status loaded = (*executor)->load(weights);
  EXPECT_TRUE(loaded.ok()) << loaded.message();
  return std::move(executor).value();
}

// Logits after the given rows, the prompt fed in chunks.
std::vector<float> executor_logits(CpuExecutor& executor, const std::vector<TokenId>& tokens,
                                   const std::vector<int32_t>& rows, int chunk) {
  ExecutorDriver driver(executor);
  const int sequence = driver.add(tokens);
  const auto num_tokens = static_cast<int>(tokens.size());
  for (int done = 0; done < num_tokens; done += chunk) {
    const int count = std::min(chunk, num_tokens - done);
    const bool wanted = std::any_of(rows.begin(), rows.end(),
                                    [&](int32_t row) { return row >= done && row < done + count; });
    driver.step({{sequence, count, wanted ? count : 0}});
  }
  std::vector<float> logits;
  for (const int32_t row : rows) {
    const std::vector<float>& one = driver.logits(sequence, row);
    logits.insert(logits.end(), one.begin(), one.end());
  }
  return logits;
}

class CpuExecutorGolden : public testing::TestWithParam<std::string> {};

// fp32 chains of up to a few hundred products: about sqrt(n) * 6e-8 each, some 1e-6 over the
// layers; the requirement is 1e-5. bf16 K and V are 2^-9 off relative, some 2e-3 in the logits;
// the requirement is 1e-2.
// All instruction sets return the same bits, so long sequences run on the fastest alone,
// but for one model.
TEST_P(CpuExecutorGolden, GoldenModel_LogitsAgreeOnEveryIsa) {
  const Result<GoldenFile> golden = read_golden_file(GetParam());
  ASSERT_TRUE(golden.ok()) << golden.message();
  const int max_slow_tokens = GetParam() == golden_names().front() ? 300 : 17;
  for (const GoldenCase& one : golden->cases) {
    std::vector<const Kernels*> tables = runnable_kernels();
    if (one.num_tokens > max_slow_tokens) tables = {tables.back()};
    const bool exact = one.weights == TensorType::kF32;
    GeneratedWeights weights(golden->config, golden->seed, one.weights);
    std::vector<float> first;
    for (const Kernels* kernels : tables) {
      CpuExecutorOptions options = small_options();
      options.isa = kernels->name;
      options.kv_type = exact ? KvType::kF32 : KvType::kBF16;
      const std::unique_ptr<CpuExecutor> executor = make_loaded(weights, options);
      const std::vector<float> logits =
          executor_logits(*executor, weights.token_ids(one.num_tokens), one.rows, 320);
      EXPECT_LT(relative_l2(logits, one.logits), exact ? 1e-5 : 1e-2)
          << kernels->name << ", " << one.num_tokens << " tokens";
      EXPECT_EQ(num_wrong_argmax(logits, one.logits, golden->config.vocab_size), 0);
      if (first.empty()) first = logits;
      EXPECT_TRUE(logits == first) << kernels->name << " differs from " << tables[0]->name;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Golden, CpuExecutorGolden, testing::ValuesIn(golden_names()),
                         [](const auto& test) { return test.param; });

// The oracle runs on the exact values of the quantized weights, so what is left is the int8
// rounding of activations: a uniform error of absmax/127 steps, relative 1/127/sqrt(12) * (absmax /
// rms of about 3..5) = 0.7-1.1 % per product. Products of a layer add independently, and two
// layers with their residuals keep the relative error near that: 3 % is three times the estimate.
TEST(CpuExecutorQuantized, GroupedWeights_LogitsStayNearTheOracle) {
  const Result<GoldenFile> golden = read_golden_file("untied_group2_head64");
  ASSERT_TRUE(golden.ok()) << golden.message();
  ModelConfig config = golden->config;
  const std::vector<int32_t> rows = {0, 7, 30, 63};
  for (const bool tied : {false, true}) {
    config.tied_embeddings = tied;
    for (const TensorType type : {TensorType::kQ8_0, TensorType::kQ4_0, TensorType::kF16}) {
      GeneratedWeights weights(config, 21, type);
      const std::vector<TokenId> tokens = weights.token_ids(64);
      const Result<ReferenceModel> model = load_reference_model(weights);
      ASSERT_TRUE(model.ok()) << model.message();
      const std::vector<float> expected = reference_forward(*model, tokens, rows);
      for (const Kernels* kernels : runnable_kernels()) {
        CpuExecutorOptions options = small_options();
        options.isa = kernels->name;
        options.kv_type = KvType::kF32;
        const std::unique_ptr<CpuExecutor> executor = make_loaded(weights, options);
        const double error = relative_l2(executor_logits(*executor, tokens, rows, 64), expected);
        EXPECT_LT(error, type == TensorType::kF16 ? 1e-5 : 3e-2)
            << kernels->name << " " << tensor_type_info(type).name;
        EXPECT_EQ(error > 1e-5, type != TensorType::kF16) << "int8 activations expected";
      }
    }
  }
}

// Conversion while loading gives the same bits as a file that was quantized before.
TEST(CpuExecutorQuantized, WeightFormatOption_SameAsQuantizedFile) {
  const Result<GoldenFile> golden = read_golden_file("untied_group2_head64");
  ASSERT_TRUE(golden.ok()) << golden.message();
  GeneratedWeights plain(golden->config, 5, TensorType::kF32);
  GeneratedWeights quantized(golden->config, 5, TensorType::kQ8_0);
  CpuExecutorOptions options = small_options();
  const std::unique_ptr<CpuExecutor> expected = make_loaded(quantized, options);
  options.formats.plain = WeightFormat::kQ8_0;
  const std::unique_ptr<CpuExecutor> converted = make_loaded(plain, options);
  const std::vector<TokenId> tokens = plain.token_ids(40);
  EXPECT_EQ(executor_logits(*converted, tokens, {39}, 40),
            executor_logits(*expected, tokens, {39}, 40));
  EXPECT_EQ(converted->memory_plan().weights_bytes, expected->memory_plan().weights_bytes);
}

}  // namespace
}  // namespace sparrow

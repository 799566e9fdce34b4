// Real trained weights on the GPU executor: the bundled model's greedy answers are PyTorch's, word
// for word, in bf16, too.
#include <gtest/gtest.h>

#include "base/json.h"
#include "kernels/cuda/gpu_test_support.h"
#include "model/cuda/gpu_executor.h"
#include "model/executor_driver.h"
#include "model/model_files.h"
#include "tokenizer/tokenizer.h"

namespace sparrow {
namespace {

class GpuRealModel : public testing::TestWithParam<std::string> {};

TEST_P(GpuRealModel, BundledModel_AnswersAsPyTorchDoes) {
  std::unique_ptr<GpuDevice> device = open_test_device(GetParam());
  if (device == nullptr) GTEST_SKIP() << "no GPU: " << why_no_cuda_device();
  const Result<boost::json::value> golden = parse_json_file("tests/golden/nano_greedy.json");
  ASSERT_TRUE(golden.ok()) << golden.message();
  Result<ModelFiles> model = open_model("models/nano");
  ASSERT_TRUE(model.ok()) << model.message();
  Result<std::shared_ptr<const Tokenizer>> tokenizer =
      Tokenizer::create(std::move(model->tokenizer));
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.message();
  GpuExecutorOptions options;
  options.num_slots = 2;
  options.max_batch_tokens = 512;
  options.max_context = 256;
  options.max_logit_rows = 1;
  Result<std::unique_ptr<GpuExecutor>> executor =
      make_gpu_executor(std::move(device), *model->weights, options);
  ASSERT_TRUE(executor.ok()) << executor.message();
  const Status loaded = (*executor)->load(*model->weights);
  ASSERT_TRUE(loaded.ok()) << loaded.message();
  ExecutorDriver driver(**executor);
  const boost::json::array& cases = golden->at("cases").as_array();
  const size_t num_cases = GetParam() == "twin" ? 1 : cases.size();  // ten seconds each on the twin
  for (size_t i = 0; i < num_cases; ++i) {
    const std::string prompt(cases[i].at("prompt").as_string());
    const std::string text(cases[i].at("text").as_string());
    const std::vector<TokenId> expected = (*tokenizer)->encode(text);
    const int sequence = driver.add((*tokenizer)->encode(prompt));
    const std::vector<TokenId> found = driver.generate(sequence, static_cast<int>(expected.size()));
    EXPECT_EQ((*tokenizer)->decode(found), text) << prompt;
    driver.remove(sequence);
  }
}

INSTANTIATE_TEST_SUITE_P(Gpu, GpuRealModel, testing::ValuesIn(gpu_targets()), gpu_target_name);

}  // namespace
}  // namespace sparrow

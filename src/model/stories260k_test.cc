// Real trained weights through every format: the greedy text of stories260K is the published one.
#include <gtest/gtest.h>

#include <fstream>

#include "base/json.h"
#include "model/cpu_executor.h"
#include "model/executor_driver.h"
#include "model/golden_file.h"
#include "model/model_files.h"
#include "model/reference_forward.h"
#include "tests/support/stories260k.h"
#include "tests/support/test_data.h"

namespace sparrow {
namespace {

struct Expected {
  std::vector<TokenId> ids;
  std::vector<float> first_logits;  // of the first 16 ids
};

std::string data_dir() { return test_data_path("tinyllamas-stories260k"); }

Result<Expected> read_expected() {
  ASSIGN_OR_RETURN(const boost::json::value json,
                   parse_json_file(data_dir() + "/expected_greedy.json"));
  Expected expected;
  for (const auto& id : json.at("greedy_ids").as_array()) {
    expected.ids.push_back(id.to_number<TokenId>());
  }
  for (const auto& logit : json.at("first_step_logits_first16").as_array()) {
    expected.first_logits.push_back(static_cast<float>(logit.to_number<double>()));
  }
  return expected;
}

struct Variant {
  const char* file;
  TensorType type;
  bool exact;  // the text of 200 tokens is the published one
};

class Stories260k : public testing::TestWithParam<Variant> {};

// F32 and BF16 weights must reproduce all 200 ids. Quantized weights are other weights: there the
// first logits bound the damage (RTN of a 260k-parameter model: some percent).
TEST_P(Stories260k, GreedyFromBos_IsThePublishedText) {
  const Variant variant = GetParam();
  if (!std::ifstream(data_dir() + "/expected_greedy.json").good()) {
    GTEST_SKIP() << data_dir() << " is not there";
  }
  const Result<Expected> expected = read_expected();
  ASSERT_TRUE(expected.ok()) << expected.message();
  const TemporaryDirectory directory;
  const Status converted =
      convert_stories260k(data_dir(), directory.path(variant.file), variant.type);
  ASSERT_TRUE(converted.ok()) << converted.message();
  Result<ModelFiles> model = open_model(directory.path(variant.file));
  ASSERT_TRUE(model.ok()) << model.message();
  CpuExecutorOptions options;
  options.num_threads = 2;
  options.num_slots = 1;
  options.num_blocks = 32;
  if (variant.type == TensorType::kF32) options.kv_type = KvType::kF32;
  Result<std::unique_ptr<CpuExecutor>> executor = make_cpu_executor(model->config, options);
  ASSERT_TRUE(executor.ok()) << executor.message();
  const Status loaded = (*executor)->load(*model->weights);
  ASSERT_TRUE(loaded.ok()) << loaded.message();

  ExecutorDriver driver(**executor);
  const int sequence = driver.add({1});
  const std::vector<TokenId> ids =
      driver.generate(sequence, static_cast<int>(expected->ids.size()));
  if (variant.exact) {
    EXPECT_EQ(ids, expected->ids);
  }
  const std::vector<float>& row = driver.logits(sequence, 0);
  const std::vector<float> first(row.begin(), row.begin() + 16);
  const double bound = variant.type == TensorType::kF32    ? 1e-5
                       : variant.type == TensorType::kBF16 ? 1e-2
                                                           : 2e-1;
  EXPECT_LT(relative_l2(first, expected->first_logits), bound);
}

INSTANTIATE_TEST_SUITE_P(Files, Stories260k,
                         testing::Values(Variant{"f32", TensorType::kF32, true},
                                         Variant{"f32.gguf", TensorType::kF32, true},
                                         Variant{"bf16", TensorType::kBF16, true},
                                         Variant{"f16.gguf", TensorType::kF16, true},
                                         Variant{"q8_0.gguf", TensorType::kQ8_0, false},
                                         Variant{"q4_0.gguf", TensorType::kQ4_0, false}),
                         [](const auto& test) {
                           std::string name = test.param.file;
                           const size_t dot = name.find('.');
                           return dot == std::string::npos ? name + "_directory"
                                                           : name.substr(0, dot) + "_gguf";
                         });

}  // namespace
}  // namespace sparrow

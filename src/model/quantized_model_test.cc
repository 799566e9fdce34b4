// Quantized Hugging Face checkpoints from the files to the logits: the CPU executor agrees with the
// reference forward pass over the values that were packed.
#include <gtest/gtest.h>

#include "base/compute_pool.h"
#include "model/cpu_executor.h"
#include "model/cpu_weights.h"
#include "model/executor_driver.h"
#include "model/files/quantized_checkpoint.h"
#include "model/golden_file.h"
#include "model/model_files.h"
#include "model/reference_forward.h"
#include "tests/support/test_data.h"

namespace sparrow {
namespace {

TEST(QuantizedModel, LogitsAreThoseOfThePackedValues) {
  struct Case {
    CheckpointOptions options;
    double bound;  // int8 activations with one scale a token; F32 products of act order have none
  };
  const Case cases[] = {
      {{.kind = CheckpointKind::kAwq, .group_size = 128}, 3e-2},
      {{.kind = CheckpointKind::kGptqV1, .group_size = 32}, 3e-2},
      {{.kind = CheckpointKind::kGptqV1, .group_list = true, .act_order = true}, 1e-4},
      {{.kind = CheckpointKind::kGptq8, .group_size = 128}, 3e-2},
      {{.kind = CheckpointKind::kGptq8Zeros, .group_size = 32}, 1e-4},
      {{.kind = CheckpointKind::kPacked4, .group_size = 64, .scale_dtype = "BF16"}, 3e-2},
      {{.kind = CheckpointKind::kPacked8, .group_size = -1, .scale_dtype = "F32"}, 3e-2},
      {{.kind = CheckpointKind::kInt8, .group_size = -1, .scale_dtype = "BF16"}, 3e-2},
  };
  const std::vector<TokenId> tokens = {5, 200, 17, 17, 90, 3, 255, 128, 64};
  for (const Case& one : cases) {
    const TemporaryDirectory temporary;
    make_checkpoint(one.options).write(temporary.path());
    const Result<ModelFiles> model = open_model(temporary.path());
    ASSERT_TRUE(model.ok()) << model.message();
    const ReferenceModel reference = load_reference_model(*model->weights).value();
    const std::vector<int32_t> rows = {static_cast<int32_t>(tokens.size()) - 1};
    const std::vector<float> expected = reference_forward(reference, tokens, rows);

    CpuExecutorOptions options;
    options.num_threads = 1;
    options.num_slots = 1;
    options.num_blocks = 4;
    options.kv_type = KvType::kF32;
    const auto executor = make_cpu_executor(model->config, options);
    ASSERT_TRUE(executor.ok()) << executor.message();
    const Status loaded = (*executor)->load(*model->weights);
    ASSERT_TRUE(loaded.ok()) << loaded.message();
    ExecutorDriver driver(**executor);
    const int sequence = driver.add(tokens);
    driver.run_all(sequence, 4);
    const std::vector<float>& logits = driver.logits(sequence, rows[0]);
    EXPECT_LT(relative_l2(logits, expected), one.bound) << model->weights->format_name();
  }
}

// One scale a row is held once, not in every block: the matrices that have it take 8 bits a weight.
TEST(QuantizedModel, EightBitsPerChannel_ArePackedWithOneScaleARow) {
  for (const CheckpointKind kind :
       {CheckpointKind::kPacked8, CheckpointKind::kInt8, CheckpointKind::kGptq8}) {
    for (const int64_t group_size : {-1, 128}) {
      const TemporaryDirectory temporary;
      make_checkpoint({.kind = kind, .group_size = group_size}).write(temporary.path());
      const Result<ModelFiles> model = open_model(temporary.path());
      ASSERT_TRUE(model.ok()) << model.message();
      ComputePool pool(1);
      const Result<CpuWeights> weights = load_cpu_weights(*model->weights, {}, pool);
      ASSERT_TRUE(weights.ok()) << weights.message();
      EXPECT_EQ(weights->total_bytes(), packed_weights_bytes(*model->weights, {}).value());
      const CpuLayerWeights& layer = weights->layers[0];
      // Rows of 384 inputs in groups of 128 have three scales.
      EXPECT_EQ(layer.down.format(), group_size < 0 ? WeightFormat::kI8Row : WeightFormat::kI8G128);
      if (group_size < 0) {
        EXPECT_EQ(layer.down.bytes(), layer.down.rows() * (layer.down.cols() + 4));
      }
      // Another format that was asked for wins.
      const Result<CpuWeights> head =
          load_cpu_weights(*model->weights, {.head = WeightFormat::kQ8_0}, pool);
      ASSERT_TRUE(head.ok()) << head.message();
      EXPECT_EQ(head->head().format(), WeightFormat::kQ8_0);
    }
  }
}

TEST(QuantizedModel, ScaleThatIsNoNumber_IsRefusedByName) {
  const TemporaryDirectory temporary;
  Checkpoint checkpoint = make_checkpoint({.kind = CheckpointKind::kAwq});
  std::string& scales = checkpoint.tensors["model.layers.0.mlp.up_proj.scales"].bytes;
  scales[10] = '\0';
  scales[11] = '\x7c';  // infinity
  checkpoint.write(temporary.path());
  const Result<ModelFiles> model = open_model(temporary.path());
  ASSERT_TRUE(model.ok()) << model.message();
  CpuExecutorOptions options;
  options.num_threads = 1;
  options.num_slots = 1;
  options.num_blocks = 4;
  const auto executor = make_cpu_executor(model->config, options);
  ASSERT_TRUE(executor.ok()) << executor.message();
  const Status loaded = (*executor)->load(*model->weights);
  ASSERT_FALSE(loaded.ok());
  EXPECT_NE(loaded.message().find("up_proj.weight"), std::string::npos) << loaded.message();
  EXPECT_NE(loaded.message().find("not a finite number"), std::string::npos) << loaded.message();
}

}  // namespace
}  // namespace sparrow

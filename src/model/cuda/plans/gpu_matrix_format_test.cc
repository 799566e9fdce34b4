#include "model/cuda/plans/gpu_matrix_format.h"

#include <gtest/gtest.h>

namespace sparrow {
namespace {

constexpr const char* kPlain = "model.layers.0.mlp.gate_proj.weight";
constexpr const char* kHead = "lm_head.weight";
constexpr const char* kEmbedding = "model.embed_tokens.weight";
constexpr GpuMatrixFormat kBF16{GpuWeightFormat::kBF16, 0, false};

SourceTensor tensor_of(TensorType type, int64_t cols = 1536) {
  SourceTensor tensor;
  tensor.type = type;
  tensor.rows = 256;
  tensor.cols = cols;
  return tensor;
}

std::string name_of(const char* matrix, const SourceTensor& tensor,
                    const GpuExecutorOptions& options = {}, bool tied = false) {
  return gpu_matrix_format_name(gpu_matrix_format(matrix, tensor, tied, options));
}

TEST(GpuMatrixFormat, WithoutAWish_IsWhatTheFileHas) {
  EXPECT_EQ(name_of(kPlain, tensor_of(TensorType::kBF16)), "bf16");
  EXPECT_EQ(name_of(kPlain, tensor_of(TensorType::kF32)), "bf16");
  EXPECT_EQ(name_of(kPlain, tensor_of(TensorType::kF16)), "f16");
  EXPECT_EQ(name_of(kPlain, tensor_of(TensorType::kQ8_0)), "int8 g32");
  EXPECT_EQ(name_of(kPlain, tensor_of(TensorType::kI8G128)), "int8 g128");
  EXPECT_EQ(name_of(kPlain, tensor_of(TensorType::kI4G64)), "int4 g64");
  EXPECT_EQ(name_of(kPlain, tensor_of(TensorType::kQ4_0)), "int4 g32");
  EXPECT_EQ(name_of(kPlain, tensor_of(TensorType::kQ6_K)), "int8 g32");
  SourceTensor per_row = tensor_of(TensorType::kI8G128);
  per_row.one_scale_per_row = true;
  EXPECT_EQ(name_of(kPlain, per_row), "int8 per row");
}

TEST(GpuMatrixFormat, Wishes_ReachTheirMatrixOnlyAndNeverWiden) {
  GpuExecutorOptions options;
  options.weight_format = GpuWeightFormat::kInt4;
  options.head_format = GpuWeightFormat::kInt8;
  const SourceTensor plain = tensor_of(TensorType::kBF16);
  EXPECT_EQ(name_of(kPlain, plain, options), "int4 g128");
  EXPECT_EQ(name_of(kHead, plain, options), "int8 g128");
  EXPECT_EQ(name_of(kEmbedding, plain, options), "bf16");
  EXPECT_EQ(name_of(kEmbedding, plain, options, true), "int8 g128");  // it is the head
  EXPECT_EQ(name_of(kEmbedding, tensor_of(TensorType::kQ8_0), options), "bf16");
  options.weight_format = GpuWeightFormat::kInt8;
  EXPECT_EQ(name_of(kPlain, tensor_of(TensorType::kI4G32), options), "int4 g32");
  EXPECT_EQ(name_of(kPlain, tensor_of(TensorType::kQ8_0), options), "int8 g32");
  options.weight_format = GpuWeightFormat::kF16;
  EXPECT_EQ(name_of(kPlain, tensor_of(TensorType::kI4G32), options), "f16");
}

TEST(GpuMatrixFormat, PlainFormat_IsOfPlainWeightsAndTheEmbeddingOnly) {
  GpuExecutorOptions options;
  options.plain_format = GpuWeightFormat::kF16;
  EXPECT_EQ(name_of(kPlain, tensor_of(TensorType::kBF16), options), "f16");
  EXPECT_EQ(name_of(kHead, tensor_of(TensorType::kF32), options), "f16");
  EXPECT_EQ(name_of(kEmbedding, tensor_of(TensorType::kQ8_0), options), "f16");
  EXPECT_EQ(name_of(kPlain, tensor_of(TensorType::kQ8_0), options), "int8 g32");
}

TEST(GpuMatrixFormat, RowsThatNoGroupDivides_FallBack) {
  GpuExecutorOptions options;
  options.weight_format = GpuWeightFormat::kInt4;
  EXPECT_EQ(name_of(kPlain, tensor_of(TensorType::kBF16, 192), options), "int4 g64");
  EXPECT_EQ(name_of(kPlain, tensor_of(TensorType::kBF16, 96), options), "int4 g32");
  EXPECT_EQ(name_of(kPlain, tensor_of(TensorType::kBF16, 100), options), "bf16");
}

// Bits per weight as the capacity guide has them: Q8_0 8.5, int8 g128 8.125, int4 4.125 without
// zero points; the guide's 4.156 packs two zero points in a byte, here each has its own.
TEST(GpuMatrixFormat, Bytes_AreWeightsAndScales) {
  const int64_t weights = int64_t{8960} * 1536;
  const auto bits = [&](const GpuMatrixFormat& format) {
    return static_cast<double>(format.bytes(8960, 1536).total()) * 8 / static_cast<double>(weights);
  };
  EXPECT_EQ(bits(kBF16), 16);
  EXPECT_EQ(bits({GpuWeightFormat::kInt8, 32, false}), 8.5);
  EXPECT_EQ(bits({GpuWeightFormat::kInt8, 128, false}), 8.125);
  EXPECT_EQ(bits({GpuWeightFormat::kInt4, 32, false}), 4.5);
  EXPECT_EQ(bits({GpuWeightFormat::kInt4, 128, false}), 4.125);
  EXPECT_EQ(bits({GpuWeightFormat::kInt4, 128, true}), 4.1875);
  constexpr GpuMatrixFormat kPerRow{GpuWeightFormat::kInt8, 0, false};
  EXPECT_EQ(kPerRow.bytes(8960, 1536).total(), static_cast<size_t>(weights) + 2 * 8960);
}

}  // namespace
}  // namespace sparrow

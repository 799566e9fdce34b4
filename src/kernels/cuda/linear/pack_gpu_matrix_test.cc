#include "kernels/cuda/linear/pack_gpu_matrix.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>

#include "quant/block_formats.h"
#include "quant/convert_int_groups.h"
#include "quant/convert_row.h"
#include "quant/int_group_blocks.h"
#include "quant/random_blocks.h"
#include "tensor/half.h"

namespace sparrow {
namespace {

constexpr int64_t kRows = 5;

struct Packed {
  GpuMatrixLayout layout;
  std::vector<std::byte> values, scales;
  std::vector<uint8_t> zeros;
  Status status;

  std::vector<float> row(int64_t index) const {
    std::vector<float> out(static_cast<size_t>(layout.cols));
    unpack_gpu_row(layout.matrix(values.data(), scales.data(), zeros.data()), index, out.data());
    return out;
  }
};

Packed pack(const GpuPackInput& input, const GpuPackOptions& options = {}) {
  Packed packed;
  const Result<GpuMatrixLayout> layout = plan_gpu_matrix(input, options);
  EXPECT_TRUE(layout.ok()) << layout.message();
  packed.layout = *layout;
  const auto rows = static_cast<size_t>(input.rows), row_bytes = input.bytes.size() / rows;
  packed.values.resize(layout->values_row_bytes() * rows);
  packed.scales.resize(layout->scales_row_bytes() * rows);
  packed.zeros.resize(layout->zeros_row_bytes() * rows);
  EXPECT_EQ(layout->total_bytes(),
            packed.values.size() + packed.scales.size() + packed.zeros.size());
  GpuRowPacker packer(*layout);
  for (size_t row = 0; row < rows && packed.status.ok(); ++row) {
    packed.status =
        packer.pack(static_cast<int64_t>(row), input.bytes.subspan(row * row_bytes, row_bytes),
                    {packed.values.data() + row * layout->values_row_bytes(),
                     packed.scales.data() + row * layout->scales_row_bytes(),
                     packed.zeros.data() + row * layout->zeros_row_bytes()});
  }
  return packed;
}

std::vector<float> source_row(const GpuPackInput& input, int64_t row) {
  std::vector<float> values(static_cast<size_t>(input.cols));
  const size_t row_bytes = input.bytes.size() / static_cast<size_t>(input.rows);
  dequantize_row(input.type, input.bytes.data() + static_cast<size_t>(row) * row_bytes, input.cols,
                 values.data());
  return values;
}

std::vector<std::byte> random_rows(TensorType type, int64_t cols) {
  std::vector<std::byte> bytes = random_block_rows(type, kRows, cols, 3, 0.1f);
  const auto step = static_cast<size_t>(tensor_type_info(type).block_bytes);
  for (size_t at = 0; at < bytes.size() && is_int4_group(type); at += step) {
    bytes[at + offsetof(BlockI4<32>, zero)] &= std::byte{15};
  }
  return bytes;
}

constexpr TensorType kExactTypes[] = {
    TensorType::kBF16,  TensorType::kQ8_0,   TensorType::kQ4_0,   TensorType::kQ5_0,
    TensorType::kI4G32, TensorType::kI4G64,  TensorType::kI4G128, TensorType::kI8G32,
    TensorType::kI8G64, TensorType::kI8G128, TensorType::kIQ4_NL,
};

TEST(PackGpuMatrix, ExactFormats_UnpackToWhatTheSourceSays_BitForBit) {
  for (const TensorType type : kExactTypes) {
    const std::vector<std::byte> bytes = random_rows(type, 384);
    const GpuPackInput input = {type, kRows, 384, bytes, false};
    const Packed packed = pack(input);
    EXPECT_TRUE(packed.layout.is_exact);
    ASSERT_TRUE(packed.status.ok()) << packed.status.message();
    for (int64_t row = 0; row < kRows; ++row) {
      const std::vector<float> expected = source_row(input, row), found = packed.row(row);
      EXPECT_EQ(std::memcmp(found.data(), expected.data(), expected.size() * sizeof(float)), 0)
          << tensor_type_info(type).name << ", row " << row;
    }
  }
}

// The order that kernels rely on, spelled out for one group.
TEST(PackGpuMatrix, Int4_SixteenBytesHoldThirtyTwoInputsInPairsSixteenBitsApart) {
  BlockQ4_0 block = {f16_from_float(1.0f), {}};
  for (int e = 0; e < 32; ++e) {
    block.nibbles[e % 16] =
        static_cast<uint8_t>(block.nibbles[e % 16] | (e * 5 % 16) << (e / 16 * 4));
  }
  std::vector<std::byte> bytes(sizeof block);
  std::memcpy(bytes.data(), &block, sizeof block);
  const Packed packed = pack({TensorType::kQ4_0, 1, 32, bytes, false});
  ASSERT_EQ(packed.values.size(), 16u);
  for (int e = 0; e < 32; ++e) {
    uint32_t word;
    std::memcpy(&word, packed.values.data() + e / 8 * 4, 4);
    EXPECT_EQ(word >> (e % 8 / 2 * 4 + e % 2 * 16) & 15, static_cast<uint32_t>(e * 5 % 16)) << e;
  }
}

TEST(PackGpuMatrix, Scales_AreF16OnlyWhereAllAreExact) {
  std::vector<std::byte> bytes = random_rows(TensorType::kI8G32, 64);
  set_all_scales(TensorType::kI8G32, bytes, 0.125f);
  EXPECT_FALSE(pack({TensorType::kI8G32, kRows, 64, bytes, false}).layout.has_f32_scales);
  const float fine = 0.125f + 0x1p-20f;
  std::memcpy(bytes.data() + bytes.size() - 36, &fine, sizeof fine);
  const Packed packed = pack({TensorType::kI8G32, kRows, 64, bytes, false});
  EXPECT_TRUE(packed.layout.has_f32_scales);
  EXPECT_TRUE(packed.status.ok());
}

TEST(PackGpuMatrix, Zeros_AreStoredOnlyWhereOneIsNotEight) {
  std::vector<std::byte> bytes = random_rows(TensorType::kI4G32, 64);
  for (size_t at = 4; at < bytes.size(); at += 24) bytes[at] = std::byte{8};
  EXPECT_FALSE(pack({TensorType::kI4G32, kRows, 64, bytes, false}).layout.has_zeros);
  bytes[4 + 24] = std::byte{3};
  EXPECT_TRUE(pack({TensorType::kI4G32, kRows, 64, bytes, false}).layout.has_zeros);
  bytes[4 + 24] = std::byte{16};
  EXPECT_FALSE(pack({TensorType::kI4G32, kRows, 64, bytes, false}).status.ok());
}

TEST(PackGpuMatrix, OneScalePerRow_IsOneGroup) {
  std::vector<std::byte> bytes = random_rows(TensorType::kI8G32, 96);
  set_all_scales(TensorType::kI8G32, bytes, 0.3f);
  const GpuPackInput input = {TensorType::kI8G32, kRows, 96, bytes, true};
  const Packed packed = pack(input);
  EXPECT_EQ(packed.layout.group, 96);
  EXPECT_EQ(packed.scales.size(), kRows * sizeof(float));
  EXPECT_EQ(packed.row(4), source_row(input, 4));
  const float other = 0.25f;  // not what was promised
  std::memcpy(bytes.data() + 36, &other, sizeof other);
  EXPECT_FALSE(pack(input).status.ok());
}

TEST(PackGpuMatrix, BytesNotAtHand_PlansForTheLargest) {
  const Result<GpuMatrixLayout> layout =
      plan_gpu_matrix({TensorType::kI4G128, 2, 256, {}, false}, {});
  ASSERT_TRUE(layout.ok());
  EXPECT_EQ(layout->total_bytes(), 2u * (128 + 2 * 4 + 2));
}

TEST(PackGpuMatrix, TypesWithoutIntegersOnTheCard_AreRoundedOnce) {
  for (const TensorType type : {TensorType::kQ4_K, TensorType::kQ6_K, TensorType::kQ4_1,
                                TensorType::kQ5_1, TensorType::kQ2_K}) {
    for (const GpuFloat plain : {GpuFloat::kBF16, GpuFloat::kF16}) {
      const std::vector<std::byte> bytes = random_block_rows(type, kRows, 256, 8, 0.01f);
      const GpuPackInput input = {type, kRows, 256, bytes, false};
      GpuPackOptions options;
      options.plain_type = plain;
      const Packed packed = pack(input, options);
      EXPECT_FALSE(packed.layout.is_exact);
      ASSERT_TRUE(packed.status.ok()) << packed.status.message();
      std::vector<float> expected = source_row(input, 2);
      for (float& value : expected) {
        value = plain == GpuFloat::kBF16 ? float_from_bf16(bf16_from_float(value))
                                         : float_from_f16(f16_from_float(value));
      }
      EXPECT_EQ(packed.row(2), expected);
    }
  }
}

TEST(PackGpuMatrix, F32_IsRoundedOnlyWhenAsked) {
  const std::vector<std::byte> bytes = random_rows(TensorType::kF32, 33);
  const GpuPackInput input = {TensorType::kF32, kRows, 33, bytes, false};
  EXPECT_FALSE(plan_gpu_matrix(input, {}).ok());
  GpuPackOptions options;
  options.may_round_f32 = true;
  const Packed packed = pack(input, options);
  const std::vector<float> source = source_row(input, 1), found = packed.row(1);
  for (size_t i = 0; i < 33; ++i) EXPECT_EQ(found[i], float_from_bf16(bf16_from_float(source[i])));
}

// Half a step of the scale: max / 127.5 a row, max / 7.5 a group, each scale itself rounded to 11
// bits (times up to 127.5 or 7.5 steps: 2^-11 of the largest value).
TEST(PackGpuMatrix, ConversionOnLoad_ErrsByHalfAStep) {
  for (const int64_t cols : {384, 96}) {
    const std::vector<std::byte> bytes = random_rows(TensorType::kBF16, cols);
    const GpuPackInput input = {TensorType::kBF16, kRows, cols, bytes, false};
    for (const auto conversion : {GpuWeightConversion::kInt8, GpuWeightConversion::kInt4}) {
      GpuPackOptions options;
      options.conversion = conversion;
      const bool int8 = conversion == GpuWeightConversion::kInt8;
      const Packed packed = pack(input, options);
      ASSERT_TRUE(packed.status.ok());
      EXPECT_EQ(packed.layout.group, int8 ? cols : cols == 384 ? 128 : 32);
      EXPECT_FALSE(packed.layout.has_f32_scales);
      const auto group = static_cast<size_t>(packed.layout.group);
      const std::vector<float> source = source_row(input, 3), found = packed.row(3);
      for (size_t begin = 0; begin < source.size(); begin += group) {
        float largest = 0;
        for (size_t i = begin; i < begin + group; ++i) {
          largest = std::max(largest, std::fabs(source[i]));
        }
        const float tolerance = largest * (0.5f / (int8 ? 127.5f : 7.5f) * 1.001f + 0x1p-11f);
        for (size_t i = begin; i < begin + group; ++i) {
          EXPECT_NEAR(found[i], source[i], tolerance);
        }
      }
    }
  }
}

TEST(PackGpuMatrix, NanAndInfinity_AreRefusedWithTheRow) {
  for (const TensorType type : {TensorType::kBF16, TensorType::kF16, TensorType::kQ8_0,
                                TensorType::kI4G64, TensorType::kQ4_K}) {
    for (const float bad : {NAN, INFINITY}) {
      std::vector<std::byte> bytes = random_rows(type, 256);
      set_block_scales(type, bytes.data() + bytes.size() / kRows * 3, bad, 1.0f);
      const Packed packed = pack({type, kRows, 256, bytes, false});
      EXPECT_NE(std::string(packed.status.message()).find("row 3"), std::string::npos)
          << tensor_type_info(type).name << ": " << packed.status.message();
    }
  }
}

// 1e5 is a bf16, but no fp16; as an fp16 scale (1e7 / 127.5) it is none either.
TEST(PackGpuMatrix, ValuesBeyondTheTarget_AreRefusedWithTheRow) {
  std::vector<std::byte> bytes = random_rows(TensorType::kBF16, 32);
  const uint16_t large = bf16_from_float(1e7f);
  std::memcpy(bytes.data() + 64, &large, sizeof large);
  GpuPackOptions f16, int8;
  f16.plain_type = GpuFloat::kF16;
  int8.conversion = GpuWeightConversion::kInt8;
  for (const GpuPackOptions& options : {f16, int8}) {
    const Packed packed = pack({TensorType::kBF16, kRows, 32, bytes, false}, options);
    EXPECT_NE(std::string(packed.status.message()).find("row 1"), std::string::npos);
  }
}

TEST(PackGpuMatrix, ShapesThatDoNotFit_AreRefused) {
  GpuPackOptions int8, int4;
  int8.conversion = GpuWeightConversion::kInt8;
  int4.conversion = GpuWeightConversion::kInt4;
  const std::vector<std::byte> bytes(2 * 40 * 2);
  EXPECT_FALSE(plan_gpu_matrix({TensorType::kBF16, 2, 40, bytes, false}, int8).ok());
  EXPECT_FALSE(plan_gpu_matrix({TensorType::kBF16, 2, 40, bytes, false}, int4).ok());
  EXPECT_TRUE(plan_gpu_matrix({TensorType::kBF16, 2, 40, bytes, false}, {}).ok());
  EXPECT_FALSE(plan_gpu_matrix({TensorType::kBF16, 2, 41, bytes, false}, {}).ok());
  EXPECT_FALSE(plan_gpu_matrix({TensorType::kQ8_0, 2, 40, {}, false}, {}).ok());
  EXPECT_FALSE(plan_gpu_matrix({TensorType::kBF16, 0, 40, {}, false}, {}).ok());
  EXPECT_FALSE(plan_gpu_matrix({TensorType::kBF16, int64_t{1} << 31, 40, {}, false}, {}).ok());
}

}  // namespace
}  // namespace sparrow

#include "quant/convert_int_groups.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "base/random.h"
#include "quant/convert_row.h"
#include "quant/int_group_blocks.h"
#include "tensor/half.h"

namespace sparrow {
namespace {

constexpr TensorType kTypes[] = {TensorType::kI4G32, TensorType::kI4G64, TensorType::kI4G128,
                                 TensorType::kI8G32, TensorType::kI8G64, TensorType::kI8G128};
constexpr int64_t kCols = 256;

bool is_4_bit(TensorType type) { return bits_per_weight(type) < 8; }

std::vector<float> random_row(uint64_t seed) {
  std::vector<float> row(kCols);
  for (size_t i = 0; i < row.size(); ++i) {
    row[i] = static_cast<float>(2 * random_uniform(seed, 0, i) - 1);
  }
  return row;
}

TEST(ConvertIntGroups, HandWrittenI4Block_LowNibbleIsTheEvenElement) {
  BlockI4<32> block = {};
  block.scale = 0.25f;
  block.zero = 5;
  for (size_t i = 0; i < 16; ++i) block.nibbles[i] = static_cast<uint8_t>(i | (15 - i) << 4);
  float out[32];
  dequantize_row(TensorType::kI4G32, reinterpret_cast<std::byte*>(&block), 32, out);
  for (int i = 0; i < 16; ++i) {
    EXPECT_EQ(out[2 * i], 0.25f * static_cast<float>(i - 5));
    EXPECT_EQ(out[2 * i + 1], 0.25f * static_cast<float>(15 - i - 5));
  }
}

TEST(ConvertIntGroups, HandWrittenI8Block_EveryByteCounts) {
  BlockI8<64> block = {};
  block.scale = -3.0f;
  for (int i = 0; i < 64; ++i) block.values[i] = static_cast<int8_t>(i * 4 - 128);
  float out[64];
  dequantize_row(TensorType::kI8G64, reinterpret_cast<std::byte*>(&block), 64, out);
  for (int i = 0; i < 64; ++i) EXPECT_EQ(out[i], -3.0f * static_cast<float>(i * 4 - 128));
}

TEST(ConvertIntGroups, EveryType_ErrorStaysInsideHalfAStepOfItsOwnBlock) {
  const std::vector<float> row = random_row(3);
  for (const TensorType type : kTypes) {
    const auto group = static_cast<size_t>(tensor_type_info(type).block_elements);
    std::vector<std::byte> bytes(tensor_row_bytes(type, kCols) + 1);
    std::vector<float> back(row.size());
    quantize_row(type, row.data(), kCols, bytes.data() + 1);  // rows need no alignment
    dequantize_row(type, bytes.data() + 1, kCols, back.data());
    for (size_t begin = 0; begin < row.size(); begin += group) {
      float largest = 0;
      for (size_t i = begin; i < begin + group; ++i) largest = std::max(largest, std::abs(row[i]));
      // The range ends half a step short of max|x| above and half a step behind it below.
      const float step = largest / (is_4_bit(type) ? 7.5f : 127.5f);
      for (size_t i = begin; i < begin + group; ++i) {
        ASSERT_LE(std::abs(row[i] - back[i]), step * 0.50001f)
            << tensor_type_info(type).name << " " << i;
      }
    }
  }
}

TEST(ConvertIntGroups, RoundedScale_IsTheOneTheValuesWereMadeWith) {
  const std::vector<float> row = random_row(4);
  for (const TensorType type : kTypes) {
    std::vector<std::byte> bytes(tensor_row_bytes(type, kCols));
    quantize_int_groups(type, TensorType::kBF16, row.data(), kCols, bytes.data());
    float scale;
    std::memcpy(&scale, bytes.data(), sizeof scale);
    EXPECT_EQ(scale, float_from_bf16(bf16_from_float(scale)));
    std::vector<float> back(row.size());
    dequantize_row(type, bytes.data(), kCols, back.data());
    const int high = is_4_bit(type) ? 7 : 127;
    for (size_t i = 0; i < static_cast<size_t>(tensor_type_info(type).block_elements); ++i) {
      const float steps = std::min(std::nearbyint(row[i] / scale), static_cast<float>(high));
      EXPECT_EQ(back[i], scale * std::max(steps, static_cast<float>(-high - 1)));
    }
  }
}

TEST(ConvertIntGroups, Channel_IsTheGroupRuleOverTheWholeRow) {
  std::vector<float> row = random_row(6);
  row[77] = -3.0f;  // alone decides the scale
  for (const TensorType type : kTypes) {
    std::vector<std::byte> bytes(tensor_row_bytes(type, kCols));
    std::vector<float> back(row.size());
    quantize_int_channel(type, TensorType::kF32, row.data(), kCols, bytes.data());
    dequantize_row(type, bytes.data(), kCols, back.data());
    const float scale = 3.0f / (is_4_bit(type) ? 7.5f : 127.5f);
    for (size_t i = 0; i < row.size(); ++i) {
      EXPECT_EQ(std::nearbyint(back[i] / scale) * scale, back[i]);
      EXPECT_LE(std::abs(row[i] - back[i]), scale * 0.50001f);
    }
  }
}

TEST(ConvertIntGroups, ZeroAndTinyRows_StayFinite) {
  for (const TensorType type : kTypes) {
    for (const float value : {0.0f, std::numeric_limits<float>::denorm_min(), 1e-40f}) {
      const std::vector<float> row(kCols, value);
      std::vector<std::byte> bytes(tensor_row_bytes(type, kCols));
      std::vector<float> back(row.size(), 1.0f);
      quantize_row(type, row.data(), kCols, bytes.data());
      EXPECT_EQ(first_non_finite(type, bytes), -1);
      dequantize_row(type, bytes.data(), kCols, back.data());
      for (const float found : back) EXPECT_LE(std::abs(found), 2e-40f);
    }
  }
}

TEST(ConvertIntGroups, NotANumber_IsFoundInItsBlock) {
  for (const TensorType type : kTypes) {
    for (const float bad :
         {std::numeric_limits<float>::infinity(), -std::numeric_limits<float>::infinity(),
          std::numeric_limits<float>::quiet_NaN()}) {
      std::vector<float> row = random_row(5);
      row[131] = bad;
      std::vector<std::byte> bytes(tensor_row_bytes(type, kCols));
      quantize_row(type, row.data(), kCols, bytes.data());
      const int64_t group = tensor_type_info(type).block_elements;
      EXPECT_EQ(first_non_finite(type, bytes), 131 / group * group);
    }
  }
}

TEST(ConvertIntGroups, NoFileNamesTheseTypes) {
  for (const TensorType type : kTypes) {
    EXPECT_TRUE(is_int_group(type));
    EXPECT_FALSE(tensor_type_from_ggml_id(static_cast<uint32_t>(type)).has_value());
    EXPECT_EQ(tensor_type_from_name(tensor_type_info(type).name), type);
  }
  EXPECT_FALSE(is_int_group(TensorType::kBF16));
  EXPECT_EQ(tensor_row_bytes(TensorType::kI4G128, 256), 144u);
  EXPECT_EQ(tensor_row_bytes(TensorType::kI8G32, 64), 72u);
}

}  // namespace
}  // namespace sparrow

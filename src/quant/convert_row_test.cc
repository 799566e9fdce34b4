#include "quant/convert_row.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "base/random.h"
#include "quant/block_formats.h"
#include "tensor/half.h"

namespace sparrow {
namespace {

constexpr TensorType kAllTypes[] = {TensorType::kF32,  TensorType::kF16,  TensorType::kBF16,
                                    TensorType::kQ8_0, TensorType::kQ4_0, TensorType::kQ4_1,
                                    TensorType::kQ5_0, TensorType::kQ5_1};

std::vector<float> random_row(int64_t cols, float scale, uint64_t seed) {
  std::vector<float> row(static_cast<size_t>(cols));
  for (size_t i = 0; i < row.size(); ++i) {
    row[i] = scale * static_cast<float>(2 * random_uniform(seed, 0, i) - 1);
  }
  return row;
}

TEST(ConvertRow, HandWrittenQ8Block_EveryByteCounts) {
  BlockQ8_0 block;
  block.scale = f16_from_float(0.5f);
  for (int i = 0; i < 32; ++i) block.values[i] = static_cast<int8_t>(i * 8 - 128);
  float out[32];
  dequantize_row(TensorType::kQ8_0, reinterpret_cast<std::byte*>(&block), 32, out);
  for (int i = 0; i < 32; ++i) EXPECT_EQ(out[i], 0.5f * static_cast<float>(i * 8 - 128));
}

TEST(ConvertRow, HandWrittenQ4Block_LowNibblesFirst) {
  BlockQ4_0 block;
  block.scale = f16_from_float(-2.0f);
  for (int i = 0; i < 16; ++i) block.nibbles[i] = static_cast<uint8_t>(i | ((15 - i) << 4));
  float out[32];
  dequantize_row(TensorType::kQ4_0, reinterpret_cast<std::byte*>(&block), 32, out);
  for (int i = 0; i < 16; ++i) {
    EXPECT_EQ(out[i], -2.0f * static_cast<float>(i - 8));
    EXPECT_EQ(out[i + 16], -2.0f * static_cast<float>(7 - i));
  }
}

// The rules of 9.4 spelled out once more, independently of the loops under test.
TEST(ConvertRow, Q8Rule_MatchesTheReferenceFormula) {
  const std::vector<float> row = random_row(32, 3.0f, 7);
  BlockQ8_0 block;
  quantize_row(TensorType::kQ8_0, row.data(), 32, reinterpret_cast<std::byte*>(&block));
  float largest = 0;
  for (const float value : row) largest = std::max(largest, std::abs(value));
  const float scale = largest / 127;
  EXPECT_EQ(block.scale, f16_from_float(scale));
  for (size_t i = 0; i < 32; ++i) {
    EXPECT_EQ(block.values[i], std::lround(row[i] * (1 / scale)));
  }
}

TEST(ConvertRow, Q4Rule_SignedLargestBecomesMinusEight) {
  std::vector<float> row(32, 0.0f);
  row[3] = -4.0f;
  row[20] = 4.0f;  // same magnitude, later: the first decides the sign
  row[21] = 1.0f;
  BlockQ4_0 block;
  quantize_row(TensorType::kQ4_0, row.data(), 32, reinterpret_cast<std::byte*>(&block));
  EXPECT_EQ(float_from_f16(block.scale), 0.5f);
  EXPECT_EQ(block.nibbles[3] & 15, 0);
  EXPECT_EQ(block.nibbles[4] >> 4, 15);  // +8 does not exist: clamped to +7
  EXPECT_EQ(block.nibbles[5] >> 4, 10);
  EXPECT_EQ(block.nibbles[0], 0x88);
}

// The rules of 9.4 again, with the bytes written down.
TEST(ConvertRow, Q41AndQ51Rule_RangeBecomesCodesFromTheMinimum) {
  std::vector<float> row(32, -1.0f);
  row[2] = 0.01f;  // 1.01 * 7.5 and 1.01 * 15.5 steps above the minimum: 8 and 16
  row[16] = 1.0f;  // the top code
  row[31] = 0.55f;
  BlockQ4_1 four;
  quantize_row(TensorType::kQ4_1, row.data(), 32, reinterpret_cast<std::byte*>(&four));
  EXPECT_EQ(four.scale, f16_from_float(2.0f / 15));
  EXPECT_EQ(four.minimum, f16_from_float(-1.0f));
  EXPECT_EQ(four.nibbles[0], 0xf0);
  EXPECT_EQ(four.nibbles[2], 0x08);
  EXPECT_EQ(four.nibbles[15], 12 << 4);  // trunc(1.55 * 7.5 + 0.5)
  BlockQ5_1 five;
  quantize_row(TensorType::kQ5_1, row.data(), 32, reinterpret_cast<std::byte*>(&five));
  EXPECT_EQ(five.scale, f16_from_float(2.0f / 31));
  EXPECT_EQ(five.nibbles[0], 0xf0);
  EXPECT_EQ(five.nibbles[2], 0x00);      // 16
  EXPECT_EQ(five.nibbles[15], 8 << 4);   // 24 = trunc(1.55 * 15.5 + 0.5)
  EXPECT_EQ(five.high_bits[0], 1 << 2);  // element 2
  EXPECT_EQ(five.high_bits[2], 1);       // element 16
  EXPECT_EQ(five.high_bits[3], 1 << 7);  // element 31
}

TEST(ConvertRow, Q50Rule_SignedLargestBecomesMinusSixteen) {
  std::vector<float> row(32, 0.0f);
  row[3] = -8.0f;
  row[20] = 8.0f;
  row[21] = 1.0f;
  BlockQ5_0 block;
  quantize_row(TensorType::kQ5_0, row.data(), 32, reinterpret_cast<std::byte*>(&block));
  EXPECT_EQ(float_from_f16(block.scale), 0.5f);
  EXPECT_EQ(block.nibbles[0], 0x00);        // zero is code 16
  EXPECT_EQ(block.nibbles[4] >> 4, 15);     // +16 does not exist: clamped to +15
  EXPECT_EQ(block.nibbles[5] >> 4, 2);      // 18 - 16
  EXPECT_EQ(block.high_bits[0], 0xff - 8);  // all but element 3
}

TEST(ConvertRow, EveryType_ErrorStaysInsideHalfAStep) {
  for (const TensorType type : kAllTypes) {
    const int64_t cols = 256;
    const std::vector<float> row = random_row(cols, 0.1f, 11);
    // One byte of offset: rows in files are not aligned.
    std::vector<std::byte> bytes(tensor_row_bytes(type, cols) + 1);
    std::vector<float> back(static_cast<size_t>(cols));
    quantize_row(type, row.data(), cols, bytes.data() + 1);
    dequantize_row(type, bytes.data() + 1, cols, back.data());
    // Half a step of the format at 0.1, plus the fp16 rounding of scale and minimum. Q4_0 has no
    // +8 and Q5_0 no +16: a whole step there.
    const float half = 0.1f * 0x1p-11f;
    const float bound = type == TensorType::kF32    ? 0.0f
                        : type == TensorType::kF16  ? half
                        : type == TensorType::kBF16 ? 0.1f * 0x1p-8f
                        : type == TensorType::kQ8_0 ? 0.1f / 254 + half
                        : type == TensorType::kQ4_0 ? 0.1f / 8 + half
                        : type == TensorType::kQ5_0 ? 0.1f / 16 + half
                        : type == TensorType::kQ4_1 ? 0.1f / 15 + 3 * half
                                                    : 0.1f / 31 + 3 * half;
    for (size_t i = 0; i < row.size(); ++i) {
      ASSERT_LE(std::abs(row[i] - back[i]), bound) << tensor_type_info(type).name << " " << i;
    }
  }
}

TEST(ConvertRow, ZeroRow_StaysZero) {
  for (const TensorType type : kAllTypes) {
    const std::vector<float> row(64, 0.0f);
    std::vector<std::byte> bytes(tensor_row_bytes(type, 64));
    std::vector<float> back(64, 1.0f);
    quantize_row(type, row.data(), 64, bytes.data());
    dequantize_row(type, bytes.data(), 64, back.data());
    EXPECT_EQ(back, row) << tensor_type_info(type).name;
  }
}

TEST(ConvertRow, FirstNonFinite_FindsElementOrBlock) {
  for (const TensorType type : kAllTypes) {
    std::vector<float> row = random_row(96, 1.0f, 5);
    std::vector<std::byte> bytes(tensor_row_bytes(type, 96));
    quantize_row(type, row.data(), 96, bytes.data());
    EXPECT_EQ(first_non_finite(type, bytes), -1);
    row[64] = std::numeric_limits<float>::infinity();
    quantize_row(type, row.data(), 96, bytes.data());
    EXPECT_EQ(first_non_finite(type, bytes), 64) << tensor_type_info(type).name;
  }
}

}  // namespace
}  // namespace sparrow

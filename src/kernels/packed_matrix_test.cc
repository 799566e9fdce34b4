#include "kernels/packed_matrix.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <random>
#include <vector>

#include "quant/convert_row.h"
#include "quant/random_blocks.h"

namespace sparrow {
namespace {

std::vector<std::byte> random_rows(TensorType type, int64_t rows, int64_t cols, uint32_t seed) {
  std::vector<std::byte> bytes(tensor_row_bytes(type, cols) * static_cast<size_t>(rows));
  std::mt19937 random(seed);
  for (std::byte& byte : bytes) byte = static_cast<std::byte>(random() & 0xff);
  const TensorTypeInfo& info = tensor_type_info(type);
  const size_t step = static_cast<size_t>(info.block_bytes);
  // Keep every float (element or scale) finite: clear the top exponent bit.
  const size_t top = info.type == TensorType::kF32 ? 3 : 1;
  for (size_t block = 0; block < bytes.size(); block += step) bytes[block + top] &= std::byte{0xbf};
  return bytes;
}

float f16_value(const std::byte* bytes) {
  uint16_t half;
  std::memcpy(&half, bytes, 2);
  const int exponent = (half >> 10) & 31;
  const double mantissa = half & 1023;
  const double magnitude =
      exponent == 0 ? std::ldexp(mantissa, -24) : std::ldexp(1024.0 + mantissa, exponent - 25);
  return static_cast<float>((half & 0x8000) != 0 ? -magnitude : magnitude);
}

// The value of one element straight from the file format's definition.
float source_value(TensorType type, const std::byte* row, int64_t k) {
  if (type == TensorType::kF32) {
    float value;
    std::memcpy(&value, row + k * 4, 4);
    return value;
  }
  if (type == TensorType::kF16) return f16_value(row + k * 2);
  if (type == TensorType::kBF16) {
    uint32_t bits = 0;
    std::memcpy(reinterpret_cast<char*>(&bits) + 2, row + k * 2, 2);
    float value;
    std::memcpy(&value, &bits, 4);
    return value;
  }
  const int64_t inner = k % 32;
  if (type == TensorType::kQ8_0) {
    const std::byte* block = row + k / 32 * 34;
    return f16_value(block) * static_cast<float>(static_cast<int8_t>(block[2 + inner]));
  }
  const std::byte* block = row + k / 32 * 18;
  const int pair = static_cast<int>(block[2 + inner % 16]);
  return f16_value(block) * static_cast<float>((inner < 16 ? pair & 15 : pair >> 4) - 8);
}

class PackedMatrixFormats : public testing::TestWithParam<TensorType> {};

TEST_P(PackedMatrixFormats, UnpackRow_OfPackedRows_ReturnsTheExactSourceValues) {
  const TensorType type = GetParam();
  for (const int64_t rows : {1, 31, 32, 33, 70}) {
    const int64_t cols = 96;
    const std::vector<std::byte> bytes = random_rows(type, rows, cols, 7);
    Result<PackedMatrix> matrix = PackedMatrix::allocate(weight_format_for(type), rows, cols);
    ASSERT_TRUE(matrix.ok()) << matrix.message();
    ASSERT_TRUE(matrix->pack_rows(0, rows, type, bytes).ok());
    std::vector<float> row(cols);
    for (int64_t r = 0; r < rows; ++r) {
      matrix->unpack_row(r, row.data());
      const std::byte* source = bytes.data() + tensor_row_bytes(type, cols) * r;
      for (int64_t k = 0; k < cols; ++k) {
        ASSERT_EQ(row[k], source_value(type, source, k)) << "row " << r << " input " << k;
      }
    }
  }
}

// The types of super-blocks and integer groups against their rows dequantized (golden files and
// hand-written blocks test those).
TEST(PackedMatrix, UnpackRow_OfEveryOtherType_ReturnsTheExactSourceValues) {
  for (const TensorType type :
       {TensorType::kQ4_1, TensorType::kQ5_0, TensorType::kQ5_1, TensorType::kIQ4_NL,
        TensorType::kQ2_K, TensorType::kQ3_K, TensorType::kQ4_K, TensorType::kQ5_K,
        TensorType::kQ6_K, TensorType::kI4G32, TensorType::kI4G64, TensorType::kI4G128,
        TensorType::kI8G32, TensorType::kI8G64, TensorType::kI8G128}) {
    const int64_t rows = 35, cols = 512;
    const std::vector<std::byte> bytes = random_block_rows(type, rows, cols, 9, 0.3f);
    const WeightFormat format = weight_format_for(type);
    PackedMatrix matrix = *PackedMatrix::allocate(format, rows, cols);
    const Status status = matrix.pack_rows(0, rows, type, bytes);
    ASSERT_TRUE(status.ok()) << status.message();
    EXPECT_EQ(matrix.bytes(), PackedMatrix::bytes_of(format, rows, cols));
    std::vector<float> expected(cols), found(cols);
    for (int64_t r = 0; r < rows; ++r) {
      dequantize_row(type, bytes.data() + tensor_row_bytes(type, cols) * r, cols, expected.data());
      matrix.unpack_row(r, found.data());
      EXPECT_EQ(found, expected) << tensor_type_info(type).name << " row " << r;
    }
  }
}

// One scale per row, from blocks of any size, is what the blocks say; the smaller blocks of the
// same rows pack to the same bytes.
TEST(PackedMatrix, OneScalePerRow_FromEveryBlockSize_ReturnsTheExactSourceValues) {
  const int64_t rows = 35, cols = 384;
  for (const TensorType type : {TensorType::kI8G32, TensorType::kI8G64, TensorType::kI8G128}) {
    std::vector<std::byte> bytes = random_block_rows(type, rows, cols, 9, 0.3f);
    const size_t row_bytes = tensor_row_bytes(type, cols);
    for (int64_t r = 0; r < rows; ++r) {
      set_all_scales(type, std::span(bytes).subspan(r * row_bytes, row_bytes),
                     0.01f * static_cast<float>(r - 3));
    }
    PackedMatrix matrix = *PackedMatrix::allocate(WeightFormat::kI8Row, rows, cols);
    const Status status = matrix.pack_rows(0, rows, type, bytes);
    ASSERT_TRUE(status.ok()) << status.message();
    EXPECT_EQ(matrix.bytes(), 64 * (cols + 4));
    EXPECT_EQ(matrix.bytes(), PackedMatrix::bytes_of(WeightFormat::kI8Row, rows, cols));
    std::vector<float> expected(cols), found(cols);
    for (int64_t r = 0; r < rows; ++r) {
      dequantize_row(type, bytes.data() + row_bytes * r, cols, expected.data());
      matrix.unpack_row(r, found.data());
      EXPECT_EQ(found, expected) << tensor_type_info(type).name << " row " << r;
    }
  }
}

TEST(PackedMatrix, OneScalePerRow_ScalesThatDifferOrAreNotFinite_AreErrorsThatNameTheRow) {
  const int64_t rows = 3, cols = 256;
  const TensorType type = TensorType::kI8G64;
  std::vector<std::byte> good = random_block_rows(type, rows, cols, 9, 0.3f);
  set_all_scales(type, good, 0.25f);
  PackedMatrix matrix = *PackedMatrix::allocate(WeightFormat::kI8Row, rows, cols);
  ASSERT_TRUE(matrix.pack_rows(0, rows, type, good).ok());
  for (const float scale : {0.2500001f, -0.25f, INFINITY, NAN}) {
    std::vector<std::byte> bytes = good;
    set_block_scales(type, bytes.data() + tensor_row_bytes(type, cols) + 2 * 68, scale, 0.0f);
    const Status status = matrix.pack_rows(0, rows, type, bytes);
    EXPECT_EQ(status.code(), StatusCode::kDataLoss);
    EXPECT_NE(status.message().find("row 1, group 2"), std::string::npos) << status.message();
  }
  std::vector<std::byte> bytes = good;
  set_all_scales(type, bytes, INFINITY);  // all the same, and no number
  EXPECT_EQ(matrix.pack_rows(0, rows, type, bytes).code(), StatusCode::kDataLoss);
}

TEST(PackedMatrix, OneScalePerRow_OtherTypesAndRowsTooLong_AreErrors) {
  // 255 * 127 * 66,304 is the last below 2^31.
  EXPECT_TRUE(PackedMatrix::allocate(WeightFormat::kI8Row, 1, 66'304).ok());
  EXPECT_FALSE(PackedMatrix::allocate(WeightFormat::kI8Row, 1, 66'336).ok());
  EXPECT_FALSE(PackedMatrix::allocate(WeightFormat::kI8Row, 1, 48).ok());
  PackedMatrix matrix = *PackedMatrix::allocate(WeightFormat::kI8Row, 1, 96);
  for (const TensorType type : {TensorType::kQ8_0, TensorType::kI4G32, TensorType::kI8G128}) {
    const std::vector<std::byte> bytes(1000);
    EXPECT_EQ(matrix.pack_rows(0, 1, type, bytes).code(), StatusCode::kInvalidArgument);
  }
}

TEST(PackedMatrix, PackRows_MinimumThatIsNotFinite_IsAnError) {
  for (const TensorType type : {TensorType::kQ4_1, TensorType::kQ4_K, TensorType::kQ2_K}) {
    std::vector<std::byte> bytes = random_block_rows(type, 1, 256, 1, 1.0f);
    PackedMatrix matrix = *PackedMatrix::allocate(weight_format_for(type), 1, 256);
    ASSERT_TRUE(matrix.pack_rows(0, 1, type, bytes).ok());
    set_block_scales(type, bytes.data(), 1.0f, INFINITY);
    EXPECT_EQ(matrix.pack_rows(0, 1, type, bytes).code(), StatusCode::kDataLoss);
  }
}

INSTANTIATE_TEST_SUITE_P(All, PackedMatrixFormats,
                         testing::Values(TensorType::kF32, TensorType::kF16, TensorType::kBF16,
                                         TensorType::kQ8_0, TensorType::kQ4_0));

TEST(PackedMatrix, PackRows_InPiecesAndUnaligned_EqualsPackRowsAtOnce) {
  const int64_t rows = 50, cols = 64;
  std::vector<std::byte> bytes = random_rows(TensorType::kQ8_0, rows, cols, 3);
  const size_t row_bytes = tensor_row_bytes(TensorType::kQ8_0, cols);
  PackedMatrix whole = *PackedMatrix::allocate(WeightFormat::kQ8_0, rows, cols);
  ASSERT_TRUE(whole.pack_rows(0, rows, TensorType::kQ8_0, bytes).ok());
  bytes.insert(bytes.begin(), std::byte{0});
  PackedMatrix pieces = *PackedMatrix::allocate(WeightFormat::kQ8_0, rows, cols);
  for (const int64_t row : {49, 0, 17}) {
    const int64_t count = row == 49 ? 1 : row == 0 ? 17 : 32;
    const std::span<const std::byte> part(bytes.data() + 1 + row * row_bytes, count * row_bytes);
    ASSERT_TRUE(pieces.pack_rows(row, count, TensorType::kQ8_0, part).ok());
  }
  EXPECT_EQ(0, std::memcmp(whole.view().data, pieces.view().data, whole.bytes()));
}

TEST(PackedMatrix, Allocate_ImpossibleShapes_AreErrorsNotCrashes) {
  EXPECT_FALSE(PackedMatrix::allocate(WeightFormat::kQ8_0, 4, 33).ok());
  EXPECT_FALSE(PackedMatrix::allocate(WeightFormat::kQ4_K, 4, 896 + 32).ok());
  EXPECT_FALSE(PackedMatrix::allocate(WeightFormat::kI4G128, 4, 64).ok());
  EXPECT_FALSE(PackedMatrix::allocate(WeightFormat::kF32, 0, 32).ok());
  EXPECT_FALSE(PackedMatrix::allocate(WeightFormat::kF32, 32, -1).ok());
  EXPECT_FALSE(PackedMatrix::allocate(WeightFormat::kF32, INT64_MAX, 2).ok());
  EXPECT_FALSE(PackedMatrix::allocate(WeightFormat::kF32, int64_t{1} << 31, 1 << 30).ok());
}

TEST(PackedMatrix, PackRows_WrongSizeTypeOrScale_IsAnError) {
  PackedMatrix matrix = *PackedMatrix::allocate(WeightFormat::kQ8_0, 2, 64);
  std::vector<std::byte> bytes = random_rows(TensorType::kQ8_0, 2, 64, 1);
  EXPECT_FALSE(matrix.pack_rows(0, 2, TensorType::kF32, bytes).ok());
  EXPECT_FALSE(matrix.pack_rows(0, 2, TensorType::kQ8_0, std::span(bytes).first(135)).ok());
  bytes[34 + 1] = std::byte{0x7e};  // second group of the first row: NaN
  const Status status = matrix.pack_rows(0, 2, TensorType::kQ8_0, bytes);
  EXPECT_EQ(status.code(), StatusCode::kDataLoss);
  EXPECT_NE(status.message().find("row 0, group 1"), std::string::npos) << status.message();
}

}  // namespace
}  // namespace sparrow

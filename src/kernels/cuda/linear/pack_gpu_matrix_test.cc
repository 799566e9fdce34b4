#include "kernels/cuda/linear/pack_gpu_matrix.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "kernels/cuda/linear/int4_order.h"
#include "quant/convert_int_groups.h"
#include "quant/convert_row.h"
#include "quant/int_group_blocks.h"
#include "quant/random_blocks.h"
#include "tensor/half.h"

namespace sparrow {
namespace {

constexpr int64_t kRows = 5, kCols = 768;  // a multiple of every block and group here
constexpr std::byte kGuard = std::byte{0xa5};
constexpr size_t kGuardBytes = 16;

constexpr auto kBF16 = GpuWeightFormat::kBF16, kF16 = GpuWeightFormat::kF16,
               kInt8 = GpuWeightFormat::kInt8, kInt4 = GpuWeightFormat::kInt4;

constexpr TensorType kI4Types[] = {TensorType::kI4G32, TensorType::kI4G64, TensorType::kI4G128};
constexpr TensorType kI8Types[] = {TensorType::kI8G32, TensorType::kI8G64, TensorType::kI8G128};
constexpr TensorType kPlainTypes[] = {TensorType::kF32, TensorType::kF16, TensorType::kBF16};
constexpr TensorType kRoundedTypes[] = {TensorType::kQ4_1, TensorType::kQ5_1, TensorType::kQ2_K,
                                        TensorType::kQ3_K, TensorType::kQ4_K, TensorType::kQ5_K,
                                        TensorType::kQ6_K};

int32_t block_of(TensorType type) { return tensor_type_info(type).block_elements; }

// Random codes; grouped integers get scales that fp16 holds and zeros in 0..15.
std::vector<std::byte> random_rows(TensorType type, uint32_t seed, int64_t rows = kRows) {
  std::vector<std::byte> bytes = random_block_rows(type, rows, kCols, seed, 0.02f);
  const auto step = static_cast<size_t>(tensor_type_info(type).block_bytes);
  for (size_t at = 0; is_int_group(type) && at < bytes.size(); at += step) {
    float scale;
    std::memcpy(&scale, bytes.data() + at, sizeof scale);
    scale = float_from_f16(f16_from_float(scale));
    std::memcpy(bytes.data() + at, &scale, sizeof scale);
    if (is_int4_group(type)) bytes[at + 4] &= std::byte{15};
  }
  return bytes;
}

std::vector<float> values_of(TensorType type, const std::vector<std::byte>& bytes, int64_t row) {
  std::vector<float> values(kCols);
  dequantize_row(type, bytes.data() + tensor_row_bytes(type, kCols) * row, kCols, values.data());
  return values;
}

// A part of packed rows between guard bytes, at an odd address.
struct GuardedBytes {
  std::vector<std::byte> bytes;

  explicit GuardedBytes(size_t size) : bytes(size + 2 * kGuardBytes + 1, kGuard) {}
  std::span<std::byte> inside() {
    const size_t begin = kGuardBytes + (reinterpret_cast<uintptr_t>(bytes.data()) % 2 == 0 ? 1 : 0);
    return std::span(bytes).subspan(begin, bytes.size() - 2 * kGuardBytes - 1);
  }
  bool guards_are_whole() {
    const std::byte* begin = inside().data();
    const std::byte* end = begin + inside().size();
    for (const std::byte* at = bytes.data(); at != bytes.data() + bytes.size(); ++at) {
      if ((at < begin || at >= end) && *at != kGuard) return false;
    }
    return true;
  }
};

struct Packed {
  GpuPackTarget target;
  Status status;
  GuardedBytes values, scales, zeros;

  Packed(const GpuPackTarget& wish, const GpuMatrixBytes& size)
      : target(wish), values(size.values), scales(size.scales), zeros(size.zeros) {}

  std::vector<float> row(int64_t index) {
    const GpuMatrix matrix = {.format = target.format,
                              .rows = kRows,
                              .cols = kCols,
                              .group = target.group,
                              .values = values.inside().data(),
                              .scales = scales.inside().data(),
                              .zeros = target.has_zeros
                                           ? reinterpret_cast<const uint8_t*>(zeros.inside().data())
                                           : nullptr,
                              .has_f32_scales = target.has_f32_scales};
    std::vector<float> out(kCols);
    unpack_gpu_row(matrix, index, out.data());
    return out;
  }
};

// Packs all rows, from an odd address, in two calls as a loader with small strips would.
Packed pack(const GpuPackTarget& target, TensorType type, const std::vector<std::byte>& rows) {
  const auto size = [&](int64_t num_rows) {
    return gpu_matrix_bytes(target.format, num_rows, kCols, target.group, target.has_f32_scales,
                            target.has_zeros);
  };
  std::vector<std::byte> unaligned(rows.size() + 1);
  std::memcpy(unaligned.data() + 1, rows.data(), rows.size());
  Packed packed(target, size(kRows));
  for (int64_t begin = 0; begin < kRows && packed.status.ok(); begin += 3) {
    const int64_t num_rows = std::min<int64_t>(3, kRows - begin);
    const GpuMatrixBytes at = size(begin), part = size(num_rows);
    const size_t row_bytes = tensor_row_bytes(type, kCols);
    packed.status = pack_gpu_rows(
        target,
        {type, num_rows, kCols,
         std::span<const std::byte>(unaligned).subspan(1 + begin * row_bytes, num_rows * row_bytes),
         begin},
        {packed.values.inside().subspan(at.values, part.values),
         packed.scales.inside().subspan(at.scales, part.scales),
         packed.zeros.inside().subspan(at.zeros, part.zeros)});
  }
  EXPECT_TRUE(packed.values.guards_are_whole() && packed.scales.guards_are_whole() &&
              packed.zeros.guards_are_whole());
  return packed;
}

// By bits, so that -0 and 0 differ.
bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

void expect_exact(const GpuPackTarget& target, TensorType type,
                  const std::vector<std::byte>& rows) {
  SCOPED_TRACE(testing::Message() << tensor_type_info(type).name << " to format "
                                  << static_cast<int>(target.format) << " g" << target.group);
  Packed packed = pack(target, type, rows);
  ASSERT_TRUE(packed.status.ok()) << packed.status.message();
  for (int64_t row = 0; row < kRows; ++row) {
    EXPECT_TRUE(same_bits(packed.row(row), values_of(type, rows, row))) << "row " << row;
  }
}

TEST(PackGpuMatrix, Int4Order_EachMaskBringsAPairOfNeighboursAndNibblesAreAPermutation) {
  uint32_t word = 0;
  for (int input = 0; input < 8; ++input) {
    EXPECT_EQ(gpu_int4_nibble_position(input), gpu_int4_nibble_position(input + 64));
    word |= static_cast<uint32_t>(input + 1) << 4 * gpu_int4_nibble_position(input);
  }
  for (uint32_t pair = 0; pair < 4; ++pair) {
    EXPECT_EQ(word >> 4 * pair & 0x000f000fu, (2 * pair + 2) << 16 | (2 * pair + 1));
  }
}

TEST(PackGpuMatrix, BlockTypesOfOneScale_KeepTheirValuesAsInt8AndInt4) {
  for (const TensorType type :
       {TensorType::kQ8_0, TensorType::kQ4_0, TensorType::kQ5_0, TensorType::kIQ4_NL}) {
    expect_exact({kInt8, 32}, type, random_rows(type, 1));
    expect_exact({kInt8, 32, true}, type, random_rows(type, 2));
  }
  expect_exact({kInt4, 32}, TensorType::kQ4_0, random_rows(TensorType::kQ4_0, 3));
  expect_exact({kInt4, 32, true, true}, TensorType::kQ4_0, random_rows(TensorType::kQ4_0, 4));
}

// As a kernel reads it, without unpack_gpu_row().
TEST(PackGpuMatrix, Int4Values_ComeInPairsFromWordsOfEight) {
  const std::vector<std::byte> rows = random_rows(TensorType::kQ4_0, 26);
  Packed packed = pack({kInt4, 32}, TensorType::kQ4_0, rows);
  ASSERT_TRUE(packed.status.ok()) << packed.status.message();
  for (int64_t row = 0; row < kRows; ++row) {
    const std::vector<float> expected = values_of(TensorType::kQ4_0, rows, row);
    for (size_t word_index = 0; word_index < kCols / 8; ++word_index) {
      uint32_t word;
      std::memcpy(&word, packed.values.inside().data() + row * kCols / 2 + word_index * 4, 4);
      for (size_t pair = 0; pair < 4; ++pair) {
        const size_t k = word_index * 8 + 2 * pair;
        const uint32_t both = word >> 4 * pair & 0x000f000fu;
        uint16_t scale;
        std::memcpy(&scale, packed.scales.inside().data() + (row * kCols + k) / 32 * 2, 2);
        const auto value = [&](uint32_t nibble) {
          return float_from_f16(scale) * (static_cast<float>(nibble) - 8);
        };
        ASSERT_EQ(value(both & 0xffff), expected[k]);
        ASSERT_EQ(value(both >> 16), expected[k + 1]);
      }
    }
  }
}

TEST(PackGpuMatrix, GroupedIntegers_KeepTheirValuesInTheirOwnAndInShorterGroups) {
  for (const TensorType type : kI8Types) {
    for (int32_t group = 32; group <= block_of(type); group *= 2) {
      expect_exact({kInt8, group}, type, random_rows(type, 5));
      expect_exact({kInt8, group, true}, type,
                   random_block_rows(type, kRows, kCols, 6, 0.02f));  // scales no fp16 holds
    }
  }
  for (const TensorType type : kI4Types) {
    for (int32_t group = 32; group <= block_of(type); group *= 2) {
      expect_exact({kInt4, group, false, true}, type, random_rows(type, 7));
      expect_exact({kInt8, group}, type, random_rows(type, 8));
    }
  }
}

TEST(PackGpuMatrix, OneScalePerRow_BecomesOneGroupAndADifferentBlockIsRefused) {
  for (const TensorType type : kI8Types) {
    std::vector<std::byte> rows = random_rows(type, 9);
    const size_t row_bytes = tensor_row_bytes(type, kCols);
    for (int64_t row = 0; row < kRows; ++row) {
      set_all_scales(type, std::span(rows).subspan(row * row_bytes, row_bytes), 0.25f + row);
    }
    expect_exact({kInt8, kCols}, type, rows);
    expect_exact({kInt8, 384}, type, rows);
    // The last block of row 4 differs.
    set_block_scales(type, rows.data() + rows.size() - tensor_type_info(type).block_bytes, 0.5f, 0);
    Packed packed = pack({kInt8, kCols}, type, rows);
    EXPECT_EQ(packed.status.code(), StatusCode::kDataLoss);
    EXPECT_NE(packed.status.message().find("row 4"), std::string::npos);
  }
  Packed packed = pack({kInt8, 64}, TensorType::kQ8_0, random_rows(TensorType::kQ8_0, 10));
  EXPECT_EQ(packed.status.code(), StatusCode::kDataLoss);
}

TEST(PackGpuMatrix, ZerosOtherThan8_NeedTheirOwnBytes) {
  for (const TensorType type : kI4Types) {
    std::vector<std::byte> rows = random_rows(type, 11);
    const auto step = static_cast<size_t>(tensor_type_info(type).block_bytes);
    for (size_t at = 0; at < rows.size(); at += step) rows[at + 4] = std::byte{8};
    EXPECT_FALSE(needs_zeros(type, rows));
    expect_exact({kInt4, block_of(type)}, type, rows);
    rows[rows.size() - step + 4] = std::byte{7};
    EXPECT_TRUE(needs_zeros(type, rows));
    EXPECT_EQ(pack({kInt4, block_of(type)}, type, rows).status.code(),
              StatusCode::kInvalidArgument);
    expect_exact({kInt4, block_of(type), false, true}, type, rows);
    rows[rows.size() - step + 4] = std::byte{16};
    EXPECT_EQ(pack({kInt4, block_of(type), false, true}, type, rows).status.code(),
              StatusCode::kDataLoss);
  }
  EXPECT_FALSE(needs_zeros(TensorType::kQ4_0, random_rows(TensorType::kQ4_0, 12)));
}

TEST(PackGpuMatrix, ScalesFitF16_OnlyWhereEveryScaleIsAnFp16Number) {
  for (const TensorType type : {TensorType::kI4G64, TensorType::kI8G32}) {
    std::vector<std::byte> rows = random_rows(type, 13);
    EXPECT_TRUE(scales_fit_f16(type, rows));
    std::byte* last = rows.data() + rows.size() - tensor_type_info(type).block_bytes;
    // One more bit than fp16 has; above its range; below its least step; not finite.
    for (const float scale :
         {1.0f + 0x1p-11f, 65536.0f, 0x1p-25f, std::numeric_limits<float>::quiet_NaN()}) {
      set_block_scales(type, last, scale, 0);
      EXPECT_FALSE(scales_fit_f16(type, rows)) << scale;
      const bool zeros = is_int4_group(type);
      const GpuWeightFormat format = zeros ? kInt4 : kInt8;
      EXPECT_FALSE(pack({format, block_of(type), false, zeros}, type, rows).status.ok());
      EXPECT_EQ(pack({format, block_of(type), true, zeros}, type, rows).status.ok(),
                std::isfinite(scale));
    }
    for (const float scale : {1.0f + 0x1p-10f, 65504.0f, 0x1p-24f, -0.0f}) {
      set_block_scales(type, last, scale, 0);
      EXPECT_TRUE(scales_fit_f16(type, rows)) << scale;
    }
  }
  EXPECT_TRUE(scales_fit_f16(TensorType::kQ8_0, random_rows(TensorType::kQ8_0, 14)));
}

TEST(PackGpuMatrix, SixteenBits_AreTheSourceRoundedToNearestEven) {
  for (const TensorType type : {TensorType::kF32, TensorType::kF16, TensorType::kBF16,
                                TensorType::kQ8_0, TensorType::kQ4_K, TensorType::kI4G128}) {
    const std::vector<std::byte> rows = random_rows(type, 15);
    Packed bf16 = pack({kBF16}, type, rows), f16 = pack({kF16}, type, rows);
    ASSERT_TRUE(bf16.status.ok() && f16.status.ok());
    for (int64_t row = 0; row < kRows; ++row) {
      std::vector<float> as_bf16 = values_of(type, rows, row), as_f16 = as_bf16;
      for (float& value : as_bf16) value = float_from_bf16(bf16_from_float(value));
      for (float& value : as_f16) value = float_from_f16(f16_from_float(value));
      EXPECT_TRUE(same_bits(bf16.row(row), as_bf16));
      EXPECT_TRUE(same_bits(f16.row(row), as_f16));
    }
  }
  // Ties by hand: between two bf16 numbers, to the even one.
  std::vector<std::byte> rows = random_rows(TensorType::kF32, 16);
  const float ties[] = {1.0f + 0x1p-8f, 1.0f + 3 * 0x1p-8f};
  std::memcpy(rows.data(), ties, sizeof ties);
  const std::vector<float> row = pack({kBF16}, TensorType::kF32, rows).row(0);
  EXPECT_EQ(row[0], 1.0f);
  EXPECT_EQ(row[1], 1.0f + 4 * 0x1p-8f);
}

TEST(PackGpuMatrix, SixteenBits_OverflowIsRefusedWithItsRow) {
  std::vector<std::byte> rows = random_rows(TensorType::kF32, 17);
  const auto set = [&](float value) {  // in row 3
    std::memcpy(rows.data() + tensor_row_bytes(TensorType::kF32, kCols) * 3 + 40, &value, 4);
  };
  set(65519.0f);  // rounds to 65504, the largest fp16 number
  EXPECT_TRUE(pack({kF16}, TensorType::kF32, rows).status.ok());
  for (const auto& [format, value] :
       {std::pair{kF16, 65520.0f}, {kF16, -1e30f}, {kBF16, std::numeric_limits<float>::max()}}) {
    set(value);
    const Status status = pack({format}, TensorType::kF32, rows).status;
    EXPECT_EQ(status.code(), StatusCode::kInvalidArgument) << value;
    EXPECT_NE(status.message().find("row 3"), std::string::npos) << status.message();
  }
}

TEST(PackGpuMatrix, NotFinite_IsRefusedWithItsRowWhateverTheTypes) {
  constexpr TensorType kTypes[] = {TensorType::kF32,   TensorType::kF16,  TensorType::kBF16,
                                   TensorType::kQ8_0,  TensorType::kQ4_0, TensorType::kQ4_K,
                                   TensorType::kI8G64, TensorType::kI4G32};
  for (const TensorType type : kTypes) {
    for (const float bad :
         {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
      std::vector<std::byte> rows = random_rows(type, 18);
      set_block_scales(type, rows.data() + tensor_row_bytes(type, kCols) * 2, bad, 0);
      for (const GpuPackTarget& target :
           {GpuPackTarget{kBF16}, GpuPackTarget{kF16}, GpuPackTarget{kInt8, 32, true},
            GpuPackTarget{kInt4, 32, true, true}}) {
        const Status status = pack(target, type, rows).status;
        EXPECT_EQ(status.code(), StatusCode::kDataLoss) << tensor_type_info(type).name;
        EXPECT_NE(status.message().find("row 2"), std::string::npos) << status.message();
      }
    }
  }
  // Finite scales whose products are not: nothing to round to.
  std::vector<std::byte> rows = random_rows(TensorType::kI8G32, 19);
  set_all_scales(TensorType::kI8G32, rows, 3e38f);
  EXPECT_FALSE(pack({kInt4, 32, true}, TensorType::kI8G32, rows).status.ok());
  EXPECT_FALSE(pack({kBF16}, TensorType::kI8G32, rows).status.ok());
  // A rounded scale above fp16's range.
  rows = random_rows(TensorType::kF32, 20);
  set_all_scales(TensorType::kF32, rows, 1e9f);
  EXPECT_FALSE(pack({kInt8, 32}, TensorType::kF32, rows).status.ok());
  EXPECT_TRUE(pack({kInt8, 32, true}, TensorType::kF32, rows).status.ok());
}

// The scale a group got, of fp16 or fp32.
float scale_of(Packed& packed, int64_t row, size_t group) {
  const size_t index = row * (kCols / packed.target.group) + group;
  if (packed.target.has_f32_scales) {
    float scale;
    std::memcpy(&scale, packed.scales.inside().data() + index * 4, 4);
    return scale;
  }
  uint16_t half;
  std::memcpy(&half, packed.scales.inside().data() + index * 2, 2);
  return float_from_f16(half);
}

void expect_within_half_a_step(const GpuPackTarget& target, TensorType type,
                               const std::vector<std::byte>& rows) {
  SCOPED_TRACE(testing::Message() << tensor_type_info(type).name << " to format "
                                  << static_cast<int>(target.format) << " g" << target.group);
  Packed packed = pack(target, type, rows);
  ASSERT_TRUE(packed.status.ok()) << packed.status.message();
  const float half_range = target.format == kInt8 ? 127.5f : 7.5f;
  for (int64_t row = 0; row < kRows; ++row) {
    const std::vector<float> expected = values_of(type, rows, row), found = packed.row(row);
    for (size_t group = 0; group < static_cast<size_t>(kCols / target.group); ++group) {
      float largest = 0;
      for (size_t k = group * target.group; k < (group + 1) * target.group; ++k) {
        largest = std::max(largest, std::abs(expected[k]));
      }
      const float step = scale_of(packed, row, group);
      // No wider than the range needs, but for fp16's last place (2^-10 of a normal number, 2^-24
      // of a smaller one) by which it is rounded up.
      ASSERT_LE(step, largest / half_range * 1.001f + (target.has_f32_scales ? 0 : 0x1p-24f));
      for (size_t k = group * target.group; k < (group + 1) * target.group; ++k) {
        // Half a step to nearest; max|x| lies half a step beyond the last code. Quotient, product
        // and scale round in fp32: a few 2^-24 of at most 128 steps, under 1e-4 of one.
        ASSERT_LE(std::abs(found[k] - expected[k]), step * 0.5001f) << row << " " << k;
      }
    }
  }
}

TEST(PackGpuMatrix, RoundedGroups_StayWithinHalfAStep) {
  for (const TensorType type : kPlainTypes) {
    const std::vector<std::byte> rows = random_rows(type, 21);
    for (const int32_t group : {32, 64, 128, static_cast<int32_t>(kCols)}) {
      for (const bool f32 : {false, true}) {
        expect_within_half_a_step({kInt8, group, f32}, type, rows);
        expect_within_half_a_step({kInt4, group, f32, f32}, type, rows);
      }
    }
  }
  for (const TensorType type : kRoundedTypes) {
    expect_within_half_a_step({kInt8, 32}, type, random_rows(type, 22));
    expect_within_half_a_step({kInt4, 128}, type, random_rows(type, 23));
  }
  expect_within_half_a_step({kInt4, 128}, TensorType::kQ8_0, random_rows(TensorType::kQ8_0, 24));
  // Weights so small that the scale is a subnormal fp16 number of a few bits: rounded to nearest it
  // could be a tenth too small, and the largest weights would be cut by many steps.
  expect_within_half_a_step({kInt8, 32}, TensorType::kF32,
                            random_block_rows(TensorType::kF32, kRows, kCols, 25, 1e-5f));
}

TEST(PackGpuMatrix, ZeroRows_AreZero) {
  const std::vector<std::byte> rows(tensor_row_bytes(TensorType::kF32, kCols) * kRows);
  for (const GpuPackTarget& target : {GpuPackTarget{kInt8, kCols}, GpuPackTarget{kInt4, 64}}) {
    Packed packed = pack(target, TensorType::kF32, rows);
    ASSERT_TRUE(packed.status.ok());
    for (int64_t row = 0; row < kRows; ++row) {
      EXPECT_EQ(packed.row(row), std::vector<float>(kCols, 0.0f));
    }
  }
}

TEST(PackGpuMatrix, Bytes_CountEveryPartAndDoNotOverflow) {
  const int64_t rows = 151'936, cols = 8'960;
  const size_t weights = 1'361'346'560;
  EXPECT_EQ(gpu_matrix_bytes(kBF16, rows, cols, 0, false, false),
            (GpuMatrixBytes{weights * 2, 0, 0}));
  EXPECT_EQ(gpu_matrix_bytes(kInt8, rows, cols, 8960, false, false),
            (GpuMatrixBytes{weights, 151'936 * 2, 0}));
  EXPECT_EQ(gpu_matrix_bytes(kInt8, rows, cols, 32, true, false),
            (GpuMatrixBytes{weights, weights / 32 * 4, 0}));
  EXPECT_EQ(gpu_matrix_bytes(kInt4, rows, cols, 128, false, true),
            (GpuMatrixBytes{weights / 2, weights / 128 * 2, weights / 128}));
  const int64_t most = std::numeric_limits<int32_t>::max();
  EXPECT_EQ(gpu_matrix_bytes(kF16, most, most, 0, false, false).values,
            size_t{4'611'686'014'132'420'609} * 2);
}

TEST(PackGpuMatrix, ShapesThatDoNotFit_AreRefused) {
  const auto status_of = [](const GpuPackTarget& target, TensorType type, int64_t rows,
                            int64_t cols, size_t bytes) {
    const std::vector<std::byte> source(bytes);
    return pack_gpu_rows(target, {type, rows, cols, source}, {}).code();
  };
  constexpr auto kF32 = TensorType::kF32;
  EXPECT_EQ(status_of({kInt8, 48}, kF32, 1, 96, 384), StatusCode::kInvalidArgument);
  EXPECT_EQ(status_of({kInt8, 0}, kF32, 1, 96, 384), StatusCode::kInvalidArgument);
  EXPECT_EQ(status_of({kInt8, 64}, kF32, 1, 96, 384), StatusCode::kInvalidArgument);
  EXPECT_EQ(status_of({kInt8, 96}, TensorType::kI8G64, 1, 192, 204), StatusCode::kInvalidArgument);
  EXPECT_EQ(status_of({kBF16}, TensorType::kQ8_0, 1, 40, 34), StatusCode::kInvalidArgument);
  EXPECT_EQ(status_of({kBF16}, kF32, -1, 32, 0), StatusCode::kInvalidArgument);
  EXPECT_EQ(status_of({kBF16}, kF32, int64_t{1} << 40, 32, 0), StatusCode::kInvalidArgument);
  EXPECT_EQ(status_of({kBF16}, kF32, 2, 32, 255), StatusCode::kDataLoss);
}

}  // namespace
}  // namespace sparrow

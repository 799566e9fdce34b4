#include "quant/quantize_k.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "base/random.h"
#include "tensor/half.h"

namespace sparrow {
namespace {

constexpr size_t kValues = kSuperBlock;

// Roughly normal values: the sum of four uniform ones.
std::vector<float> random_block(float scale, uint64_t seed) {
  std::vector<float> values(kValues);
  for (size_t i = 0; i < kValues; ++i) {
    double sum = 0;
    for (uint64_t j = 0; j < 4; ++j) sum += 2 * random_uniform(seed, j, i) - 1;
    values[i] = scale * static_cast<float>(sum);
  }
  return values;
}

// The table of model_and_formats 9.3, element by element, independent of the packing under test.
int scale_of(const uint8_t* scales, int g) {
  return g < 4 ? scales[g] & 63 : (scales[g + 4] & 15) | (scales[g - 4] >> 6) << 4;
}
int min_of(const uint8_t* scales, int g) {
  return g < 4 ? scales[g + 4] & 63 : scales[g + 4] >> 4 | (scales[g] >> 6) << 4;
}
int nibble_of(const uint8_t* nibbles, int e) {
  const uint8_t byte = nibbles[32 * (e / 64) + e % 32];
  return e % 64 < 32 ? byte & 15 : byte >> 4;
}

template <typename Block>
float affine_value(const Block& block, int e, int level) {
  const int g = e / 32;
  return float_from_f16(block.scale) * static_cast<float>(scale_of(block.scales, g) * level) -
         float_from_f16(block.min_scale) * static_cast<float>(min_of(block.scales, g));
}
float value_of(const BlockQ4_K& block, int e) {
  return affine_value(block, e, nibble_of(block.nibbles, e));
}
float value_of(const BlockQ5_K& block, int e) {
  const int high = block.high_bits[e % 32] >> (e / 32) & 1;
  return affine_value(block, e, nibble_of(block.nibbles, e) + 16 * high);
}
float value_of(const BlockQ6_K& block, int e) {
  const int h = e / 128, l = e % 32, k = e % 128 / 32;
  const uint8_t byte = block.low_bits[64 * h + l + 32 * (k % 2)];
  const int low = k < 2 ? byte & 15 : byte >> 4;
  const int level = low | (block.high_bits[32 * h + l] >> 2 * k & 3) << 4;
  return float_from_f16(block.scale) * static_cast<float>(block.scales[e / 16]) *
         static_cast<float>(level - 32);
}

template <typename Block>
std::vector<float> values_of(const Block& block) {
  std::vector<float> values(kValues);
  for (size_t e = 0; e < kValues; ++e) values[e] = value_of(block, static_cast<int>(e));
  return values;
}

template <typename Block>
std::vector<float> there_and_back(const std::vector<float>& values,
                                  void (*quantize)(const float*, Block&)) {
  Block block;
  quantize(values.data(), block);
  return values_of(block);
}

double relative_rms(const std::vector<float>& values, const std::vector<float>& back) {
  double error = 0, sum = 0;
  for (size_t i = 0; i < values.size(); ++i) {
    error += std::pow(double{values[i]} - back[i], 2);
    sum += std::pow(double{values[i]}, 2);
  }
  return std::sqrt(error / sum);
}

// A group of 32 normal values spans about 4 sigma, a step is a 15th (31st) of it, and a rounding
// error is step / sqrt(12): 7.7 % and 3.7 % of sigma, a little more for the 6-bit scales. Q6_K: the
// largest of 16 values is about 1.8 sigma on 32 levels: 1.6 %.
TEST(QuantizeK, NormalValues_ErrorIsThatOfTheBits) {
  double q4 = 0, q5 = 0, q6 = 0;
  for (uint64_t seed = 0; seed < 20; ++seed) {
    const std::vector<float> values = random_block(0.02f, seed);
    q4 += relative_rms(values, there_and_back(values, quantize_q4_k)) / 20;
    q5 += relative_rms(values, there_and_back(values, quantize_q5_k)) / 20;
    q6 += relative_rms(values, there_and_back(values, quantize_q6_k)) / 20;
  }
  EXPECT_LT(q4, 0.080);
  EXPECT_LT(q5, 0.040);
  EXPECT_LT(q6, 0.019);
  EXPECT_GT(q4, 1.7 * q5);
  EXPECT_GT(q5, 1.7 * q6);
}

// A step is at most 2 * largest / levels; half of it is the rounding, the other half the search,
// which may clip one value to serve the others.
TEST(QuantizeK, EveryElement_StaysInsideItsBound) {
  for (uint64_t seed = 100; seed < 120; ++seed) {
    const std::vector<float> values = random_block(1.0f, seed);
    float largest = 0;
    for (const float value : values) largest = std::max(largest, std::fabs(value));
    const std::vector<float> q4 = there_and_back(values, quantize_q4_k);
    const std::vector<float> q5 = there_and_back(values, quantize_q5_k);
    const std::vector<float> q6 = there_and_back(values, quantize_q6_k);
    for (size_t i = 0; i < kValues; ++i) {
      ASSERT_LE(std::fabs(values[i] - q4[i]), 2 * largest / 15) << seed << " " << i;
      ASSERT_LE(std::fabs(values[i] - q5[i]), 2 * largest / 31) << seed << " " << i;
      ASSERT_LE(std::fabs(values[i] - q6[i]), largest / 32) << seed << " " << i;
    }
  }
}

// Values that a block can hold exactly come back exactly: all steps of one scale, which are powers
// of two, with the group's minimum at -8 steps.
TEST(QuantizeK, RepresentableValues_AreKeptExactly) {
  std::vector<float> values(kValues);
  for (size_t i = 0; i < kValues; ++i) values[i] = 0.25f * static_cast<float>(i * 7 % 16);
  EXPECT_LT(relative_rms(values, there_and_back(values, quantize_q4_k)), 1e-3);
  for (size_t i = 0; i < kValues; ++i) values[i] = 0.5f * static_cast<float>(i * 11 % 32);
  EXPECT_LT(relative_rms(values, there_and_back(values, quantize_q5_k)), 1e-3);
  for (size_t i = 0; i < kValues; ++i) {
    values[i] = 0.5f * (static_cast<float>((i * 7 + i / 16) % 64) - 32);
    if (i % 16 == 0) values[i] = -16;  // every group reaches its end
  }
  EXPECT_LT(relative_rms(values, there_and_back(values, quantize_q6_k)), 1e-3);
}

TEST(QuantizeK, Zeros_StayZero) {
  const std::vector<float> zeros(kValues, 0.0f);
  EXPECT_EQ(there_and_back(zeros, quantize_q4_k), zeros);
  EXPECT_EQ(there_and_back(zeros, quantize_q5_k), zeros);
  EXPECT_EQ(there_and_back(zeros, quantize_q6_k), zeros);
}

TEST(QuantizeK, OneHugeValue_CostsItsBlockOnlyPrecision) {
  std::vector<float> values = random_block(0.02f, 3);
  values[77] = 1000.0f;
  for (const auto& back :
       {there_and_back(values, quantize_q4_k), there_and_back(values, quantize_q5_k),
        there_and_back(values, quantize_q6_k)}) {
    EXPECT_NEAR(back[77], 1000.0f, 1000.0f / 60);  // the last of 63 scales, the last level
    for (const float value : back) EXPECT_TRUE(std::isfinite(value));
  }
}

TEST(QuantizeK, ValuesNoScaleReaches_GiveAScaleThatIsNotFinite) {
  for (const float huge : {3e8f, 1e13f, 1e20f, 3e38f}) {
    for (const float sign : {1.0f, -1.0f}) {
      std::vector<float> values = random_block(0.02f, 3);
      values[200] = sign * huge;
      BlockQ4_K q4;
      BlockQ5_K q5;
      BlockQ6_K q6;
      quantize_q4_k(values.data(), q4);
      quantize_q5_k(values.data(), q5);
      quantize_q6_k(values.data(), q6);
      EXPECT_FALSE(f16_is_finite(q4.scale) && f16_is_finite(q4.min_scale)) << sign * huge;
      EXPECT_FALSE(f16_is_finite(q5.scale) && f16_is_finite(q5.min_scale)) << sign * huge;
      EXPECT_FALSE(f16_is_finite(q6.scale)) << sign * huge;
    }
  }
}

// The sanitizer builds see whether a conversion leaves its range.
TEST(QuantizeK, NotANumber_IsSafe) {
  for (const float odd :
       {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    std::vector<float> values = random_block(1.0f, 4);
    values[3] = odd;
    values[255] = -odd;
    there_and_back(values, quantize_q4_k);
    there_and_back(values, quantize_q5_k);
    there_and_back(values, quantize_q6_k);
  }
}

// Half of all groups far below the others: 6-bit scales keep what they can, and a group whose scale
// rounds to zero becomes its minimum.
TEST(QuantizeK, GroupsOfUnequalSize_KeepTheLargeOnes) {
  std::vector<float> values = random_block(1.0f, 9);
  for (size_t i = 0; i < kValues; ++i) {
    if (i / 32 % 2 == 1) values[i] *= 1e-4f;
  }
  for (const auto& back :
       {there_and_back(values, quantize_q4_k), there_and_back(values, quantize_q5_k),
        there_and_back(values, quantize_q6_k)}) {
    EXPECT_LT(relative_rms(values, back), 0.09);
    for (size_t i = 0; i < kValues; ++i) {
      if (i / 32 % 2 == 1) {
        EXPECT_LT(std::fabs(back[i]), 0.1f);
      }
    }
  }
}

}  // namespace
}  // namespace sparrow

#include "tensor/half.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "base/random.h"

namespace sparrow {
namespace {

bool is_nan_half(uint32_t half) { return (half & 0x7fffu) > 0x7c00u; }

TEST(Half, EveryF16_RoundTrips) {
  for (uint32_t half = 0; half < 0x10000; ++half) {
    const float value = float_from_f16(static_cast<uint16_t>(half));
    if (is_nan_half(half)) {
      EXPECT_TRUE(std::isnan(value));
      EXPECT_TRUE(is_nan_half(f16_from_float(value)));
      continue;
    }
    ASSERT_EQ(f16_from_float(value), half);
    ASSERT_EQ(f16_is_finite(static_cast<uint16_t>(half)), std::isfinite(value));
  }
}

TEST(Half, KnownValues_AreExact) {
  EXPECT_EQ(float_from_f16(0x3c00), 1.0f);
  EXPECT_EQ(float_from_f16(0xc000), -2.0f);
  EXPECT_EQ(float_from_f16(0x7bff), 65504.0f);
  EXPECT_EQ(float_from_f16(0x0001), 0x1p-24f);
  EXPECT_EQ(float_from_f16(0x03ff), 0x1p-24f * 1023);
  EXPECT_EQ(float_from_f16(0x0400), 0x1p-14f);
  EXPECT_EQ(float_from_f16(0x7c00), std::numeric_limits<float>::infinity());
  EXPECT_TRUE(std::signbit(float_from_f16(0x8000)));
  EXPECT_EQ(float_from_bf16(0x3f80), 1.0f);
  EXPECT_EQ(bf16_from_float(3.14159265f), 0x4049);
}

// The two neighbours of a middle, the middle itself (to the even one), everywhere in the range.
TEST(Half, MiddleOfTwoF16_GoesToEven) {
  for (uint32_t half = 0; half < 0x7bff; ++half) {
    const double low = float_from_f16(static_cast<uint16_t>(half));
    const double high = float_from_f16(static_cast<uint16_t>(half + 1));
    const auto middle = static_cast<float>((low + high) / 2);
    const uint32_t even = half % 2 == 0 ? half : half + 1;
    ASSERT_EQ(f16_from_float(middle), even) << half;
    ASSERT_EQ(f16_from_float(-middle), even | 0x8000u) << half;
    ASSERT_EQ(f16_from_float(std::nextafterf(middle, 0.0f)), half);
    ASSERT_EQ(f16_from_float(std::nextafterf(middle, 1e9f)), half + 1);
  }
}

TEST(Half, BeyondTheLargestF16_BecomesInfinity) {
  EXPECT_EQ(f16_from_float(65519.0f), 0x7bff);
  EXPECT_EQ(f16_from_float(65520.0f), 0x7c00);
  EXPECT_EQ(f16_from_float(1e30f), 0x7c00);
  EXPECT_EQ(f16_from_float(-std::numeric_limits<float>::infinity()), 0xfc00);
  EXPECT_EQ(f16_from_float(std::numeric_limits<float>::denorm_min()), 0);
}

TEST(Half, RandomFloats_Bf16IsTheNearest) {
  for (uint64_t i = 0; i < 200000; ++i) {
    const float value = float_from_bits(static_cast<uint32_t>(random_bits(1, 2, i)));
    if (!std::isfinite(value)) continue;
    const uint16_t half = bf16_from_float(value);
    if ((half & 0x7fffu) == 0x7f80u) continue;  // rounded beyond the largest
    const double error = std::fabs(static_cast<double>(float_from_bf16(half)) - value);
    for (const int step : {-1, 1}) {
      const auto neighbour = static_cast<uint16_t>(half + step);
      if ((neighbour & 0x7f80u) == 0x7f80u || ((half ^ neighbour) & 0x8000u) != 0) continue;
      const double other = std::fabs(static_cast<double>(float_from_bf16(neighbour)) - value);
      ASSERT_TRUE(error < other || (error == other && half % 2 == 0)) << value;
    }
  }
}

TEST(Half, NaN_StaysNaN) {
  for (const uint32_t bits : {0x7f800001u, 0x7fffffffu, 0xff800001u, 0x7fc00000u}) {
    EXPECT_TRUE(std::isnan(float_from_bf16(bf16_from_float(float_from_bits(bits)))));
    EXPECT_TRUE(std::isnan(float_from_f16(f16_from_float(float_from_bits(bits)))));
  }
}

}  // namespace
}  // namespace sparrow

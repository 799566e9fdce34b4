#pragma once
// A short row (one attention head) as signed bytes with one scale: the arithmetic that scalar and
// fast kernels share. Plain loops that compilers vectorise; no function of libm, no external
// linkage, so that files built for one instruction set may include it.

#include <stdint.h>

#include "tensor/half.h"

namespace sparrow {

constexpr int32_t kMaxInt8RowCols = 1024;

// Rounds to the nearest integer, halves to even; |x| < 2^22.
static inline int32_t round_half_even(float x) {
  const float shifted = x + 12582912.0f;
  return static_cast<int32_t>(shifted - 12582912.0f);
}

// Largest |x|; NaN or infinity where the row holds one.
static inline float row_magnitude(const float* x, int32_t cols) {
  uint32_t largest = 0;  // bits of |x| order like the numbers, with NaN above infinity
  for (int32_t i = 0; i < cols; ++i) {
    const uint32_t bits = bits_from_float(x[i]) & 0x7fffffffu;
    largest = bits > largest ? bits : largest;
  }
  return float_from_bits(largest);
}

// Scale of a stored row. A row that is not finite, or beyond fp16, gets NaN; a tiny one gets 0.
static inline uint16_t int8_row_scale(const float* x, int32_t cols) {
  const float magnitude = row_magnitude(x, cols);
  const uint16_t scale = f16_from_float(magnitude / 127.0f);
  return f16_is_finite(scale) ? scale : static_cast<uint16_t>(0x7e00u);
}

// x ~ scale * result for a scale of int8_row_scale().
static inline int8_t int8_of(float x, uint16_t scale) {
  const float step = float_from_f16(scale);
  if (!(step > 0.0f)) return 0;
  const float value = x / step;  // at most 127 * (1 + 2^-11) or, for tiny scales, more
  return static_cast<int8_t>(value > 127.0f    ? 127
                             : value < -127.0f ? -127
                                               : round_half_even(value));
}

// A query in two planes: x ~ scale * (128 * high + low), |high| <= 127, low in [-64, 63]. Fifteen
// bits keep the small components of a query beside large ones.
struct Int8Query {
  int8_t high[kMaxInt8RowCols];
  int8_t low[kMaxInt8RowCols];
  int32_t high_sum;
  int32_t low_sum;
  float scale;  // NaN for a row that is not finite
};

// Planes are zero from cols up to the next multiple of 4. cols <= kMaxInt8RowCols.
static inline void split_query(const float* x, int32_t cols, Int8Query* query) {
  const float magnitude = row_magnitude(x, cols);
  const bool is_finite = magnitude < float_from_bits(0x7f800000u);
  const bool is_zero = !is_finite || magnitude < 1e-30f;
  const float inverse = is_zero ? 0.0f : 16256.0f / magnitude;
  query->scale = is_finite ? (is_zero ? 0.0f : magnitude / 16256.0f) : float_from_bits(0x7fc00000u);
  int32_t high_sum = 0, low_sum = 0;
  for (int32_t i = 0; i < cols; ++i) {
    const int32_t value = is_zero ? 0 : round_half_even(x[i] * inverse);
    const int32_t high = (value + 64) >> 7;
    const int32_t low = value - high * 128;
    query->high[i] = static_cast<int8_t>(high);
    query->low[i] = static_cast<int8_t>(low);
    high_sum += high;
    low_sum += low;
  }
  for (int32_t i = cols; i % 4 != 0; ++i) query->high[i] = query->low[i] = 0;
  query->high_sum = high_sum;
  query->low_sum = low_sum;
}

}  // namespace sparrow

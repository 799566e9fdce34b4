#pragma once
// The elementary pieces whose order of operations all instruction sets share: exponential, sums of
// a row in 16 partial sums, their tree.

#include <cmath>
#include <cstdint>

#include "kernels/exp_constants.h"
#include "tensor/half.h"

namespace sparrow::scalar {

inline constexpr int kPartials = 16;

// exp(x) to 2 ulp for x in [-87.3, 88]; 0 below, exp(88) above, NaN for NaN.
inline float exponential(float x) {
  const float clamped = kExpHigh < x ? kExpHigh : x;
  const float shifted = std::fma(clamped, kExpLog2E, kExpMagic);
  const float n = shifted - kExpMagic;
  const float r = std::fma(n, kExpLn2Low, std::fma(n, kExpLn2High, clamped));
  float p = kExpPoly[0];
  for (int i = 1; i < 6; ++i) p = std::fma(p, r, kExpPoly[i]);
  const float y = std::fma(p, r * r, r) + 1.0f;
  const uint32_t exponent = bits_from_float(shifted) - kExpMagicBits;
  const float power = float_from_bits((exponent + 127u) << 23);
  return x < kExpLow ? 0.0f : y * power;
}

inline float tree_sum(const float (&partials)[kPartials]) {
  float sums[kPartials];
  for (int i = 0; i < kPartials; ++i) sums[i] = partials[i];
  for (int half = kPartials / 2; half > 0; half /= 2) {
    for (int i = 0; i < half; ++i) sums[i] += sums[i + half];
  }
  return sums[0];
}

}  // namespace sparrow::scalar

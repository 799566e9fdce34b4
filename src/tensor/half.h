#pragma once
// The 16-bit floats: conversions to and from fp32, rounded to nearest even, bit-exact with the
// instructions of F16C, AVX-512 and NEON. NaN stays NaN (quiet), overflow becomes infinity.
// Internal linkage and C headers only, so that files built for one instruction set may include it.

#include <stdint.h>
#include <string.h>

namespace sparrow {

static inline float float_from_bits(uint32_t bits) {
  float value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

static inline uint32_t bits_from_float(float value) {
  uint32_t bits;
  memcpy(&bits, &value, sizeof bits);
  return bits;
}

static inline float float_from_bf16(uint16_t half) {
  return float_from_bits(static_cast<uint32_t>(half) << 16);
}

// NaN stays NaN: rounding must not carry into the exponent.
static inline uint16_t bf16_from_float(float value) {
  const uint32_t bits = bits_from_float(value);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return static_cast<uint16_t>((bits >> 16) | 0x40u);
  return static_cast<uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

static inline float float_from_f16(uint16_t half) {
  const uint32_t sign = static_cast<uint32_t>(half & 0x8000u) << 16;
  const uint32_t exponent = (half >> 10) & 0x1fu;
  const uint32_t mantissa = half & 0x3ffu;
  if (exponent == 0x1fu) {
    const uint32_t quiet = mantissa != 0 ? 0x400000u : 0u;
    return float_from_bits(sign | 0x7f800000u | (mantissa << 13) | quiet);
  }
  if (exponent != 0) return float_from_bits(sign | ((exponent + 112u) << 23) | (mantissa << 13));
  // Subnormal: mantissa * 2^-24 is exact in fp32.
  const float magnitude = static_cast<float>(mantissa) * 5.9604644775390625e-8f;
  return float_from_bits(sign | bits_from_float(magnitude));
}

static inline uint16_t f16_from_float(float value) {
  const uint32_t bits = bits_from_float(value);
  const uint32_t sign = (bits >> 16) & 0x8000u;
  const uint32_t magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) {  // NaN: the top of its payload is kept
    return static_cast<uint16_t>(sign | 0x7e00u | ((magnitude >> 13) & 0x3ffu));
  }
  if (magnitude >= 0x47800000u) return static_cast<uint16_t>(sign | 0x7c00u);  // 65536 and above
  if (magnitude < 0x38800000u) {  // below 2^-14: subnormal or zero
    // Adding 0.5 leaves a last place of 2^-24, the step of the subnormals: the addition rounds.
    const uint32_t rounded = bits_from_float(float_from_bits(magnitude) + 0.5f);
    return static_cast<uint16_t>(sign | (rounded - 0x3f000000u));
  }
  // The exponent's bias goes from 127 to 15; rounding may carry into it, up to infinity.
  const uint32_t odd = (magnitude >> 13) & 1u;
  return static_cast<uint16_t>(sign | ((magnitude - 0x38000000u + 0xfffu + odd) >> 13));
}

static inline bool f16_is_finite(uint16_t half) { return (half & 0x7c00u) != 0x7c00u; }

}  // namespace sparrow

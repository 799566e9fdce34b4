#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "base/check.h"
#include "quant/block_formats.h"
#include "quant/convert_int_groups.h"
#include "quant/convert_row.h"
#include "quant/quantize_k.h"
#include "tensor/half.h"

namespace sparrow {
namespace {

template <typename T>
void store(std::byte* bytes, int64_t index, const T& value) {
  std::memcpy(bytes + static_cast<size_t>(index) * sizeof(T), &value, sizeof(T));
}

// A block of NaN or huge values must not reach a float-to-int conversion out of range.
int to_int_clamped(float value, int low, int high) {
  const float least = static_cast<float>(low), most = static_cast<float>(high);
  const float above = value > least ? value : least;
  return static_cast<int>(above < most ? above : most);
}

float inverse_of(float scale) { return scale != 0 ? 1.0f / scale : 0.0f; }

// As integers, magnitudes order like the floats they are, and the loop becomes vector code; a NaN
// is larger than all.
int32_t magnitude_bits(float value) {
  int32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits & 0x7fffffff;
}

int32_t largest_magnitude_bits(const float* values) {
  int32_t largest = 0;
  for (int i = 0; i < kQuantBlock; ++i) {
    const int32_t bits = magnitude_bits(values[i]);
    largest = bits > largest ? bits : largest;
  }
  return largest;
}

float largest_magnitude(const float* values) {
  const int32_t bits = largest_magnitude_bits(values);
  float largest;
  std::memcpy(&largest, &bits, sizeof largest);
  return largest;
}

// The first value of largest magnitude, with its sign.
float signed_largest(const float* values) {
  const int32_t largest = largest_magnitude_bits(values);
  if (largest == 0) return 0;
  int i = 0;
  while (magnitude_bits(values[i]) != largest) ++i;
  return values[i];
}

// round() for |value| < 2^22, half away from zero as the reference has it, in instructions every
// machine has as vectors: the float below a half is added and the rest cut off.
float before_cut(float value) {
  constexpr float kBelowHalf = 0x1.fffffep-2f;
  return value + std::copysign(kBelowHalf, value);
}

struct Range {
  float low = std::numeric_limits<float>::max();
  float high = std::numeric_limits<float>::lowest();
};

Range range_of(const float* values) {
  Range range;
  for (int i = 0; i < kQuantBlock; ++i) {
    range.low = std::min(range.low, values[i]);
    range.high = std::max(range.high, values[i]);
  }
  return range;
}

// Codes of 5 bits: the low four as nibbles, bit 4 of element i in bit i of high_bits.
template <typename Block>
void put_five_bits(const int (&codes)[kQuantBlock], Block& block) {
  std::memset(block.high_bits, 0, sizeof block.high_bits);
  for (int i = 0; i < kQuantBlock; ++i) {
    block.high_bits[i / 8] =
        static_cast<uint8_t>(block.high_bits[i / 8] | (codes[i] >> 4) << (i % 8));
  }
  for (int i = 0; i < kQuantBlock / 2; ++i) {
    block.nibbles[i] =
        static_cast<uint8_t>((codes[i] & 15) | (codes[i + kQuantBlock / 2] & 15) << 4);
  }
}

void quantize(const float* values, BlockQ8_0& block) {
  const float scale = largest_magnitude(values) / 127.0f;
  const float inverse = inverse_of(scale);
  block.scale = f16_from_float(scale);
  for (int i = 0; i < kQuantBlock; ++i) {
    block.values[i] =
        static_cast<int8_t>(to_int_clamped(before_cut(values[i] * inverse), -128, 127));
  }
}

void quantize(const float* values, BlockQ4_0& block) {
  const float scale = signed_largest(values) / -8.0f;
  const float inverse = inverse_of(scale);
  block.scale = f16_from_float(scale);
  for (int i = 0; i < kQuantBlock / 2; ++i) {
    const int low = to_int_clamped(values[i] * inverse + 8.5f, 0, 15);
    const int high = to_int_clamped(values[i + kQuantBlock / 2] * inverse + 8.5f, 0, 15);
    block.nibbles[i] = static_cast<uint8_t>(low | (high << 4));
  }
}

void quantize(const float* values, BlockQ4_1& block) {
  const Range range = range_of(values);
  const float scale = (range.high - range.low) / 15.0f;
  const float inverse = inverse_of(scale);
  block.scale = f16_from_float(scale);
  block.minimum = f16_from_float(range.low);
  for (int i = 0; i < kQuantBlock / 2; ++i) {
    const float low = (values[i] - range.low) * inverse;
    const float high = (values[i + kQuantBlock / 2] - range.low) * inverse;
    block.nibbles[i] = static_cast<uint8_t>(to_int_clamped(low + 0.5f, 0, 15) |
                                            to_int_clamped(high + 0.5f, 0, 15) << 4);
  }
}

void quantize(const float* values, BlockQ5_0& block) {
  const float scale = signed_largest(values) / -16.0f;
  const float inverse = inverse_of(scale);
  block.scale = f16_from_float(scale);
  int codes[kQuantBlock];
  for (int i = 0; i < kQuantBlock; ++i) {
    codes[i] = to_int_clamped(values[i] * inverse + 16.5f, 0, 31);
  }
  put_five_bits(codes, block);
}

void quantize(const float* values, BlockQ5_1& block) {
  const Range range = range_of(values);
  const float scale = (range.high - range.low) / 31.0f;
  const float inverse = inverse_of(scale);
  block.scale = f16_from_float(scale);
  block.minimum = f16_from_float(range.low);
  int codes[kQuantBlock];
  for (int i = 0; i < kQuantBlock; ++i) {
    codes[i] = to_int_clamped((values[i] - range.low) * inverse + 0.5f, 0, 31);
  }
  put_five_bits(codes, block);
}

void quantize(const float* values, BlockQ4_K& block) { quantize_q4_k(values, block); }
void quantize(const float* values, BlockQ5_K& block) { quantize_q5_k(values, block); }
void quantize(const float* values, BlockQ6_K& block) { quantize_q6_k(values, block); }

template <typename Block, int kElements = kQuantBlock>
void quantize_blocks(const float* values, int64_t cols, std::byte* row) {
  for (int64_t i = 0; i < cols / kElements; ++i) {
    Block block;
    quantize(values + i * kElements, block);
    store(row, i, block);
  }
}

}  // namespace

bool can_quantize(TensorType type) {
  switch (type) {
    case TensorType::kF32:
    case TensorType::kF16:
    case TensorType::kBF16:
    case TensorType::kQ8_0:
    case TensorType::kQ4_0:
    case TensorType::kQ4_1:
    case TensorType::kQ5_0:
    case TensorType::kQ5_1:
    case TensorType::kQ4_K:
    case TensorType::kQ5_K:
    case TensorType::kQ6_K:
      return true;
    default:
      return is_int_group(type);
  }
}

void quantize_row(TensorType type, const float* values, int64_t cols, std::byte* row) {
  CHECK(cols >= 0 && cols % tensor_type_info(type).block_elements == 0);
  switch (type) {
    case TensorType::kF32:
      if (cols > 0) std::memcpy(row, values, static_cast<size_t>(cols) * sizeof(float));
      return;
    case TensorType::kF16:
      for (int64_t i = 0; i < cols; ++i) store(row, i, f16_from_float(values[i]));
      return;
    case TensorType::kBF16:
      for (int64_t i = 0; i < cols; ++i) store(row, i, bf16_from_float(values[i]));
      return;
    case TensorType::kQ8_0:
      return quantize_blocks<BlockQ8_0>(values, cols, row);
    case TensorType::kQ4_0:
      return quantize_blocks<BlockQ4_0>(values, cols, row);
    case TensorType::kQ4_1:
      return quantize_blocks<BlockQ4_1>(values, cols, row);
    case TensorType::kQ5_0:
      return quantize_blocks<BlockQ5_0>(values, cols, row);
    case TensorType::kQ5_1:
      return quantize_blocks<BlockQ5_1>(values, cols, row);
    case TensorType::kQ4_K:
      return quantize_blocks<BlockQ4_K, kSuperBlock>(values, cols, row);
    case TensorType::kQ5_K:
      return quantize_blocks<BlockQ5_K, kSuperBlock>(values, cols, row);
    case TensorType::kQ6_K:
      return quantize_blocks<BlockQ6_K, kSuperBlock>(values, cols, row);
    default:
      if (is_int_group(type)) return quantize_int_groups(type, TensorType::kF32, values, cols, row);
      CHECK(false && "no quantizer for this type: ask can_quantize() first");
  }
}

}  // namespace sparrow

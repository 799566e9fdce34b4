#include "quant/search_int_groups.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/check.h"
#include "quant/convert_int_groups.h"
#include "quant/convert_row.h"
#include "quant/int_group_blocks.h"

namespace sparrow {
namespace {

// Divisors of max|x|: 7.5 is round to nearest, 8 with a negative scale is Q4_0; below it the grid
// outgrows the values, above it the largest ones are clipped.
constexpr float kFirstDivisor = 6.5f, kDivisorStep = 0.25f;
constexpr int kNumDivisors = 16;
constexpr size_t kLanes = 8;                // partial sums: a fixed order that compilers vectorise
constexpr float kRoundMagic = 12582912.0f;  // 1.5 * 2^23: adding and subtracting it rounds to int

float rounded_to(TensorType type, float value) {
  std::byte bytes[4];
  quantize_row(type, &value, 1, bytes);
  dequantize_row(type, bytes, 1, &value);
  return value;
}

// Sum of weight * (scale * q - value)^2 for the nearest q in [-8, 7].
float weighted_error(const float* values, const float* weights, size_t count, float scale) {
  const float inverse = 1.0f / scale;
  float sums[kLanes] = {};
  for (size_t begin = 0; begin < count; begin += kLanes) {
    for (size_t lane = 0; lane < kLanes; ++lane) {
      const float value = values[begin + lane];
      float quotient = value * inverse;
      quotient = quotient > 7.0f ? 7.0f : quotient;
      quotient = quotient < -8.0f ? -8.0f : quotient;
      const float q = (quotient + kRoundMagic) - kRoundMagic;
      const float difference = scale * q - value;
      sums[lane] += weights[begin + lane] * difference * difference;
    }
  }
  return ((sums[0] + sums[1]) + (sums[2] + sums[3])) + ((sums[4] + sums[5]) + (sums[6] + sums[7]));
}

float best_scale(TensorType scale_type, const float* values, const float* weights, size_t count) {
  float largest = 0;
  for (size_t i = 0; i < count; ++i) {
    if (!std::isfinite(values[i])) return values[i];  // the scale tells, as in quantize_int_groups
    largest = std::max(largest, std::fabs(values[i]));
  }
  float best = rounded_to(scale_type, largest / 7.5f);
  // Nothing to choose from: zeros, and what lies outside the scale's type.
  if (best == 0 || !std::isfinite(best) || !std::isfinite(1.0f / best)) return best;
  float best_error = weighted_error(values, weights, count, best);
  for (int step = 0; step < 2 * kNumDivisors; ++step) {
    const float divisor = kFirstDivisor + kDivisorStep * static_cast<float>(step / 2);
    const float scale = rounded_to(scale_type, (step % 2 == 0 ? largest : -largest) / divisor);
    if (scale == 0 || !std::isfinite(scale) || !std::isfinite(1.0f / scale)) continue;
    const float error = weighted_error(values, weights, count, scale);
    if (error < best_error) {
      best_error = error;
      best = scale;
    }
  }
  return best;
}

int code_of(float value, float scale) {
  if (scale == 0 || !std::isfinite(scale)) return 8;
  const float nearest = std::nearbyint(value / scale);
  return static_cast<int>(std::clamp(nearest, -8.0f, 7.0f)) + 8;
}

template <size_t kGroup>
void search_groups(TensorType scale_type, const float* values, const float* weights, int64_t cols,
                   std::byte* row) {
  float ones[kGroup];
  std::fill_n(ones, kGroup, 1.0f);
  for (size_t begin = 0; begin < static_cast<size_t>(cols); begin += kGroup) {
    const float* group = values + begin;
    BlockI4<kGroup> block = {};
    block.scale =
        best_scale(scale_type, group, weights == nullptr ? ones : weights + begin, kGroup);
    block.zero = 8;
    for (size_t i = 0; i < kGroup / 2; ++i) {
      const int low = code_of(group[2 * i], block.scale);
      const int high = code_of(group[2 * i + 1], block.scale);
      block.nibbles[i] = static_cast<uint8_t>(low | high << 4);
    }
    std::memcpy(row, &block, sizeof block);
    row += sizeof block;
  }
}

}  // namespace

void search_int4_groups(TensorType type, TensorType scale_type, const float* values,
                        const float* weights, int64_t cols, std::byte* row) {
  CHECK(cols >= 0 && cols % tensor_type_info(type).block_elements == 0);
  switch (type) {
    case TensorType::kI4G32:
      return search_groups<32>(scale_type, values, weights, cols, row);
    case TensorType::kI4G64:
      return search_groups<64>(scale_type, values, weights, cols, row);
    case TensorType::kI4G128:
      return search_groups<128>(scale_type, values, weights, cols, row);
    default:
      CHECK(false && "not a type of 4-bit groups");
  }
}

}  // namespace sparrow

// The product oracle: one strip, one token, 32 chains at a time, in the order the contract fixes.

#include <cmath>
#include <cstring>

#include "kernels/scalar/scalar_kernels.h"
#include "tensor/half.h"

namespace sparrow::scalar {
namespace {

float load_half(const uint8_t* bytes, bool is_f16) {
  uint16_t half;
  std::memcpy(&half, bytes, 2);
  return is_f16 ? float_from_f16(half) : float_from_bf16(half);
}

void plain_strip(const PackedView& weights, const uint8_t* strip, const float* x,
                 float (&sums)[kStripRows]) {
  for (int64_t k = 0; k < weights.cols; ++k) {
    for (int64_t lane = 0; lane < kStripRows; ++lane) {
      float weight;
      if (weights.format == WeightFormat::kF32) {
        std::memcpy(&weight, strip + (k * kStripRows + lane) * 4, 4);
      } else {
        weight =
            load_half(strip + (k * kStripRows + lane) * 2, weights.format == WeightFormat::kF16);
      }
      sums[lane] = std::fma(weight, x[k], sums[lane]);
    }
  }
}

// Sum of one row's 32 products of a group.
int32_t group_dot(const uint8_t* values, int64_t lane, WeightFormat format, const int8_t* x) {
  int32_t sum = 0;
  for (int64_t inner = 0; inner < kGroupSize; ++inner) {
    if (format == WeightFormat::kQ8_0) {
      const uint8_t byte = values[(inner / 4 * kStripRows + lane) * 4 + inner % 4];
      sum += static_cast<int8_t>(byte) * x[inner];
    } else {
      const uint8_t pair = values[(inner / 8 * kStripRows + lane) * 4 + inner % 4];
      sum += ((inner % 8 < 4 ? pair & 15 : pair >> 4) - 8) * x[inner];
    }
  }
  return sum;
}

void grouped_strip(const PackedView& weights, const uint8_t* strip, const int8_t* x, float scale,
                   float (&sums)[kStripRows]) {
  const int64_t num_groups = weights.cols / kGroupSize;
  const int64_t group_bytes = weights.strip_bytes / num_groups;
  for (int64_t group = 0; group < num_groups; ++group) {
    const uint8_t* base = strip + group * group_bytes;
    for (int64_t lane = 0; lane < kStripRows; ++lane) {
      const int32_t dot =
          group_dot(base + kStripRows * 2, lane, weights.format, x + group * kGroupSize);
      sums[lane] = std::fma(static_cast<float>(dot), load_half(base + lane * 2, true), sums[lane]);
    }
  }
  for (float& sum : sums) sum *= scale;
}

}  // namespace

void gemm(const GemmArgs& args) {
  const PackedView& weights = args.weights;
  const ActivationsView& inputs = args.inputs;
  const bool is_grouped =
      weights.format == WeightFormat::kQ8_0 || weights.format == WeightFormat::kQ4_0;
  for (int64_t strip_id = args.strip_begin; strip_id < args.strip_end; ++strip_id) {
    const uint8_t* strip = weights.data + strip_id * weights.strip_bytes;
    const int64_t row_begin = strip_id * kStripRows;
    for (int64_t token = 0; token < inputs.num_tokens; ++token) {
      float sums[kStripRows] = {};
      if (is_grouped) {
        grouped_strip(weights, strip, inputs.quantized + token * inputs.quantized_stride,
                      inputs.scales[token], sums);
      } else {
        plain_strip(weights, strip, inputs.plain + token * inputs.plain_stride, sums);
      }
      float* out = args.out + token * args.out_stride + row_begin;
      for (int64_t lane = 0; lane < kStripRows && row_begin + lane < weights.rows; ++lane) {
        float value = sums[lane];
        if (args.bias != nullptr) value += args.bias[row_begin + lane];
        out[lane] = args.accumulate ? out[lane] + value : value;
      }
    }
  }
}

}  // namespace sparrow::scalar

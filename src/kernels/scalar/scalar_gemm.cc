// The product oracle: one strip, one token, 32 chains at a time, in the order the contract fixes.

#include <cmath>
#include <cstring>

#include "kernels/scalar/scalar_kernels.h"
#include "kernels/strip_layout.h"
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

// One row's block in integers: total and low of strip_layout.h.
struct BlockSums {
  int32_t total = 0;
  int32_t low = 0;
};

BlockSums block_sums(const StripLayout& layout, const uint8_t* block, int64_t lane,
                     const int8_t* x) {
  BlockSums sums;
  const int32_t zero = layout.zeros ? block[zeros_at(layout) + lane] : 0;
  for (int32_t group = 0; group < num_groups(layout); ++group) {
    int32_t dot = 0, inputs = 0;
    for (int32_t k = group * layout.group_inputs; k < (group + 1) * layout.group_inputs; ++k) {
      const int32_t code = strip_code(layout, block + codes_at(layout), lane, k);
      dot += (code - layout.code_offset - zero) * x[k];
      inputs += x[k];
    }
    if (layout.super) {
      const int64_t index = group * kStripRows + lane;
      dot *= static_cast<int8_t>(block[group_scales_at(layout) + index]);
      inputs *= layout.minima ? -int32_t{block[group_minima_at(layout) + index]} : 0;
    }
    sums.total += dot;
    sums.low += inputs;
  }
  return sums;
}

void grouped_strip(const PackedView& weights, const uint8_t* strip, const int8_t* x, float scale,
                   float (&sums)[kStripRows]) {
  const StripLayout layout = strip_layout(weights.format);
  const uint8_t* block = strip;
  for (int64_t k = 0; k < weights.cols; k += layout.block_inputs, block += block_bytes(layout)) {
    for (int64_t lane = 0; lane < kStripRows; ++lane) {
      const BlockSums block_sum = block_sums(layout, block, lane, x + k);
      float block_scale;
      if (layout.wide_scales) {
        std::memcpy(&block_scale, block + lane * 4, 4);
      } else {
        block_scale = load_half(block + lane * 2, true);
      }
      sums[lane] = std::fma(static_cast<float>(block_sum.total), block_scale, sums[lane]);
      if (layout.minima) {
        const float minimum = load_half(block + minima_at(layout) + lane * 2, true);
        sums[lane] = std::fma(static_cast<float>(block_sum.low), minimum, sums[lane]);
      }
    }
  }
  for (float& sum : sums) sum *= scale;
}

void one_scale_strip(const PackedView& weights, const uint8_t* strip, const int8_t* x, float scale,
                     float (&sums)[kStripRows]) {
  const StripLayout layout = strip_layout(weights.format);
  const uint8_t* codes = strip + strip_header_bytes(layout);
  for (int64_t lane = 0; lane < kStripRows; ++lane) {
    int32_t total = 0;
    for (int64_t k = 0; k < weights.cols; ++k) {
      total += (strip_code(layout, codes, lane, k) - layout.code_offset) * x[k];
    }
    float row_scale;
    std::memcpy(&row_scale, strip + lane * 4, 4);
    sums[lane] = std::fma(static_cast<float>(total), row_scale, sums[lane]) * scale;
  }
}

}  // namespace

void gemm(const GemmArgs& args) {
  const PackedView& weights = args.weights;
  const ActivationsView& inputs = args.inputs;
  const bool grouped = is_grouped(weights.format);
  for (int64_t strip_id = args.strip_begin; strip_id < args.strip_end; ++strip_id) {
    const uint8_t* strip = weights.data + strip_id * weights.strip_bytes;
    const int64_t row_begin = strip_id * kStripRows;
    for (int64_t token = 0; token < inputs.num_tokens; ++token) {
      float sums[kStripRows] = {};
      if (strip_layout(weights.format).one_scale) {
        one_scale_strip(weights, strip, inputs.quantized + token * inputs.quantized_stride,
                        inputs.scales[token], sums);
      } else if (grouped) {
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

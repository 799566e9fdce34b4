// The oracle of everything that works on rows: quantization, norm, rotary embedding, activations.

#include <cmath>

#include "kernels/scalar/scalar_kernels.h"
#include "kernels/scalar/scalar_math.h"

namespace sparrow::scalar {

void quantize(const QuantizeArgs& args) {
  for (int64_t token = 0; token < args.num_tokens; ++token) {
    const float* x = args.x + token * args.x_stride;
    int8_t* quantized = args.quantized + token * args.quantized_stride;
    // The bits of |x| order like the numbers, with NaN above infinity.
    uint32_t absmax_bits = 0;
    for (int64_t k = 0; k < args.cols; ++k) {
      const uint32_t bits = bits_from_float(x[k]) & 0x7fffffffu;
      if (bits > absmax_bits) absmax_bits = bits;
    }
    const float absmax = float_from_bits(absmax_bits);
    const bool is_finite = absmax_bits < 0x7f800000u;
    const bool is_zero = !is_finite || absmax < kQuantizeMinimum;
    const float inverse = is_zero ? 0.0f : 127.0f / absmax;
    args.scales[token] =
        is_finite ? (is_zero ? 0.0f : absmax / 127.0f) : float_from_bits(0x7fc00000u);
    for (int64_t k = 0; k < args.cols; ++k) {
      const int32_t value = is_zero ? 0 : static_cast<int32_t>(std::nearbyint(x[k] * inverse));
      quantized[k] = static_cast<int8_t>(value > 127 ? 127 : value < -127 ? -127 : value);
    }
    for (int64_t group = 0; group < args.cols / kGroupSize; ++group) {
      int32_t halves[2] = {};
      for (int64_t inner = 0; inner < kGroupSize; ++inner) {
        halves[inner / 16] += quantized[group * kGroupSize + inner];
      }
      const int64_t index = token * args.group_stride + group;
      args.group_sums[index] = halves[0] + halves[1];
      args.half_sums[2 * index] = halves[0];
      args.half_sums[2 * index + 1] = halves[1];
    }
  }
}

void rms_norm(const float* x, const float* weight, int64_t size, float epsilon, float* out) {
  float partials[kPartials] = {};
  for (int64_t i = 0; i < size; ++i) {
    partials[i % kPartials] = std::fma(x[i], x[i], partials[i % kPartials]);
  }
  const float mean = tree_sum(partials) / static_cast<float>(size);
  const float inverse = 1.0f / std::sqrt(mean + epsilon);
  for (int64_t i = 0; i < size; ++i) out[i] = x[i] * inverse * weight[i];
}

void rope(float* heads, int64_t head_stride, int32_t num_heads, int32_t head_dim,
          const float* cos_table, const float* sin_table) {
  const int32_t half = head_dim / 2;
  for (int32_t head = 0; head < num_heads; ++head) {
    float* low = heads + head * head_stride;
    float* high = low + half;
    for (int32_t i = 0; i < half; ++i) {
      const float a = low[i], b = high[i];
      low[i] = std::fma(a, cos_table[i], -(b * sin_table[i]));
      high[i] = std::fma(b, cos_table[i], a * sin_table[i]);
    }
  }
}

void silu_mul(const float* gate, const float* up, int64_t size, float* out) {
  for (int64_t i = 0; i < size; ++i) {
    out[i] = gate[i] / (1.0f + exponential(-gate[i])) * up[i];
  }
}

void add(float* sum, const float* x, int64_t size) {
  for (int64_t i = 0; i < size; ++i) sum[i] += x[i];
}

float exp_sum(float* x, int64_t size, float maximum) {
  float partials[kPartials] = {};
  for (int64_t i = 0; i < size; ++i) {
    x[i] = exponential(x[i] - maximum);
    partials[i % kPartials] += x[i];
  }
  return tree_sum(partials);
}

uint64_t read_bytes(const void* data, size_t size) {
  const auto* bytes = static_cast<const uint8_t*>(data);
  uint64_t sums[4] = {};
  size_t offset = 0;
  for (; offset + 32 <= size; offset += 32) {
    uint64_t words[4];
    memcpy(words, bytes + offset, 32);
    for (int i = 0; i < 4; ++i) sums[i] += words[i];
  }
  for (; offset < size; ++offset) sums[0] += bytes[offset];
  return sums[0] + sums[1] + sums[2] + sums[3];
}

}  // namespace sparrow::scalar

#pragma once
// For tests of products: random matrices in every format with their values as float64, and what a
// product may differ by. Test support only.

#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "kernels/cuda/gpu_test_support.h"
#include "kernels/cuda/linear/int4_order.h"
#include "tensor/half.h"

namespace sparrow {

struct WeightKind {
  const char* name;
  GpuWeightFormat format;
  int32_t group = 0;  // 0: plain; -1: the whole row
  bool has_f32_scales = false;
  bool has_zeros = false;
};

inline uint16_t round_to(GpuFloat type, float value) {
  return type == GpuFloat::kBF16 ? bf16_from_float(value) : f16_from_float(value);
}
inline float value_of(GpuFloat type, uint16_t bits) {
  return type == GpuFloat::kBF16 ? float_from_bf16(bits) : float_from_f16(bits);
}

// A matrix on the device and its weights in float64.
struct TestMatrix {
  GpuMatrix matrix;
  std::vector<double> weights;  // [rows][cols], as the stored numbers say
  GpuBuffer values, scales, zeros;

  double weight(int row, int k) const {
    return weights[static_cast<size_t>(row) * static_cast<size_t>(matrix.cols) +
                   static_cast<size_t>(k)];
  }
};

// Values of a matrix as bytes.
struct HostMatrix {
  std::vector<uint8_t> values;
  std::vector<uint8_t> scales;
  std::vector<uint8_t> zeros;
  std::vector<double> weights;
};

inline void append_bytes(std::vector<uint8_t>& out, const void* value, size_t bytes) {
  const auto* begin = static_cast<const uint8_t*>(value);
  out.insert(out.end(), begin, begin + bytes);
}

// The scales around 0.02 give weights around 1 and keep sums in fp16's range.
inline HostMatrix random_host_matrix(const WeightKind& kind, int32_t group, size_t rows,
                                     size_t cols, uint64_t seed) {
  HostMatrix out;
  std::mt19937_64 engine(seed);
  std::normal_distribution<float> normal(0.0f, 1.0f);
  if (group == 0) {
    const GpuFloat type = kind.format == GpuWeightFormat::kBF16 ? GpuFloat::kBF16 : GpuFloat::kF16;
    for (size_t i = 0; i < rows * cols; ++i) {
      const uint16_t bits = round_to(type, normal(engine));
      append_bytes(out.values, &bits, sizeof bits);
      out.weights.push_back(static_cast<double>(value_of(type, bits)));
    }
    return out;
  }
  const size_t num_groups = rows * cols / static_cast<size_t>(group);
  std::vector<double> scales;
  for (size_t i = 0; i < num_groups; ++i) {
    const float scale = 0.02f * (0.5f + std::abs(normal(engine)));
    const uint16_t half = f16_from_float(scale);
    if (kind.has_f32_scales) {
      append_bytes(out.scales, &scale, sizeof scale);
    } else {
      append_bytes(out.scales, &half, sizeof half);
    }
    scales.push_back(static_cast<double>(kind.has_f32_scales ? scale : float_from_f16(half)));
    if (kind.has_zeros) out.zeros.push_back(static_cast<uint8_t>(engine() % 16));
  }
  const bool is_int4 = kind.format == GpuWeightFormat::kInt4;
  out.values.resize(is_int4 ? rows * cols / 2 : rows * cols);
  for (size_t i = 0; i < rows * cols; ++i) {
    const size_t in_group = i / static_cast<size_t>(group);
    if (is_int4) {
      const auto nibble = static_cast<unsigned>(engine() % 16);
      const auto place =
          i / 8 * 8 + static_cast<size_t>(gpu_int4_nibble_position(static_cast<int>(i % 8)));
      out.values[place / 2] |= static_cast<uint8_t>(nibble << (place % 2 * 4));
      const int zero = kind.has_zeros ? out.zeros[in_group] : 8;
      out.weights.push_back((static_cast<int>(nibble) - zero) * scales[in_group]);
    } else {
      const auto value = static_cast<int8_t>(static_cast<int>(engine() % 256) - 128);
      out.values[i] = static_cast<uint8_t>(value);
      out.weights.push_back(value * scales[in_group]);
    }
  }
  return out;
}

class LinearTest : public GpuTest {
 protected:
  // `misalign_bytes`: the values begin that far into their buffer.
  TestMatrix make_matrix(const WeightKind& kind, int32_t rows, int32_t cols, uint64_t seed,
                         size_t misalign_bytes = 0) {
    const int32_t group = kind.group == -1 ? cols : kind.group;
    HostMatrix host =
        random_host_matrix(kind, group, static_cast<size_t>(rows), static_cast<size_t>(cols), seed);
    host.values.insert(host.values.begin(), misalign_bytes, uint8_t{0xff});
    TestMatrix out;
    out.values = upload(host.values);
    out.scales = upload(host.scales);
    out.zeros = upload(host.zeros);
    out.weights = std::move(host.weights);
    out.matrix.format = kind.format;
    out.matrix.rows = rows;
    out.matrix.cols = cols;
    out.matrix.group = group;
    out.matrix.values = out.values.as<void>(misalign_bytes);
    out.matrix.scales = out.scales.as<void>();
    out.matrix.zeros = kind.has_zeros ? out.zeros.as<uint8_t>() : nullptr;
    out.matrix.has_f32_scales = kind.has_f32_scales;
    return out;
  }

  static std::vector<uint16_t> random_rows(GpuFloat type, int num_rows, int cols, uint64_t seed) {
    const std::vector<float> values =
        random_floats(static_cast<size_t>(num_rows) * static_cast<size_t>(cols), seed);
    std::vector<uint16_t> bits;
    bits.reserve(values.size());
    for (const float value : values) bits.push_back(round_to(type, value));
    return bits;
  }
};

// A product in float64 and the sum of the magnitudes, which bounds the rounding of any order.
struct ExactProduct {
  double sum = 0;
  double magnitude = 0;
};

inline ExactProduct exact_product(const TestMatrix& matrix, int row, GpuFloat type,
                                  const std::vector<uint16_t>& x, int token) {
  ExactProduct out;
  const auto cols = static_cast<size_t>(matrix.matrix.cols);
  const uint16_t* in = x.data() + static_cast<size_t>(token) * cols;
  const double* weights = matrix.weights.data() + static_cast<size_t>(row) * cols;
  for (size_t k = 0; k < cols; ++k) {
    const double product = static_cast<double>(value_of(type, in[k])) * weights[k];
    out.sum += product;
    out.magnitude += std::abs(product);
  }
  return out;
}

// fp32 rounds each of the sum's steps by 2^-24 of a partial sum, which is at most the magnitude; no
// order has more than cols + 3 steps (a lane's, a scale's, the bias, add_to_out).
inline double sum_tolerance(const ExactProduct& exact, int cols) {
  return (cols + 3) * 0x1p-24 * exact.magnitude;
}

}  // namespace sparrow

#pragma once
// For tests of products: weight matrices of every format, on the host and on the device, and the
// product in float64. Test support only.

#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "kernels/cuda/gpu_test_support.h"
#include "kernels/cuda/linear/pack_gpu_matrix.h"
#include "quant/convert_int_groups.h"
#include "quant/convert_row.h"
#include "quant/int_group_blocks.h"
#include "quant/random_blocks.h"
#include "tensor/half.h"

namespace sparrow {

// A source type and how it is packed.
struct WeightCase {
  const char* name;
  TensorType type;
  GpuPackTarget target;  // a group of 0 for integers: one scale a row
  int32_t block;         // cols must be a multiple
};

inline std::vector<WeightCase> weight_cases() {
  constexpr GpuWeightFormat kInt8 = GpuWeightFormat::kInt8, kInt4 = GpuWeightFormat::kInt4;
  return {
      {"bf16", TensorType::kBF16, {GpuWeightFormat::kBF16}, 1},
      {"f16", TensorType::kF16, {GpuWeightFormat::kF16}, 1},
      {"int8, group 32, fp16 scales", TensorType::kQ8_0, {kInt8, 32}, 32},
      {"int8, group 64, fp32 scales", TensorType::kI8G64, {kInt8, 64, true}, 64},
      {"int8, a scale a row", TensorType::kBF16, {kInt8, 0}, 32},
      {"int4, group 32, no zeros", TensorType::kQ4_0, {kInt4, 32}, 32},
      {"int4, group 32, zeros, fp32 scales", TensorType::kI4G32, {kInt4, 32, true, true}, 32},
      {"int4, a scale a row", TensorType::kBF16, {kInt4, 0}, 32},
  };
}

// A packed matrix in host memory.
struct PackedWeights {
  GpuMatrix shape;  // without memory
  std::vector<std::byte> values, scales, zeros;

  GpuMatrix matrix(const void* values_at, const void* scales_at, const void* zeros_at) const {
    GpuMatrix matrix = shape;
    matrix.values = values_at;
    matrix.scales = scales.empty() ? nullptr : scales_at;
    matrix.zeros = zeros.empty() ? nullptr : static_cast<const uint8_t*>(zeros_at);
    return matrix;
  }
  GpuMatrix host_matrix() const { return matrix(values.data(), scales.data(), zeros.data()); }
};

inline std::vector<std::byte> random_source(TensorType type, int32_t rows, int32_t cols,
                                            uint32_t seed) {
  std::vector<std::byte> bytes = random_block_rows(type, rows, cols, seed, 0.05f);
  const auto step = static_cast<size_t>(tensor_type_info(type).block_bytes);
  for (size_t at = 0; at < bytes.size() && is_int4_group(type); at += step) {
    bytes[at + sizeof(float)] &= std::byte{15};  // zero points are nibbles
  }
  return bytes;
}

inline PackedWeights pack(const WeightCase& weights, int32_t rows, int32_t cols, uint32_t seed) {
  const std::vector<std::byte> source = random_source(weights.type, rows, cols, seed);
  GpuPackTarget target = weights.target;
  const bool is_plain =
      target.format == GpuWeightFormat::kBF16 || target.format == GpuWeightFormat::kF16;
  if (!is_plain && target.group == 0) target.group = cols;
  const GpuMatrixBytes bytes = gpu_matrix_bytes(target.format, rows, cols, target.group,
                                                target.has_f32_scales, target.has_zeros);
  PackedWeights packed;
  packed.shape.format = target.format;
  packed.shape.rows = rows;
  packed.shape.cols = cols;
  packed.shape.group = target.group;
  packed.shape.has_f32_scales = target.has_f32_scales;
  packed.values.resize(bytes.values);
  packed.scales.resize(bytes.scales);
  packed.zeros.resize(bytes.zeros);
  const Status status = pack_gpu_rows(target, {weights.type, rows, cols, source},
                                      {packed.values, packed.scales, packed.zeros});
  EXPECT_TRUE(status.ok()) << status.message();
  return packed;
}

class LinearTest : public GpuTest {
 protected:
  struct DeviceWeights {
    GpuBuffer values, scales, zeros;
    GpuMatrix matrix;
  };
  DeviceWeights to_device(const PackedWeights& packed) {
    DeviceWeights on_device;
    on_device.values = upload(packed.values);
    on_device.scales = upload(packed.scales);
    on_device.zeros = upload(packed.zeros);
    on_device.matrix = packed.matrix(on_device.values.as<void>(), on_device.scales.as<void>(),
                                     on_device.zeros.as<void>());
    return on_device;
  }
};

inline float float_of(GpuFloat type, uint16_t bits) {
  return type == GpuFloat::kBF16 ? float_from_bf16(bits) : float_from_f16(bits);
}
inline std::vector<uint16_t> random_x(GpuFloat type, size_t count, uint64_t seed) {
  std::vector<uint16_t> bits(count);
  const std::vector<float> values = random_floats(count, seed);
  for (size_t i = 0; i < count; ++i) {
    bits[i] = type == GpuFloat::kBF16 ? bf16_from_float(values[i]) : f16_from_float(values[i]);
  }
  return bits;
}

// x W^T in float64, [num_rows][rows], and the sum of the products' magnitudes.
struct Product {
  std::vector<double> sums, magnitudes;
};
inline Product exact_product(const GpuMatrix& matrix, GpuFloat x_type,
                             const std::vector<uint16_t>& x, int32_t num_rows) {
  const auto cols = static_cast<size_t>(matrix.cols), rows = static_cast<size_t>(matrix.rows);
  std::vector<float> inputs(x.size()), weights(cols);
  for (size_t i = 0; i < x.size(); ++i) inputs[i] = float_of(x_type, x[i]);
  Product product;
  product.sums.resize(static_cast<size_t>(num_rows) * rows);
  product.magnitudes.resize(product.sums.size());
  for (size_t row = 0; row < rows; ++row) {
    unpack_gpu_row(matrix, static_cast<int64_t>(row), weights.data());
    for (size_t t = 0; t < static_cast<size_t>(num_rows); ++t) {
      double sum = 0, magnitude = 0;
      for (size_t k = 0; k < cols; ++k) {
        const double term = static_cast<double>(weights[k]) * inputs[t * cols + k];
        sum += term;
        magnitude += std::fabs(term);
      }
      product.sums[t * rows + row] = sum;
      product.magnitudes[t * rows + row] = magnitude;
    }
  }
  return product;
}

// Products of the stored 16-bit and integer values are exact in fp32. What is left is the sum: each
// of K additions errs by half a last place (2^-24) of at most the sum of magnitudes, the scales and
// the additions of bias and residual by a few more.
inline double sum_tolerance(int32_t cols, double magnitude) {
  return (cols + 8) * 0x1p-24 * magnitude + 1e-30;
}

}  // namespace sparrow

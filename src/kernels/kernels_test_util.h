#pragma once
// Shared by the kernel tests: every table to compare with the scalar one, exact comparison of
// floats, random matrices.

#include <gtest/gtest.h>

#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "kernels/cpu_features.h"
#include "kernels/packed_matrix.h"
#include "tensor/half.h"

namespace sparrow {

// The 16-lane kernels on pairs of AVX2 registers (wide/).
const Kernels* wide_kernels();

// Everything this machine can run beside scalar.
inline std::vector<const Kernels*> fast_kernels() {
  std::vector<const Kernels*> tables = runnable_kernels();
  tables.erase(tables.begin());
  if (cpu_features().avx2) tables.push_back(wide_kernels());
  return tables;
}

inline std::vector<float> random_floats(size_t count, uint32_t seed, float deviation = 1.0f) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0.0f, deviation);
  std::vector<float> values(count);
  for (float& value : values) value = normal(random);
  return values;
}

// Bit for bit, except that one NaN is as good as another.
inline testing::AssertionResult same_bits(const std::vector<float>& expected,
                                          const std::vector<float>& found) {
  if (expected.size() != found.size()) return testing::AssertionFailure() << "sizes differ";
  for (size_t i = 0; i < expected.size(); ++i) {
    if (expected[i] != expected[i] && found[i] != found[i]) continue;
    if (bits_from_float(expected[i]) != bits_from_float(found[i])) {
      return testing::AssertionFailure()
             << "element " << i << ": expected " << expected[i] << ", found " << found[i];
    }
  }
  return testing::AssertionSuccess();
}

inline TensorType tensor_type_of(WeightFormat format) {
  switch (format) {
    case WeightFormat::kF32:
      return TensorType::kF32;
    case WeightFormat::kF16:
      return TensorType::kF16;
    case WeightFormat::kBF16:
      return TensorType::kBF16;
    case WeightFormat::kQ8_0:
      return TensorType::kQ8_0;
    case WeightFormat::kQ4_0:
      return TensorType::kQ4_0;
  }
  return TensorType::kF32;
}

inline constexpr WeightFormat kAllFormats[] = {WeightFormat::kF32, WeightFormat::kF16,
                                               WeightFormat::kBF16, WeightFormat::kQ8_0,
                                               WeightFormat::kQ4_0};

inline bool is_grouped(WeightFormat format) {
  return format == WeightFormat::kQ8_0 || format == WeightFormat::kQ4_0;
}

// Elements are about N(0, 1) (plain) or any byte with scales near 0.01 (groups), -128 included.
inline PackedMatrix random_matrix(WeightFormat format, int64_t rows, int64_t cols, uint32_t seed) {
  const TensorType type = tensor_type_of(format);
  std::vector<std::byte> bytes(tensor_row_bytes(type, cols) * static_cast<size_t>(rows));
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0.0f, 1.0f);
  const size_t step = static_cast<size_t>(tensor_type_info(type).block_bytes);
  for (size_t offset = 0; offset < bytes.size(); offset += step) {
    const float value = normal(random);
    if (type == TensorType::kF32) {
      std::memcpy(bytes.data() + offset, &value, 4);
      continue;
    }
    const uint16_t bf16 = bf16_from_float(value), f16 = f16_from_float(value);
    const uint16_t scale = f16_from_float(value * 0.01f);
    const uint16_t half = type == TensorType::kBF16 ? bf16 : step == 2 ? f16 : scale;
    std::memcpy(bytes.data() + offset, &half, 2);
    for (size_t i = 2; i < step; ++i) bytes[offset + i] = static_cast<std::byte>(random() & 0xff);
  }
  PackedMatrix matrix = *PackedMatrix::allocate(format, rows, cols);
  const Status status = matrix.pack_rows(0, rows, type, bytes);
  EXPECT_TRUE(status.ok()) << status.message();
  return matrix;
}

// Inputs of a product in both forms, quantized by the scalar oracle.
struct TestInputs {
  int64_t num_tokens, cols;
  std::vector<float> plain;
  std::vector<int8_t> quantized;
  std::vector<float> scales;
  std::vector<int32_t> group_sums;

  TestInputs(std::vector<float> values, int64_t tokens)
      : num_tokens(tokens), cols(static_cast<int64_t>(values.size()) / tokens), plain(values) {
    if (cols % kGroupSize != 0) return;
    quantized.resize(plain.size());
    scales.resize(static_cast<size_t>(tokens));
    group_sums.resize(plain.size() / kGroupSize);
    scalar_kernels().quantize(QuantizeArgs{plain.data(), cols, tokens, cols, quantized.data(), cols,
                                           scales.data(), group_sums.data(), cols / kGroupSize});
  }

  ActivationsView view(int64_t first_token, int64_t count) const {
    ActivationsView view;
    view.num_tokens = count;
    view.plain = plain.data() + first_token * cols;
    view.plain_stride = cols;
    if (!quantized.empty()) {
      view.quantized = quantized.data() + first_token * cols;
      view.scales = scales.data() + first_token;
      view.group_sums = group_sums.data() + first_token * (cols / kGroupSize);
    }
    view.quantized_stride = cols;
    view.group_stride = cols / kGroupSize;
    return view;
  }
};

}  // namespace sparrow

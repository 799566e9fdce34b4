#pragma once
// Shared by the kernel tests: every table to compare with the scalar one, exact comparison of
// floats, random matrices.

#include <gtest/gtest.h>

#include <cstring>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "kernels/cpu_features.h"
#include "kernels/packed_matrix.h"
#include "kernels/strip_layout.h"
#include "quant/random_blocks.h"
#include "tensor/half.h"

namespace sparrow {

#if defined(__x86_64__)
// The 16-lane kernels on pairs of AVX2 registers (wide/).
const Kernels* wide_kernels();
// The table "avxvnni" in the encoding of AVX-512 VNNI (avxvnni/).
const Kernels* avxvnni_evex_kernels();
#endif

// Everything this machine can run beside scalar.
inline std::vector<const Kernels*> fast_kernels() {
  std::vector<const Kernels*> tables = runnable_kernels();
  tables.erase(tables.begin());
#if defined(__x86_64__)
  if (cpu_features().avx2) tables.push_back(wide_kernels());
  if (cpu_features().avx512) tables.push_back(avxvnni_evex_kernels());
#endif
  return tables;
}

// Sizes of the products compared: fewer where an emulator runs them (cmake/SparrowArmTests.cmake).
#ifdef SPARROW_EMULATED
inline constexpr int64_t kProductRows[] = {1, 45};
inline constexpr int64_t kProductCols[] = {32, 160, 512, 77};
#else
inline constexpr int64_t kProductRows[] = {1, 32, 45, 129};
inline constexpr int64_t kProductCols[] = {32, 160, 1024, 384, 256, 77};
#endif

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

inline constexpr WeightFormat kAllFormats[] = {
    WeightFormat::kF32,   WeightFormat::kF16,    WeightFormat::kBF16,   WeightFormat::kQ8_0,
    WeightFormat::kQ4_0,  WeightFormat::kQ4_1,   WeightFormat::kQ5_1,   WeightFormat::kQ2_K,
    WeightFormat::kQ3_K,  WeightFormat::kQ4_K,   WeightFormat::kQ5_K,   WeightFormat::kQ6_K,
    WeightFormat::kI4G32, WeightFormat::kI4G64,  WeightFormat::kI4G128, WeightFormat::kI8G32,
    WeightFormat::kI8G64, WeightFormat::kI8G128, WeightFormat::kI8Row};

// Rows of tensor_type_for(format): elements are about N(0, 1) (plain) or any bytes with scales near
// 0.01 (grouped), so that codes like -128 and zero points like 255 occur.
inline std::vector<std::byte> random_rows_of(WeightFormat format, int64_t rows, int64_t cols,
                                             uint32_t seed) {
  const TensorType type = tensor_type_for(format);
  std::vector<std::byte> bytes =
      random_block_rows(type, rows, cols, seed, is_grouped(format) ? 0.01f : 1.0f);
  if (format != WeightFormat::kI8Row) return bytes;
  // The scale of a row's first block becomes that of all of them.
  const size_t row_bytes = tensor_row_bytes(type, cols);
  for (size_t at = 0; at < bytes.size(); at += row_bytes) {
    float scale;
    std::memcpy(&scale, bytes.data() + at, 4);
    set_all_scales(type, std::span(bytes).subspan(at, row_bytes), scale);
  }
  return bytes;
}

inline PackedMatrix random_matrix(WeightFormat format, int64_t rows, int64_t cols, uint32_t seed) {
  const TensorType type = tensor_type_for(format);
  PackedMatrix matrix = *PackedMatrix::allocate(format, rows, cols);
  const Status status = matrix.pack_rows(0, rows, type, random_rows_of(format, rows, cols, seed));
  EXPECT_TRUE(status.ok()) << status.message();
  return matrix;
}

// Inputs of a product in both forms, quantized by the scalar oracle.
struct TestInputs {
  int64_t num_tokens, cols;
  std::vector<float> plain;
  std::vector<int8_t> quantized;
  std::vector<float> scales;
  std::vector<int32_t> group_sums, half_sums;

  TestInputs(std::vector<float> values, int64_t tokens)
      : num_tokens(tokens), cols(static_cast<int64_t>(values.size()) / tokens), plain(values) {
    if (cols % kGroupSize != 0) return;
    quantized.resize(plain.size());
    scales.resize(static_cast<size_t>(tokens));
    group_sums.resize(plain.size() / kGroupSize);
    half_sums.resize(2 * group_sums.size());
    scalar_kernels().quantize(QuantizeArgs{plain.data(), cols, tokens, cols, quantized.data(), cols,
                                           scales.data(), group_sums.data(), cols / kGroupSize,
                                           half_sums.data()});
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
      view.half_sums = half_sums.data() + 2 * first_token * (cols / kGroupSize);
    }
    view.quantized_stride = cols;
    view.group_stride = cols / kGroupSize;
    return view;
  }
};

}  // namespace sparrow

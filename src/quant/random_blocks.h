#pragma once
// Rows of random blocks for tests: every bit random but those of scales and minima, which are
// given. So formats without a quantizer can be tested, and with codes no quantizer would choose.

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <random>
#include <span>
#include <vector>

#include "quant/tensor_type.h"
#include "tensor/half.h"

namespace sparrow {

// Byte offsets of the fp16 fields of a block type: the scale, then the minimum if there is one.
// A table of the tests' own: they hold first_non_finite(), which has another, against it.
inline std::vector<size_t> f16_fields(TensorType type) {
  switch (type) {
    case TensorType::kQ4_1:
    case TensorType::kQ5_1:
    case TensorType::kQ4_K:
    case TensorType::kQ5_K:
      return {0, 2};
    case TensorType::kQ2_K:
      return {80, 82};
    case TensorType::kQ3_K:
      return {108};
    case TensorType::kQ6_K:
      return {208};
    default:
      return {0};
  }
}

inline void set_block_scales(TensorType type, std::byte* block, float scale, float minimum) {
  if (type == TensorType::kF32 || static_cast<uint32_t>(type) >= kFirstMemoryOnlyType) {
    std::memcpy(block, &scale, 4);
    return;
  }
  const std::vector<size_t> fields = f16_fields(type);
  const uint16_t first = type == TensorType::kBF16 ? bf16_from_float(scale) : f16_from_float(scale);
  const uint16_t second = f16_from_float(minimum);
  std::memcpy(block + fields[0], &first, 2);
  if (fields.size() > 1) std::memcpy(block + fields[1], &second, 2);
}

// One scale for all blocks of some rows.
inline void set_all_scales(TensorType type, std::span<std::byte> rows, float scale) {
  const auto step = static_cast<size_t>(tensor_type_info(type).block_bytes);
  for (size_t at = 0; at < rows.size(); at += step) {
    set_block_scales(type, rows.data() + at, scale, 0.0f);
  }
}

// Scales (in plain types: elements) are normal with the deviation given, as are minima.
inline std::vector<std::byte> random_block_rows(TensorType type, int64_t rows, int64_t cols,
                                                uint32_t seed, float deviation) {
  std::vector<std::byte> bytes(tensor_row_bytes(type, cols) * static_cast<size_t>(rows));
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0.0f, deviation);
  for (std::byte& byte : bytes) byte = static_cast<std::byte>(random() & 0xff);
  const auto step = static_cast<size_t>(tensor_type_info(type).block_bytes);
  for (size_t offset = 0; offset < bytes.size(); offset += step) {
    const float scale = normal(random), minimum = normal(random);
    set_block_scales(type, bytes.data() + offset, scale, minimum);
  }
  return bytes;
}

}  // namespace sparrow

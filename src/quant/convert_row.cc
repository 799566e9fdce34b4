#include "quant/convert_row.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/check.h"
#include "quant/block_formats.h"
#include "quant/convert_int_groups.h"
#include "tensor/half.h"

namespace sparrow {
namespace {

template <typename T>
T load(const std::byte* bytes, int64_t index) {
  T value;
  std::memcpy(&value, bytes + static_cast<size_t>(index) * sizeof(T), sizeof(T));
  return value;
}

template <typename T>
void store(std::byte* bytes, int64_t index, const T& value) {
  std::memcpy(bytes + static_cast<size_t>(index) * sizeof(T), &value, sizeof(T));
}

// A block of NaN or huge values must not reach a float-to-int conversion out of range.
int to_int_clamped(float value, int low, int high) {
  if (!(value > static_cast<float>(low))) return low;
  return value < static_cast<float>(high) ? static_cast<int>(value) : high;
}

BlockQ8_0 quantize_q8_0(const float* values) {
  float largest = 0;
  for (int i = 0; i < kQuantBlock; ++i) largest = std::max(largest, std::fabs(values[i]));
  const float scale = largest / 127.0f;
  const float inverse = scale != 0 ? 1.0f / scale : 0.0f;
  BlockQ8_0 block;
  block.scale = f16_from_float(scale);
  for (int i = 0; i < kQuantBlock; ++i) {
    // round() goes half away from zero, as the reference does.
    block.values[i] =
        static_cast<int8_t>(to_int_clamped(std::round(values[i] * inverse), -128, 127));
  }
  return block;
}

BlockQ4_0 quantize_q4_0(const float* values) {
  float largest = 0, signed_largest = 0;
  for (int i = 0; i < kQuantBlock; ++i) {
    if (std::fabs(values[i]) > largest) {
      largest = std::fabs(values[i]);
      signed_largest = values[i];
    }
  }
  const float scale = signed_largest / -8.0f;
  const float inverse = scale != 0 ? 1.0f / scale : 0.0f;
  BlockQ4_0 block;
  block.scale = f16_from_float(scale);
  for (int i = 0; i < kQuantBlock / 2; ++i) {
    const int low = to_int_clamped(values[i] * inverse + 8.5f, 0, 15);
    const int high = to_int_clamped(values[i + kQuantBlock / 2] * inverse + 8.5f, 0, 15);
    block.nibbles[i] = static_cast<uint8_t>(low | (high << 4));
  }
  return block;
}

void dequantize_q8_0(const BlockQ8_0& block, float* out) {
  const float scale = float_from_f16(block.scale);
  for (int i = 0; i < kQuantBlock; ++i) out[i] = scale * static_cast<float>(block.values[i]);
}

void dequantize_q4_0(const BlockQ4_0& block, float* out) {
  const float scale = float_from_f16(block.scale);
  for (int i = 0; i < kQuantBlock / 2; ++i) {
    out[i] = scale * static_cast<float>((block.nibbles[i] & 15) - 8);
    out[i + kQuantBlock / 2] = scale * static_cast<float>((block.nibbles[i] >> 4) - 8);
  }
}

}  // namespace

void dequantize_row(TensorType type, const std::byte* row, int64_t cols, float* out) {
  const int64_t blocks = cols / kQuantBlock;
  CHECK(cols >= 0 && cols % tensor_type_info(type).block_elements == 0);
  switch (type) {
    case TensorType::kF32:
      if (cols > 0) std::memcpy(out, row, static_cast<size_t>(cols) * sizeof(float));
      return;
    case TensorType::kF16:
      for (int64_t i = 0; i < cols; ++i) out[i] = float_from_f16(load<uint16_t>(row, i));
      return;
    case TensorType::kBF16:
      for (int64_t i = 0; i < cols; ++i) out[i] = float_from_bf16(load<uint16_t>(row, i));
      return;
    case TensorType::kQ8_0:
      for (int64_t i = 0; i < blocks; ++i) {
        dequantize_q8_0(load<BlockQ8_0>(row, i), out + i * kQuantBlock);
      }
      return;
    case TensorType::kQ4_0:
      for (int64_t i = 0; i < blocks; ++i) {
        dequantize_q4_0(load<BlockQ4_0>(row, i), out + i * kQuantBlock);
      }
      return;
    case TensorType::kI4G32:
    case TensorType::kI4G64:
    case TensorType::kI4G128:
    case TensorType::kI8G32:
    case TensorType::kI8G64:
    case TensorType::kI8G128:
      return dequantize_int_groups(type, row, cols, out);
  }
  CHECK(false && "unknown tensor type");
}

void quantize_row(TensorType type, const float* values, int64_t cols, std::byte* row) {
  const int64_t blocks = cols / kQuantBlock;
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
      for (int64_t i = 0; i < blocks; ++i) store(row, i, quantize_q8_0(values + i * kQuantBlock));
      return;
    case TensorType::kQ4_0:
      for (int64_t i = 0; i < blocks; ++i) store(row, i, quantize_q4_0(values + i * kQuantBlock));
      return;
    case TensorType::kI4G32:
    case TensorType::kI4G64:
    case TensorType::kI4G128:
    case TensorType::kI8G32:
    case TensorType::kI8G64:
    case TensorType::kI8G128:
      return quantize_int_groups(type, TensorType::kF32, values, cols, row);
  }
  CHECK(false && "unknown tensor type");
}

int64_t first_non_finite(TensorType type, std::span<const std::byte> bytes) {
  const TensorTypeInfo& info = tensor_type_info(type);
  const auto block_bytes = static_cast<size_t>(info.block_bytes);
  CHECK(bytes.size() % block_bytes == 0);
  // The exponent of every type lies in the top bits of a little-endian word at the block's start:
  // of the element itself, or of the fp16 or fp32 scale.
  const bool fp32 = type == TensorType::kF32 || is_int_group(type);
  const size_t word_offset = fp32 ? 2 : 0;
  const bool fp16 = !fp32 && type != TensorType::kBF16;
  const unsigned exponent_mask = fp16 ? 0x7c00u : 0x7f80u;
  const size_t count = bytes.size() / block_bytes;
  for (size_t i = 0; i < count; ++i) {
    uint16_t word;
    std::memcpy(&word, bytes.data() + i * block_bytes + word_offset, sizeof word);
    if ((word & exponent_mask) == exponent_mask) {
      return static_cast<int64_t>(i) * info.block_elements;
    }
  }
  return -1;
}

}  // namespace sparrow

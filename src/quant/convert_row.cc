#include "quant/convert_row.h"

#include <cstring>

#include "base/check.h"
#include "quant/block_codes.h"
#include "quant/convert_int_groups.h"
#include "tensor/half.h"

namespace sparrow {
namespace {

uint16_t load_u16(const std::byte* bytes) {
  uint16_t value;
  std::memcpy(&value, bytes, sizeof value);
  return value;
}

// With the geometry known at compile time the loops over a block become vector code.
template <int kGroup, bool kHasMinimum>
void dequantize_groups(const BlockCodes& block, int num_groups, float* out) {
  const float scale = float_from_f16(block.scale), minimum = float_from_f16(block.minimum);
  for (int group = 0; group < num_groups; ++group) {
    const float factor = scale * static_cast<float>(block.scales[group]);
    const float low = minimum * static_cast<float>(block.mins[group]);
    for (int i = group * kGroup; i < (group + 1) * kGroup; ++i) {
      const float value = factor * static_cast<float>(block.codes[i]);
      out[i] = kHasMinimum ? value + low : value;
    }
  }
}

void dequantize_blocks(TensorType type, const std::byte* row, int64_t cols, float* out) {
  const BlockGeometry geometry = block_geometry(type);
  const auto block_bytes = static_cast<size_t>(tensor_type_info(type).block_bytes);
  const int num_groups = geometry.num_elements / geometry.group_elements;
  BlockCodes block = {};
  for (int64_t begin = 0; begin < cols; begin += geometry.num_elements, row += block_bytes) {
    unpack_block(type, row, block);
    if (geometry.group_elements == 16) {
      (geometry.has_minimum ? dequantize_groups<16, true>
                            : dequantize_groups<16, false>)(block, num_groups, out + begin);
    } else {
      (geometry.has_minimum ? dequantize_groups<32, true>
                            : dequantize_groups<32, false>)(block, num_groups, out + begin);
    }
  }
}

// Where the floating-point fields of a block lie, in bytes; -1 for a type that has but one.
struct FloatFields {
  int first = 0;
  int second = -1;
};

FloatFields float_fields(TensorType type) {
  switch (type) {
    case TensorType::kF32:
    case TensorType::kI4G32:
    case TensorType::kI4G64:
    case TensorType::kI4G128:
    case TensorType::kI8G32:
    case TensorType::kI8G64:
    case TensorType::kI8G128:
      return {2};  // the half of a little-endian fp32 that holds its exponent
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

// Whether one of `count` values has every bit of `mask`. Many at a time: the loop becomes vector
// code.
template <typename Bits>
bool any_has_all(const std::byte* bytes, size_t count, Bits mask) {
  Bits found = 0;
  for (size_t i = 0; i < count; ++i) {
    Bits value;
    std::memcpy(&value, bytes + i * sizeof(Bits), sizeof(Bits));
    found = static_cast<Bits>(found | ((value & mask) == mask ? 1 : 0));
  }
  return found != 0;
}

bool any_plain_is_not_finite(TensorType type, std::span<const std::byte> bytes) {
  if (type == TensorType::kF32)
    return any_has_all<uint32_t>(bytes.data(), bytes.size() / 4, 0x7f800000);
  const uint16_t mask = type == TensorType::kF16 ? 0x7c00 : 0x7f80;
  return any_has_all<uint16_t>(bytes.data(), bytes.size() / 2, mask);
}

}  // namespace

void dequantize_row(TensorType type, const std::byte* row, int64_t cols, float* out) {
  CHECK(cols >= 0 && cols % tensor_type_info(type).block_elements == 0);
  switch (type) {
    case TensorType::kF32:
      if (cols > 0) std::memcpy(out, row, static_cast<size_t>(cols) * sizeof(float));
      return;
    case TensorType::kF16:
      for (int64_t i = 0; i < cols; ++i) out[i] = float_from_f16(load_u16(row + i * 2));
      return;
    case TensorType::kBF16:
      for (int64_t i = 0; i < cols; ++i) out[i] = float_from_bf16(load_u16(row + i * 2));
      return;
    default:
      if (is_int_group(type)) return dequantize_int_groups(type, row, cols, out);
      dequantize_blocks(type, row, cols, out);
  }
}

int64_t first_non_finite(TensorType type, std::span<const std::byte> bytes) {
  const TensorTypeInfo& info = tensor_type_info(type);
  const auto block_bytes = static_cast<size_t>(info.block_bytes);
  CHECK(bytes.size() % block_bytes == 0);
  if (info.block_elements == 1 && !any_plain_is_not_finite(type, bytes)) return -1;
  const FloatFields fields = float_fields(type);
  const bool fp16 = type != TensorType::kF32 && type != TensorType::kBF16 && !is_int_group(type);
  const unsigned exponent_mask = fp16 ? 0x7c00u : 0x7f80u;
  const auto is_finite = [&](const std::byte* field) {
    return (load_u16(field) & exponent_mask) != exponent_mask;
  };
  const size_t count = bytes.size() / block_bytes;
  for (size_t i = 0; i < count; ++i) {
    const std::byte* block = bytes.data() + i * block_bytes;
    if (!is_finite(block + fields.first) ||
        (fields.second >= 0 && !is_finite(block + fields.second))) {
      return static_cast<int64_t>(i) * info.block_elements;
    }
  }
  return -1;
}

}  // namespace sparrow

#include "quant/convert_int_groups.h"

#include <cmath>
#include <cstring>

#include "base/check.h"
#include "quant/int_group_blocks.h"
#include "tensor/half.h"

namespace sparrow {
namespace {

template <size_t kGroup>
void dequantize(const BlockI4<kGroup>& block, float* out) {
  const int zero = block.zero;
  for (size_t i = 0; i < kGroup / 2; ++i) {
    out[2 * i] = block.scale * static_cast<float>((block.nibbles[i] & 15) - zero);
    out[2 * i + 1] = block.scale * static_cast<float>((block.nibbles[i] >> 4) - zero);
  }
}

template <size_t kGroup>
void dequantize(const BlockI8<kGroup>& block, float* out) {
  for (size_t i = 0; i < kGroup; ++i) out[i] = block.scale * static_cast<float>(block.values[i]);
}

// NaN if any value is.
float largest_magnitude(const float* values, size_t count) {
  float largest = 0;
  for (size_t i = 0; i < count; ++i) {
    const float magnitude = std::fabs(values[i]);
    if (!(magnitude <= largest)) largest = magnitude;
    if (largest != largest) break;
  }
  return largest;
}

float rounded_to(TensorType type, float value) {
  if (type == TensorType::kF16) return float_from_f16(f16_from_float(value));
  if (type == TensorType::kBF16) return float_from_bf16(bf16_from_float(value));
  CHECK(type == TensorType::kF32);
  return value;
}

// nearbyint rounds ties to even in the default rounding mode. A non-finite quotient becomes 0: the
// scale already tells.
int quantized(float value, float scale, int low, int high) {
  if (scale == 0 || !std::isfinite(scale)) return 0;
  const float nearest = std::nearbyint(value / scale);
  if (nearest <= static_cast<float>(low)) return low;
  return nearest < static_cast<float>(high) ? static_cast<int>(nearest) : high;
}

template <size_t kGroup>
void quantize(const float* values, float scale, BlockI4<kGroup>& block) {
  block = {};
  block.scale = scale;
  block.zero = 8;
  for (size_t i = 0; i < kGroup / 2; ++i) {
    const int low = quantized(values[2 * i], scale, -8, 7) + 8;
    const int high = quantized(values[2 * i + 1], scale, -8, 7) + 8;
    block.nibbles[i] = static_cast<uint8_t>(low | high << 4);
  }
}

template <size_t kGroup>
void quantize(const float* values, float scale, BlockI8<kGroup>& block) {
  block.scale = scale;
  for (size_t i = 0; i < kGroup; ++i) {
    block.values[i] = static_cast<int8_t>(quantized(values[i], scale, -128, 127));
  }
}

float scale_of(TensorType type, TensorType scale_type, const float* values, size_t count) {
  const float half_range = is_int4_group(type) ? 7.5f : 127.5f;
  return rounded_to(scale_type, largest_magnitude(values, count) / half_range);
}

template <typename Block, size_t kGroup>
void dequantize_blocks(const std::byte* row, int64_t cols, float* out) {
  for (size_t k = 0; k < static_cast<size_t>(cols); k += kGroup, row += sizeof(Block)) {
    Block block;
    std::memcpy(&block, row, sizeof block);
    dequantize(block, out + k);
  }
}

// A scale for every `span` inputs, a multiple of the block.
template <typename Block, size_t kGroup>
void quantize_blocks(TensorType type, TensorType scale_type, const float* values, int64_t cols,
                     size_t span, std::byte* row) {
  float scale = 0;
  for (size_t k = 0; k < static_cast<size_t>(cols); k += kGroup, row += sizeof(Block)) {
    if (k % span == 0) scale = scale_of(type, scale_type, values + k, span);
    Block block;
    quantize(values + k, scale, block);
    std::memcpy(row, &block, sizeof block);
  }
}

void quantize_spans(TensorType type, TensorType scale_type, const float* values, int64_t cols,
                    size_t span, std::byte* row) {
  switch (type) {
    case TensorType::kI4G32:
      return quantize_blocks<BlockI4<32>, 32>(type, scale_type, values, cols, span, row);
    case TensorType::kI4G64:
      return quantize_blocks<BlockI4<64>, 64>(type, scale_type, values, cols, span, row);
    case TensorType::kI4G128:
      return quantize_blocks<BlockI4<128>, 128>(type, scale_type, values, cols, span, row);
    case TensorType::kI8G32:
      return quantize_blocks<BlockI8<32>, 32>(type, scale_type, values, cols, span, row);
    case TensorType::kI8G64:
      return quantize_blocks<BlockI8<64>, 64>(type, scale_type, values, cols, span, row);
    case TensorType::kI8G128:
      return quantize_blocks<BlockI8<128>, 128>(type, scale_type, values, cols, span, row);
    default:
      CHECK(false && "not a grouped integer type");
  }
}

}  // namespace

bool is_int_group(TensorType type) { return static_cast<uint32_t>(type) >= kFirstMemoryOnlyType; }

bool is_int4_group(TensorType type) {
  return type == TensorType::kI4G32 || type == TensorType::kI4G64 || type == TensorType::kI4G128;
}

void dequantize_int_groups(TensorType type, const std::byte* row, int64_t cols, float* out) {
  CHECK(cols >= 0 && cols % tensor_type_info(type).block_elements == 0);
  switch (type) {
    case TensorType::kI4G32:
      return dequantize_blocks<BlockI4<32>, 32>(row, cols, out);
    case TensorType::kI4G64:
      return dequantize_blocks<BlockI4<64>, 64>(row, cols, out);
    case TensorType::kI4G128:
      return dequantize_blocks<BlockI4<128>, 128>(row, cols, out);
    case TensorType::kI8G32:
      return dequantize_blocks<BlockI8<32>, 32>(row, cols, out);
    case TensorType::kI8G64:
      return dequantize_blocks<BlockI8<64>, 64>(row, cols, out);
    case TensorType::kI8G128:
      return dequantize_blocks<BlockI8<128>, 128>(row, cols, out);
    default:
      CHECK(false && "not a grouped integer type");
  }
}

void quantize_int_groups(TensorType type, TensorType scale_type, const float* values, int64_t cols,
                         std::byte* row) {
  const int64_t group = tensor_type_info(type).block_elements;
  CHECK(cols >= 0 && cols % group == 0);
  quantize_spans(type, scale_type, values, cols, static_cast<size_t>(group), row);
}

void quantize_int_channel(TensorType type, TensorType scale_type, const float* values, int64_t cols,
                          std::byte* row) {
  CHECK(cols > 0 && cols % tensor_type_info(type).block_elements == 0);
  quantize_spans(type, scale_type, values, cols, static_cast<size_t>(cols), row);
}

}  // namespace sparrow

#include "kernels/pack_strip.h"

#include <cmath>
#include <cstring>

#include "base/check.h"
#include "kernels/strip_layout.h"
#include "quant/block_codes.h"
#include "quant/convert_int_groups.h"
#include "quant/int_group_blocks.h"
#include "tensor/half.h"

namespace sparrow {
namespace {

// One row's block on its way into a strip.
struct RowBlock {
  BlockCodes codes = {};  // without scale and minimum where the format's scales are fp32
  float wide_scale = 0;
  uint8_t zero = 0;
};

bool is_finite_f16(uint16_t half) { return (half & 0x7c00) != 0x7c00; }

uint16_t load_u16(const uint8_t* bytes) {
  uint16_t value;
  std::memcpy(&value, bytes, 2);
  return value;
}

void load_int_group(const StripLayout& layout, const std::byte* bytes, RowBlock& out) {
  std::memcpy(&out.wide_scale, bytes, 4);
  const auto count = static_cast<size_t>(layout.block_inputs);
  if (!layout.zeros) {
    std::memcpy(out.codes.codes, bytes + offsetof(BlockI8<32>, values), count);
    return;
  }
  out.zero = static_cast<uint8_t>(bytes[offsetof(BlockI4<32>, zero)]);
  const std::byte* nibbles = bytes + offsetof(BlockI4<32>, nibbles);
  for (size_t i = 0; i < count / 2; ++i) {
    const auto pair = static_cast<uint8_t>(nibbles[i]);
    out.codes.codes[2 * i] = static_cast<int8_t>(pair & 15);
    out.codes.codes[2 * i + 1] = static_cast<int8_t>(pair >> 4);
  }
}

// Codes become unsigned where the layout says so, and go where strip_code() finds them.
void store_codes(const StripLayout& layout, const BlockCodes& block, int64_t lane, uint8_t* codes) {
  uint8_t values[kSuperBlock];
  const int32_t count = layout.block_inputs;
  for (int32_t k = 0; k < count; ++k) {
    values[k] = static_cast<uint8_t>(block.codes[k] + layout.code_offset);
  }
  if (!layout.nibbles) {
    for (int32_t quad = 0; quad < count / 4; ++quad) {
      std::memcpy(codes + (quad * kStripRows + lane) * 4, values + quad * 4, 4);
    }
    return;
  }
  for (int32_t begin = 0; begin < count; begin += unit_inputs(layout)) {
    const uint8_t* unit = values + begin;
    if (layout.high_bits != 0) {
      uint8_t* out = codes + lane * 4;
      for (int i = 0; i < 4; ++i) {
        int bits = 0;
        for (int quad = 0; quad < unit_inputs(layout) / 4; ++quad) {
          bits |= unit[quad * 4 + i] >> 4 << (quad * layout.high_bits);
        }
        out[i] = static_cast<uint8_t>(bits);
      }
    }
    uint8_t* nibbles = codes + unit_bytes(layout) - unit_inputs(layout) * kStripRows / 2;
    for (int32_t octet = 0; octet < unit_inputs(layout) / 8; ++octet) {
      const uint8_t* low = unit + octet * 8;
      uint8_t* out = nibbles + (octet * kStripRows + lane) * 4;
      for (int i = 0; i < 4; ++i) {
        out[i] = static_cast<uint8_t>((low[i] & 15) | (low[4 + i] & 15) << 4);
      }
    }
    codes += unit_bytes(layout);
  }
}

void store_block(const StripLayout& layout, const RowBlock& row, int64_t lane, uint8_t* block) {
  const BlockCodes& codes = row.codes;
  if (layout.wide_scales) {
    std::memcpy(block + lane * 4, &row.wide_scale, 4);
  } else {
    std::memcpy(block + lane * 2, &codes.scale, 2);
  }
  if (layout.minima) std::memcpy(block + minima_at(layout) + lane * 2, &codes.minimum, 2);
  for (int32_t group = 0; layout.super && group < num_groups(layout); ++group) {
    const int64_t index = group * kStripRows + lane;
    block[group_scales_at(layout) + index] = static_cast<uint8_t>(codes.scales[group]);
    if (layout.minima) {
      block[group_minima_at(layout) + index] = static_cast<uint8_t>(-codes.mins[group]);
    }
  }
  if (layout.zeros) block[zeros_at(layout) + lane] = row.zero;
  store_codes(layout, codes, lane, block + codes_at(layout));
}

void unpack_row_block(const StripLayout& layout, const uint8_t* block, int64_t lane, float* out) {
  float scale;
  if (layout.wide_scales) {
    std::memcpy(&scale, block + lane * 4, 4);
  } else {
    scale = float_from_f16(load_u16(block + lane * 2));
  }
  const float minimum =
      layout.minima ? float_from_f16(load_u16(block + minima_at(layout) + lane * 2)) : 0.0f;
  const int32_t zero = layout.zeros ? block[zeros_at(layout) + lane] : 0;
  for (int32_t group = 0; group < num_groups(layout); ++group) {
    const int64_t index = group * kStripRows + lane;
    float factor = scale, low = minimum;
    if (layout.super) {
      factor *= static_cast<float>(static_cast<int8_t>(block[group_scales_at(layout) + index]));
      if (layout.minima) low *= -static_cast<float>(block[group_minima_at(layout) + index]);
    }
    for (int32_t k = group * layout.group_inputs; k < (group + 1) * layout.group_inputs; ++k) {
      const int32_t code = strip_code(layout, block + codes_at(layout), lane, k);
      const float value = factor * static_cast<float>(code - layout.code_offset - zero);
      out[k] = layout.minima ? value + low : value;
    }
  }
}

}  // namespace

int64_t pack_strip_row(WeightFormat format, TensorType type, const std::byte* row, int64_t cols,
                       int64_t lane, uint8_t* strip) {
  const StripLayout layout = strip_layout(format);
  const TensorTypeInfo& info = tensor_type_info(type);
  CHECK(info.block_elements == layout.block_inputs && cols % layout.block_inputs == 0);
  RowBlock block;
  for (int64_t index = 0; index < cols / layout.block_inputs; ++index) {
    if (is_int_group(type)) {
      load_int_group(layout, row, block);
      if (!std::isfinite(block.wide_scale)) return index;
    } else {
      unpack_block(type, row, block.codes);
      if (!is_finite_f16(block.codes.scale) || !is_finite_f16(block.codes.minimum)) return index;
    }
    store_block(layout, block, lane, strip);
    row += info.block_bytes;
    strip += block_bytes(layout);
  }
  return -1;
}

int64_t pack_one_scale_row(TensorType type, const std::byte* row, int64_t cols, int64_t lane,
                           uint8_t* strip) {
  constexpr StripLayout kLayout = strip_layout(WeightFormat::kI8Row);
  const TensorTypeInfo& info = tensor_type_info(type);
  CHECK(is_int8_group(type) && cols % info.block_elements == 0);
  std::memcpy(strip + lane * 4, row, 4);
  uint8_t* codes = strip + strip_header_bytes(kLayout) + lane * 4;
  for (int64_t index = 0; index < cols / info.block_elements; ++index, row += info.block_bytes) {
    float scale;
    std::memcpy(&scale, row, 4);
    if (!std::isfinite(scale) || std::memcmp(strip + lane * 4, row, 4) != 0) return index;
    const std::byte* values = row + offsetof(BlockI8<32>, values);
    for (int32_t k = 0; k < info.block_elements; k += 4, codes += kStripRows * 4) {
      uint32_t quad;
      std::memcpy(&quad, values + k, 4);
      quad ^= kRowCodeOffset * 0x01010101u;  // adds 128 to signed bytes
      std::memcpy(codes, &quad, 4);
    }
  }
  return -1;
}

void unpack_strip_row(WeightFormat format, const uint8_t* strip, int64_t lane, int64_t cols,
                      float* out) {
  const StripLayout layout = strip_layout(format);
  if (layout.one_scale) {
    float scale;
    std::memcpy(&scale, strip + lane * 4, 4);
    for (int64_t k = 0; k < cols; ++k) {
      const int32_t code = strip_code(layout, strip + strip_header_bytes(layout), lane, k);
      out[k] = scale * static_cast<float>(code - layout.code_offset);
    }
    return;
  }
  for (int64_t k = 0; k < cols; k += layout.block_inputs, strip += block_bytes(layout)) {
    unpack_row_block(layout, strip, lane, out + k);
  }
}

}  // namespace sparrow

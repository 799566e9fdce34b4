#include "quant/block_codes.h"

#include <cstring>

#include "base/check.h"

namespace sparrow {
namespace {

template <typename Block>
Block load(const std::byte* bytes) {
  Block block;
  std::memcpy(&block, bytes, sizeof block);
  return block;
}

void set_plain(BlockCodes& out, uint16_t scale, uint16_t minimum = 0) {
  out.scale = scale;
  out.minimum = minimum;
  out.scales[0] = 1;
  out.mins[0] = 1;
}

// Element i from the low nibble of byte i, element i + 16 from the high one.
void unpack_nibbles(const uint8_t (&nibbles)[kQuantBlock / 2], int offset, BlockCodes& out) {
  for (int i = 0; i < kQuantBlock / 2; ++i) {
    out.codes[i] = static_cast<int8_t>((nibbles[i] & 15) - offset);
    out.codes[i + kQuantBlock / 2] = static_cast<int8_t>((nibbles[i] >> 4) - offset);
  }
}

void unpack_five_bits(const uint8_t (&nibbles)[kQuantBlock / 2], const uint8_t (&high_bits)[4],
                      int offset, BlockCodes& out) {
  unpack_nibbles(nibbles, offset, out);
  for (int i = 0; i < kQuantBlock; ++i) {
    const int bit = high_bits[i / 8] >> (i % 8) & 1;
    out.codes[i] = static_cast<int8_t>(out.codes[i] + (bit << 4));
  }
}

void unpack(const BlockQ8_0& block, BlockCodes& out) {
  set_plain(out, block.scale);
  std::memcpy(out.codes, block.values, sizeof block.values);
}

void unpack(const BlockQ4_0& block, BlockCodes& out) {
  set_plain(out, block.scale);
  unpack_nibbles(block.nibbles, 8, out);
}

void unpack(const BlockQ4_1& block, BlockCodes& out) {
  set_plain(out, block.scale, block.minimum);
  unpack_nibbles(block.nibbles, 0, out);
}

void unpack(const BlockQ5_0& block, BlockCodes& out) {
  set_plain(out, block.scale);
  unpack_five_bits(block.nibbles, block.high_bits, 16, out);
}

void unpack(const BlockQ5_1& block, BlockCodes& out) {
  set_plain(out, block.scale, block.minimum);
  unpack_five_bits(block.nibbles, block.high_bits, 0, out);
}

void unpack(const BlockIQ4_NL& block, BlockCodes& out) {
  set_plain(out, block.scale);
  for (int i = 0; i < kQuantBlock / 2; ++i) {
    out.codes[i] = kIQ4Values[block.nibbles[i] & 15];
    out.codes[i + kQuantBlock / 2] = kIQ4Values[block.nibbles[i] >> 4];
  }
}

// Two bits an element: byte 32h + l holds elements 128h + 32k + l, k = 0..3 from the low bits up.
void unpack_two_bits(const uint8_t (&bytes)[kSuperBlock / 4], BlockCodes& out) {
  for (int half = 0; half < 2; ++half) {
    for (int k = 0; k < 4; ++k) {
      for (int l = 0; l < 32; ++l) {
        out.codes[128 * half + 32 * k + l] =
            static_cast<int8_t>(bytes[32 * half + l] >> (2 * k) & 3);
      }
    }
  }
}

void unpack(const BlockQ2_K& block, BlockCodes& out) {
  out.scale = block.scale;
  out.minimum = block.min_scale;
  for (int group = 0; group < kSuperBlock / 16; ++group) {
    out.scales[group] = static_cast<int8_t>(block.scales[group] & 15);
    out.mins[group] = static_cast<int8_t>(-(block.scales[group] >> 4));
  }
  unpack_two_bits(block.low_bits, out);
}

void unpack(const BlockQ3_K& block, BlockCodes& out) {
  out.scale = block.scale;
  out.minimum = 0;
  for (int group = 0; group < kSuperBlock / 16; ++group) {
    const int low = block.scales[group % 8] >> (group < 8 ? 0 : 4) & 15;
    const int high = block.scales[8 + group % 4] >> (2 * (group / 4)) & 3;
    out.scales[group] = static_cast<int8_t>((low | high << 4) - 32);
  }
  unpack_two_bits(block.low_bits, out);
  for (int i = 0; i < kSuperBlock; ++i) {
    const int bit = block.high_bits[i % 32] >> (i / 32) & 1;
    out.codes[i] = static_cast<int8_t>(out.codes[i] - 4 * (1 - bit));
  }
}

// Eight scales and eight minima of 6 bits in 12 bytes: the first four of each lie whole in bytes
// 0-3 and 4-7, whose top two bits extend the nibbles of bytes 8-11 to the other four.
void unpack_k4_scales(const uint8_t (&bytes)[12], BlockCodes& out) {
  for (int group = 0; group < 4; ++group) {
    out.scales[group] = static_cast<int8_t>(bytes[group] & 63);
    out.mins[group] = static_cast<int8_t>(-(bytes[group + 4] & 63));
    const int rest = bytes[group + 8];
    out.scales[group + 4] = static_cast<int8_t>((rest & 15) | bytes[group] >> 6 << 4);
    out.mins[group + 4] = static_cast<int8_t>(-(rest >> 4 | bytes[group + 4] >> 6 << 4));
  }
}

void unpack_k4_nibbles(const uint8_t (&nibbles)[kSuperBlock / 2], BlockCodes& out) {
  for (int j = 0; j < kSuperBlock / 64; ++j) {
    for (int l = 0; l < 32; ++l) {
      out.codes[64 * j + l] = static_cast<int8_t>(nibbles[32 * j + l] & 15);
      out.codes[64 * j + 32 + l] = static_cast<int8_t>(nibbles[32 * j + l] >> 4);
    }
  }
}

void unpack(const BlockQ4_K& block, BlockCodes& out) {
  out.scale = block.scale;
  out.minimum = block.min_scale;
  unpack_k4_scales(block.scales, out);
  unpack_k4_nibbles(block.nibbles, out);
}

void unpack(const BlockQ5_K& block, BlockCodes& out) {
  out.scale = block.scale;
  out.minimum = block.min_scale;
  unpack_k4_scales(block.scales, out);
  unpack_k4_nibbles(block.nibbles, out);
  for (int i = 0; i < kSuperBlock; ++i) {
    const int bit = block.high_bits[i % 32] >> (i / 32) & 1;
    out.codes[i] = static_cast<int8_t>(out.codes[i] + (bit << 4));
  }
}

void unpack(const BlockQ6_K& block, BlockCodes& out) {
  out.scale = block.scale;
  out.minimum = 0;
  std::memcpy(out.scales, block.scales, sizeof block.scales);
  for (int half = 0; half < 2; ++half) {
    for (int k = 0; k < 4; ++k) {
      for (int l = 0; l < 32; ++l) {
        const int low = block.low_bits[64 * half + 32 * (k % 2) + l] >> (k < 2 ? 0 : 4) & 15;
        const int high = block.high_bits[32 * half + l] >> (2 * k) & 3;
        out.codes[128 * half + 32 * k + l] = static_cast<int8_t>((low | high << 4) - 32);
      }
    }
  }
}

}  // namespace

BlockGeometry block_geometry(TensorType type) {
  switch (type) {
    case TensorType::kQ8_0:
    case TensorType::kQ4_0:
    case TensorType::kQ5_0:
    case TensorType::kIQ4_NL:
      return {kQuantBlock, kQuantBlock, false};
    case TensorType::kQ4_1:
    case TensorType::kQ5_1:
      return {kQuantBlock, kQuantBlock, true};
    case TensorType::kQ2_K:
      return {kSuperBlock, 16, true};
    case TensorType::kQ3_K:
    case TensorType::kQ6_K:
      return {kSuperBlock, 16, false};
    case TensorType::kQ4_K:
    case TensorType::kQ5_K:
      return {kSuperBlock, 32, true};
    default:
      return {};
  }
}

bool has_block_codes(TensorType type) { return block_geometry(type).num_elements != 0; }

void unpack_block(TensorType type, const std::byte* block, BlockCodes& out) {
  switch (type) {
    case TensorType::kQ8_0:
      return unpack(load<BlockQ8_0>(block), out);
    case TensorType::kQ4_0:
      return unpack(load<BlockQ4_0>(block), out);
    case TensorType::kQ4_1:
      return unpack(load<BlockQ4_1>(block), out);
    case TensorType::kQ5_0:
      return unpack(load<BlockQ5_0>(block), out);
    case TensorType::kQ5_1:
      return unpack(load<BlockQ5_1>(block), out);
    case TensorType::kIQ4_NL:
      return unpack(load<BlockIQ4_NL>(block), out);
    case TensorType::kQ2_K:
      return unpack(load<BlockQ2_K>(block), out);
    case TensorType::kQ3_K:
      return unpack(load<BlockQ3_K>(block), out);
    case TensorType::kQ4_K:
      return unpack(load<BlockQ4_K>(block), out);
    case TensorType::kQ5_K:
      return unpack(load<BlockQ5_K>(block), out);
    case TensorType::kQ6_K:
      return unpack(load<BlockQ6_K>(block), out);
    default:
      CHECK(false && "not a quantized block type");
  }
}

}  // namespace sparrow

#pragma once
// The quantized blocks of 32 elements as they lie in GGUF files (model_and_formats.md 9.3; layouts
// of GGML's ggml-common.h; the K types: k_blocks.h). No alignment is promised by a file: copy a
// block out before reading its fields. Scales and minima named so are fp16. Element numbers below
// count inside the block.

#include <stdint.h>

namespace sparrow {

inline constexpr int kQuantBlock = 32;

struct BlockQ8_0 {
  uint16_t scale;
  int8_t values[kQuantBlock];  // element e = scale * values[e]
};
static_assert(sizeof(BlockQ8_0) == 34);

// The nibbles of every plain 4 and 5-bit block: byte i holds element i low, element i + 16 high.
struct BlockQ4_0 {
  uint16_t scale;
  uint8_t nibbles[kQuantBlock / 2];  // element = scale * (nibble - 8)
};
static_assert(sizeof(BlockQ4_0) == 18);

struct BlockQ4_1 {
  uint16_t scale;
  uint16_t minimum;
  uint8_t nibbles[kQuantBlock / 2];  // element = scale * nibble + minimum
};
static_assert(sizeof(BlockQ4_1) == 20);

struct BlockQ5_0 {
  uint16_t scale;
  uint8_t high_bits[4];              // little-endian; bit e is bit 4 of element e
  uint8_t nibbles[kQuantBlock / 2];  // element = scale * ((bit << 4 | nibble) - 16)
};
static_assert(sizeof(BlockQ5_0) == 22);

struct BlockQ5_1 {
  uint16_t scale;
  uint16_t minimum;
  uint8_t high_bits[4];
  uint8_t nibbles[kQuantBlock / 2];  // element = scale * (bit << 4 | nibble) + minimum
};
static_assert(sizeof(BlockQ5_1) == 24);

struct BlockIQ4_NL {
  uint16_t scale;
  uint8_t nibbles[kQuantBlock / 2];  // element = scale * kIQ4Values[nibble]
};
static_assert(sizeof(BlockIQ4_NL) == 18);

inline constexpr int8_t kIQ4Values[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                          1,    13,   25,  38,  53,  69,  89,  113};

}  // namespace sparrow

#pragma once
// The quantized blocks as they lie in GGUF files (ggml docs and ggml-common.h: 32 elements, fp16
// scale first). No alignment is promised by a file: copy a block out before reading its fields.

#include <stdint.h>

namespace sparrow {

inline constexpr int kQuantBlock = 32;

struct BlockQ8_0 {
  uint16_t scale;              // fp16
  int8_t values[kQuantBlock];  // element e = scale * values[e]
};
static_assert(sizeof(BlockQ8_0) == 34);

struct BlockQ4_0 {
  uint16_t scale;                    // fp16
  uint8_t nibbles[kQuantBlock / 2];  // byte i: element i low, element i + 16 high; minus 8
};
static_assert(sizeof(BlockQ4_0) == 18);

}  // namespace sparrow

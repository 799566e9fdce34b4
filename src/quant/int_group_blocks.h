#pragma once
// Blocks of grouped integers: the form into which quantized Hugging Face checkpoints (AWQ, GPTQ,
// compressed-tensors) are brought when they are read. The scale is fp32, because on disk it may be
// F16, BF16 or F32; a scale that covers more elements than a block is repeated. They live in memory
// only: no file has these blocks, and GGUF has no id for them. No alignment is promised.

#include <cstddef>
#include <cstdint>

namespace sparrow {

template <size_t kGroup>
struct BlockI4 {
  float scale;
  uint8_t zero;                 // 0..15; symmetric formats have 8
  uint8_t padding[3];           // zero
  uint8_t nibbles[kGroup / 2];  // byte i: element 2i low, element 2i + 1 high; 0..15

  // element e = scale * (nibble(e) - zero)
};
static_assert(sizeof(BlockI4<32>) == 24 && sizeof(BlockI4<64>) == 40 && sizeof(BlockI4<128>) == 72);

template <size_t kGroup>
struct BlockI8 {
  float scale;
  int8_t values[kGroup];  // element e = scale * values[e]
};
static_assert(sizeof(BlockI8<32>) == 36 && sizeof(BlockI8<64>) == 68 &&
              sizeof(BlockI8<128>) == 132);

}  // namespace sparrow

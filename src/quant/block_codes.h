#pragma once
// BlockCodes: the integers inside one quantized block, unpacked. The one place that knows where
// the bits of each block type lie; rows are dequantized and matrices packed from it. Pure, no
// allocation, thread-safe.
//
//   element e = scale * scales[g] * codes[e] + minimum * mins[g],  g = e / group_elements
//
// Every product is exact in fp32 (at most 24 significant bits), so an element has one rounding.

#include <cstddef>
#include <cstdint>

#include "quant/block_formats.h"
#include "quant/k_blocks.h"
#include "quant/tensor_type.h"

namespace sparrow {

struct BlockCodes {
  int8_t codes[kSuperBlock];        // signed: any offset of the format is already taken off
  int8_t scales[kSuperBlock / 16];  // by group; 1 in the plain types
  int8_t mins[kSuperBlock / 16];    // -63..0 in the K types, 1 in Q4_1 and Q5_1
  uint16_t scale;                   // fp16
  uint16_t minimum;                 // fp16; 0 in types without
};

struct BlockGeometry {
  int num_elements = 0;    // 32 or 256
  int group_elements = 0;  // that share scales[g] and mins[g]
  bool has_minimum = false;
};

// Quantized types only (see has_block_codes()).
BlockGeometry block_geometry(TensorType type);
bool has_block_codes(TensorType type);

// `block` may be unaligned. Codes behind num_elements are left alone.
void unpack_block(TensorType type, const std::byte* block, BlockCodes& out);

}  // namespace sparrow

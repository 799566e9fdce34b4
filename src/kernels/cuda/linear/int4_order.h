#pragma once
// How the 4-bit codes of a GpuMatrix lie in their bytes: eight neighbouring inputs of a row share a
// 32-bit word, and nibble j of it (bits 4j to 4j + 3) holds input kGpuInt4Order[j] of the eight. So
// (word >> 4i) & 0x000f000f has inputs 2i and 2i + 1 in its halves: the pairs that 16-bit
// arithmetic takes, by a shift and an and. The idea is FasterTransformer's and Marlin's; 16 bytes
// hold 32 inputs.

namespace sparrow {

inline constexpr int kGpuInt4Order[8] = {0, 2, 4, 6, 1, 3, 5, 7};

// The bit of the word at which input `index` (0..7) begins.
constexpr int gpu_int4_shift(int index) { return (index / 2 + (index % 2) * 4) * 4; }

}  // namespace sparrow

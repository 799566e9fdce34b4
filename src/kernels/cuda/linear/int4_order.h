#pragma once
// Where a 4-bit weight lies, for the packer and for kernels. Eight neighbouring inputs of a row are
// one little-endian uint32; the words of a row follow one another, so that an aligned load of 16
// bytes brings 32 neighbouring inputs. Nibble j of a word (bits 4j to 4j + 3) is input
//
//   j       0 1 2 3 4 5 6 7
//   input   0 2 4 6 1 3 5 7
//
// so that (word >> 4 * p) & 0x000f000f has input 2p in its low and 2p + 1 in its high 16 bits: a
// pair for half2 or bf16x2 arithmetic after a shift and a mask. Interleaving nibbles for this
// purpose is the idea of NVIDIA's FasterTransformer and of Marlin; the layout is our own.
//
// In device code call the function where its value is a compile-time constant.

namespace sparrow {

inline constexpr int kInt4WordInputs = 8;

// The nibble of its word in which input `input` (>= 0) of a row lies. Its word: input / 8.
constexpr int gpu_int4_nibble_position(int input) {
  const int in_word = input % kInt4WordInputs;
  return in_word / 2 + in_word % 2 * (kInt4WordInputs / 2);
}

}  // namespace sparrow

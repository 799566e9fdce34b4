#pragma once
// How eight neighbouring int4 weights lie in a uint32 on the card: nibble j (bits 4j to 4j + 3)
// holds input {0, 2, 4, 6, 1, 3, 5, 7}[j]. So (word >> 4 * i) & 0x000f000f gives inputs 2i and 2i +
// 1 in its low and high half: a pair of 16-bit floats after one more instruction.

#ifdef __CUDACC__
#define SPARROW_INT4_ORDER_FUNCTION __host__ __device__
#else
#define SPARROW_INT4_ORDER_FUNCTION
#endif

namespace sparrow {

// The nibble that holds input 0 to 7 of a word.
SPARROW_INT4_ORDER_FUNCTION constexpr int int4_nibble_of(int input) {
  return input / 2 + (input % 2) * 4;
}

}  // namespace sparrow

#undef SPARROW_INT4_ORDER_FUNCTION

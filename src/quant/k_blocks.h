#pragma once
// The super-blocks of the K-quants as they lie in GGUF files: 256 elements in 8 groups of 32 (Q4_K,
// Q5_K) or 16 groups of 16 (Q2_K, Q3_K, Q6_K); layouts of ggml-common.h, model_and_formats 9.3. No
// alignment is promised by a file: copy a block out before reading its fields.

#include <stdint.h>

namespace sparrow {

inline constexpr int kSuperBlock = 256;
inline constexpr int kNumScaleBytes = 12;  // eight 6-bit scales and eight 6-bit minima

// Group g: scale * s[g] * level - min_scale * m[g], levels 0..15.
struct BlockQ4_K {
  uint16_t scale;      // fp16
  uint16_t min_scale;  // fp16
  uint8_t scales[kNumScaleBytes];
  uint8_t nibbles[kSuperBlock / 2];  // byte 32 * (e / 64) + e % 32, low half if e % 64 < 32
};
static_assert(sizeof(BlockQ4_K) == 144);

// As BlockQ4_K with a fifth bit: levels 0..31.
struct BlockQ5_K {
  uint16_t scale;      // fp16
  uint16_t min_scale;  // fp16
  uint8_t scales[kNumScaleBytes];
  uint8_t high_bits[kSuperBlock / 8];  // element e: bit e / 32 of byte e % 32
  uint8_t nibbles[kSuperBlock / 2];
};
static_assert(sizeof(BlockQ5_K) == 176);

// Group g of 16: scale * scales[g] * (level - 32), levels 0..63. With h = e / 128, l = e % 32,
// k = e % 128 / 32: low four bits in byte 64 * h + l + 32 * (k % 2), low half if k < 2; high two
// bits in byte 32 * h + l, shifted by 2 * k.
struct BlockQ6_K {
  uint8_t low_bits[kSuperBlock / 2];
  uint8_t high_bits[kSuperBlock / 4];
  int8_t scales[kSuperBlock / 16];
  uint16_t scale;  // fp16
};
static_assert(sizeof(BlockQ6_K) == 210);

// Group g of 16: scale * (scales[g] & 15) * level - min_scale * (scales[g] >> 4), levels 0..3.
struct BlockQ2_K {
  uint8_t scales[kSuperBlock / 16];
  uint8_t low_bits[kSuperBlock / 4];  // elements 128h + 32k + l in byte 32h + l, shifted by 2k
  uint16_t scale;                     // fp16
  uint16_t min_scale;                 // fp16
};
static_assert(sizeof(BlockQ2_K) == 84);

// Group g of 16: scale * (s[g] - 32) * (level - 4), levels 0..7, s of 6 bits: the low four in
// nibble g / 8 of byte g % 8, the high two in byte 8 + g % 4, shifted by 2 * (g / 4).
struct BlockQ3_K {
  uint8_t high_bits[kSuperBlock / 8];  // element e: bit e / 32 of byte e % 32 is bit 2 of the level
  uint8_t low_bits[kSuperBlock / 4];   // as in BlockQ2_K
  uint8_t scales[kNumScaleBytes];
  uint16_t scale;  // fp16
};
static_assert(sizeof(BlockQ3_K) == 110);

}  // namespace sparrow

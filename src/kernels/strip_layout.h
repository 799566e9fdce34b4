#pragma once
// Where the parts of a packed strip lie (kernels.h, PackedView): one description per grouped
// format, read by packing, by the scalar oracle and, as constants, by the fast kernels. Plain data
// only, nothing with external linkage: ISA files include this header.
//
// A strip is one block after the other, a block being the inputs between two steps of fp32
// arithmetic. In it, in this order, each only where the format has it and for all 32 rows:
//   scales        fp16 or fp32, one per row
//   minima        fp16
//   group scales  [groups] int8        (super-blocks: integer scales of groups of 16 or 32 inputs)
//   group minima  [groups] uint8
//   zeros         uint8, and 32 bytes of padding
//   codes         bytes: [inputs / 4][32 rows][4], signed or not
//                 nibbles: [inputs / 8][32 rows][4], byte i of a row holds input 8j + i in its low
//                 and 8j + 4 + i in its high nibble
//                 nibbles with b = 1 or 2 high bits: the nibbles of each 32 / b inputs behind
//                 [32 rows][4] bytes of high bits, byte i of a row holds those of input i in its
//                 lowest b bits, then those of inputs 4 + i, 8 + i, ...
// With one scale per row (kI8Row) the strip begins with the scales and holds nothing but codes
// behind them; its blocks are only the unit in which inputs come. Every part is a multiple of 64
// bytes. The value of input k of a row is
//   scale * group scale * (code - offset - zero) +- minimum * group minimum
// with a minus in super-blocks and 1 for parts the format lacks. The arithmetic of one block is
//   total = sum over groups of  group scale * sum of (code - offset - zero) * x     exact, int32
//   low   = sum over groups of  group minimum * sum of x                            exact, int32
//   sum   = fma(total, scale, sum), then with minima  sum = fma(+-low, minimum, sum)
// with x int8 in [-127, 127]. One scale per row: total is over the whole row, and there is one such
// step, the last. The largest |total| is that of Q6_K: 256 inputs * 127 * |code| 32 *
// |scale| 128 = 133,169,152, far below 2^31; the others: Q5_K 256 * 127 * 31 * 63 = 63.5 million,
// Q3_K 256 * 127 * 4 * 32, Q2_K 256 * 127 * 3 * 15, integer groups 128 * 127 * 255. |low| is at
// most 256 * 127 * 63. A whole row is bounded by max_row_inputs(). Their conversion to fp32 is one
// more rounding, the same everywhere.

#include "kernels/kernels.h"

namespace sparrow {

struct StripLayout {
  int32_t block_inputs;  // 1 in plain formats, which have no blocks
  int32_t group_inputs;  // that share a group scale
  int32_t code_offset;
  int32_t max_code;  // of unsigned codes; 0: codes are int8
  bool nibbles;
  int32_t high_bits;  // beside nibbles
  bool wide_scales;   // fp32
  bool minima;
  bool zeros;
  bool super;              // group scales and, with minima, group minima
  bool one_scale = false;  // per row
};

// Byte products of x86 take unsigned weights, those of ARM signed ones. Where codes lie plus 128
// the loop of AVX-512 and AVX-VNNI has no xor for each vector of them: on Zen 4, which does it
// beside the products, 1 to 3 % for 1 to 4 tokens and nothing above; where it takes a product's
// port, more.
#if defined(__x86_64__)
constexpr int32_t kRowCodeOffset = 128;
#else
constexpr int32_t kRowCodeOffset = 0;
#endif

static constexpr StripLayout strip_layout(WeightFormat format) {
  switch (format) {
    case WeightFormat::kQ8_0:
      return {32, 32, 0, 0, false, 0, false, false, false, false};
    case WeightFormat::kQ4_0:
      return {32, 32, 8, 15, true, 0, false, false, false, false};
    case WeightFormat::kQ4_1:
      return {32, 32, 0, 15, true, 0, false, true, false, false};
    case WeightFormat::kQ5_1:
      return {32, 32, 0, 31, true, 1, false, true, false, false};
    case WeightFormat::kQ2_K:
      return {256, 16, 0, 3, true, 0, false, true, false, true};
    case WeightFormat::kQ3_K:
      return {256, 16, 4, 7, true, 0, false, false, false, true};
    case WeightFormat::kQ4_K:
      return {256, 32, 0, 15, true, 0, false, true, false, true};
    case WeightFormat::kQ5_K:
      return {256, 32, 0, 31, true, 1, false, true, false, true};
    case WeightFormat::kQ6_K:
      return {256, 16, 32, 63, true, 2, false, false, false, true};
    case WeightFormat::kI4G32:
      return {32, 32, 0, 15, true, 0, true, false, true, false};
    case WeightFormat::kI4G64:
      return {64, 64, 0, 15, true, 0, true, false, true, false};
    case WeightFormat::kI4G128:
      return {128, 128, 0, 15, true, 0, true, false, true, false};
    case WeightFormat::kI8G32:
      return {32, 32, 0, 0, false, 0, true, false, false, false};
    case WeightFormat::kI8G64:
      return {64, 64, 0, 0, false, 0, true, false, false, false};
    case WeightFormat::kI8G128:
      return {128, 128, 0, 0, false, 0, true, false, false, false};
    case WeightFormat::kI8Row:
      return {
          32,    32,  kRowCodeOffset, kRowCodeOffset == 0 ? 0 : 255, false, 0, true, false, false,
          false, true};
    case WeightFormat::kF32:
    case WeightFormat::kF16:
    case WeightFormat::kBF16:
      break;
  }
  return {1, 1, 0, 0, false, 0, false, false, false, false};
}

// Products read int8 inputs (ActivationsView::quantized) rather than fp32 ones.
static constexpr bool is_grouped(WeightFormat format) {
  return strip_layout(format).block_inputs > 1;
}

static constexpr int32_t num_groups(const StripLayout& layout) {
  return layout.block_inputs / layout.group_inputs;
}

// Bytes from the start of a block to each of its parts.
static constexpr int32_t minima_at(const StripLayout& layout) {
  return kStripRows * (layout.wide_scales ? 4 : 2);
}
static constexpr int32_t group_scales_at(const StripLayout& layout) {
  return minima_at(layout) + (layout.minima ? kStripRows * 2 : 0);
}
static constexpr int32_t group_minima_at(const StripLayout& layout) {
  return group_scales_at(layout) + (layout.super ? num_groups(layout) * kStripRows : 0);
}
static constexpr int32_t zeros_at(const StripLayout& layout) {
  return group_minima_at(layout) +
         (layout.super && layout.minima ? num_groups(layout) * kStripRows : 0);
}
static constexpr int32_t codes_at(const StripLayout& layout) {
  return zeros_at(layout) + (layout.zeros ? kStripRows * 2 : 0);
}
// Inputs whose codes lie together, and their bytes.
static constexpr int32_t unit_inputs(const StripLayout& layout) {
  return layout.high_bits == 0 ? 8 : 32 / layout.high_bits;
}
static constexpr int32_t unit_bytes(const StripLayout& layout) {
  const int32_t inputs = unit_inputs(layout);
  if (!layout.nibbles) return inputs * kStripRows;
  return (inputs * kStripRows / 2) + (layout.high_bits == 0 ? 0 : kStripRows * 4);
}
static constexpr int32_t block_bytes(const StripLayout& layout) {
  return (layout.one_scale ? 0 : codes_at(layout)) +
         layout.block_inputs / unit_inputs(layout) * unit_bytes(layout);
}
// Bytes in front of the first block.
static constexpr int32_t strip_header_bytes(const StripLayout& layout) {
  return layout.one_scale ? codes_at(layout) : 0;
}

// Inputs of a row. The sums of a row with one scale are int32, of bytes up to 255 times 127.
static constexpr int64_t max_row_inputs(const StripLayout& layout) {
  return layout.one_scale ? INT32_MAX / (255 * 127) / layout.block_inputs * layout.block_inputs
                          : int64_t{1} << 31;
}

// Code of one row's input inside a block, without its offset.
static inline int32_t strip_code(const StripLayout& layout, const uint8_t* codes, int64_t lane,
                                 int64_t input) {
  if (!layout.nibbles) {
    const uint8_t byte = codes[(input / 4 * kStripRows + lane) * 4 + input % 4];
    return layout.max_code == 0 ? static_cast<int8_t>(byte) : byte;
  }
  codes += input / unit_inputs(layout) * unit_bytes(layout);
  input %= unit_inputs(layout);
  int32_t high = 0;
  if (layout.high_bits != 0) {
    const int32_t mask = (1 << layout.high_bits) - 1;
    high = codes[lane * 4 + input % 4] >> (input / 4 * layout.high_bits) & mask;
    codes += kStripRows * 4;
  }
  const int32_t pair = codes[(input / 8 * kStripRows + lane) * 4 + input % 4];
  return (input % 8 < 4 ? pair & 15 : pair >> 4) | high << 4;
}

}  // namespace sparrow

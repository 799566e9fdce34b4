#pragma once
// How few_rows.cu reads weights: a window is 64 bytes of a row, 16 bytes a lane of four; a warp
// takes a window of 16 rows at once and multiplies it by mma.m16n8k16 with up to 8 rows of x.
//
// mma adds products over the four lanes t of a row, and it does not matter which inputs they are as
// long as W and x agree. Plain weights are used as they are loaded: lane t has inputs 8t to 8t + 7
// of the window. With scales the inputs of one mma must lie in one group, so the four lanes of a
// row exchange words: from their own piece each to a word of every piece.
//
// Integers become 16-bit floats without a conversion: put into the mantissa of a number whose last
// place is 1, which is then subtracted (the idea is that of NVIDIA's FasterTransformer, Kim et al.
// 2022, and of Marlin, Frantar et al. 2024). They are exact, and the scale multiplies fp32 sums of
// 32 inputs.

#include "kernels/cuda/linear/linear_work.cuh"
#include "kernels/cuda/mma.cuh"

namespace sparrow::SPARROW_GPU_NAMESPACE {

// Of one row: four words of a lane and what belongs to the group they lie in.
struct RowPiece {
  unsigned words[4];
  unsigned scale_bits;
  unsigned zero;
};

// Rows g and g + 8 of a tile, as lane 4g + t has them.
struct Window {
  RowPiece rows[2];
};

__device__ __forceinline__ void load_row_words(RowPiece& piece, const uint4* address) {
  const uint4 words = __ldcs(address);  // read once: they need not stay in the first-level cache
  piece.words[0] = words.x;
  piece.words[1] = words.y;
  piece.words[2] = words.z;
  piece.words[3] = words.w;
}

// a - b of two 16-bit floats each.
#ifdef __CUDACC__
__device__ __forceinline__ unsigned subtract_pairs(unsigned a, unsigned b, BF16) {
  unsigned out = 0;
#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 800
  asm("fma.rn.bf16x2 %0, %1, %2, %3;"
      : "=r"(out)
      : "r"(a), "r"(0x3f803f80u), "r"(b ^ 0x80008000u));  // a * 1 - b: sub.bf16x2 came with sm_90
#endif
  return out;
}
__device__ __forceinline__ unsigned subtract_pairs(unsigned a, unsigned b, F16) {
  unsigned out;
  asm("sub.f16x2 %0, %1, %2;" : "=r"(out) : "r"(a), "r"(b));
  return out;
}
#else
template <typename X>
unsigned subtract_pairs(unsigned a, unsigned b, X) {
  unsigned out = 0;
  for (int half = 0; half < 2; ++half) {
    X value;
    from_float(to_float(X{static_cast<uint16_t>(a >> (16 * half))}) -
                   to_float(X{static_cast<uint16_t>(b >> (16 * half))}),
               value);
    out |= static_cast<unsigned>(value.bits) << (16 * half);
  }
  return out;
}
#endif

// Twice 2^n with a last place of 1: 128 in bf16, 1024 in fp16.
__device__ constexpr unsigned integer_pair(BF16) { return 0x43004300u; }
__device__ constexpr unsigned integer_pair(F16) { return 0x64006400u; }

// Of the four lanes of a row: lane t's word i becomes lane i's word t.
__device__ __forceinline__ void exchange_words(unsigned (&words)[4]) {
  const int lane = static_cast<int>(threadIdx.x) % kWarpSize;
#pragma unroll
  for (int bit = 1; bit <= 2; bit *= 2) {
    const bool upper = (lane & bit) != 0;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      if ((i & bit) != 0) continue;
      unsigned& low = words[i];
      unsigned& high = words[i | bit];
      const unsigned received = __shfl_xor_sync(kFullWarp, upper ? low : high, bit);
      low = upper ? received : low;
      high = upper ? high : received;
    }
  }
}

// add(): sums += window . x for 16 rows of W (of `low` and `high`) and 8 of x; `x` is the window's
// inputs in row g of x for lane 4g + t.
template <typename X>
struct PlainWindow {
  static constexpr int kInputs = 32;
  static constexpr bool kHasScales = false;
  static constexpr bool kHasZeros = false;

  __device__ static void add(Window& window, const GpuMatrix&, const GpuMatrix&, const uint16_t* x,
                             FragmentC& sums) {
    const int t = static_cast<int>(threadIdx.x) % 4;
    const uint4 octet = *reinterpret_cast<const uint4*>(x + 8 * t);
    const unsigned(&low)[4] = window.rows[0].words;
    const unsigned(&high)[4] = window.rows[1].words;
    multiply_add<X>({{low[0], high[0], low[1], high[1]}}, {{octet.x, octet.y}}, sums);
    multiply_add<X>({{low[2], high[2], low[3], high[3]}}, {{octet.z, octet.w}}, sums);
  }
};

__device__ __forceinline__ float scale_of_bits(const GpuMatrix& matrix, unsigned bits) {
  return matrix.has_f32_scales ? __uint_as_float(bits) : to_float(F16{static_cast<uint16_t>(bits)});
}

// The scales of both rows, of the group that the lane's own piece lies in.
struct Scales {
  float low, high;

  __device__ __forceinline__ Scales(const Window& window, const GpuMatrix& of_low,
                                    const GpuMatrix& of_high)
      : low(scale_of_bits(of_low, window.rows[0].scale_bits)),
        high(scale_of_bits(of_high, window.rows[1].scale_bits)) {}
  // sums += what 32 inputs gave, times the scales that lane `from` of the four has.
  __device__ __forceinline__ void add(int from, const FragmentC& part, FragmentC& sums) const {
    const float scale_low = __shfl_sync(kFullWarp, low, from, 4);
    const float scale_high = __shfl_sync(kFullWarp, high, from, 4);
    sums.c[0] = fmaf(scale_low, part.c[0], sums.c[0]);
    sums.c[1] = fmaf(scale_low, part.c[1], sums.c[1]);
    sums.c[2] = fmaf(scale_high, part.c[2], sums.c[2]);
    sums.c[3] = fmaf(scale_high, part.c[3], sums.c[3]);
  }
};

template <typename X>
struct Int8Window {
  static constexpr int kInputs = 64;
  static constexpr bool kHasScales = true;
  static constexpr bool kHasZeros = false;

  // Values 2 pair and 2 pair + 1 of a word, whose bytes had 128 added.
  __device__ static unsigned pair_of(unsigned word, int pair, BF16) {
    constexpr float kOffset = 8388608.0f + 128.0f;
    const float low = __uint_as_float(__byte_perm(word, 0x4b000000u, 0x7440 + 2 * pair)) - kOffset;
    const float high = __uint_as_float(__byte_perm(word, 0x4b000000u, 0x7441 + 2 * pair)) - kOffset;
    // Integers of 8 bits: the lower halves are zero.
    return __byte_perm(__float_as_uint(low), __float_as_uint(high), 0x7632);
  }
  __device__ static unsigned pair_of(unsigned word, int pair, F16) {
    const unsigned biased = __byte_perm(word, 0x64646464u, pair == 0 ? 0x4140 : 0x4342);
    return subtract_pairs(biased, 0x64806480u, F16{});  // 1024 + 128
  }

  __device__ static void add(Window& window, const GpuMatrix& low, const GpuMatrix& high,
                             const uint16_t* x, FragmentC& sums) {
    const int t = static_cast<int>(threadIdx.x) % 4;
    exchange_words(window.rows[0].words);
    exchange_words(window.rows[1].words);
    const Scales scales(window, low, high);
#pragma unroll
    for (int step = 0; step < 2; ++step) {
      FragmentC part = {};
#pragma unroll
      for (int j = 2 * step; j < 2 * step + 2; ++j) {
        const uint2 four = *reinterpret_cast<const uint2*>(x + 16 * j + 4 * t);
        const unsigned a = window.rows[0].words[j] ^ 0x80808080u;
        const unsigned b = window.rows[1].words[j] ^ 0x80808080u;
        multiply_add<X>(
            {{pair_of(a, 0, X{}), pair_of(b, 0, X{}), pair_of(a, 1, X{}), pair_of(b, 1, X{})}},
            {{four.x, four.y}}, part);
      }
      scales.add(2 * step, part, sums);
    }
  }
};

template <typename X, bool kZeros>
struct Int4Window {
  static constexpr int kInputs = 128;
  static constexpr bool kHasScales = true;
  static constexpr bool kHasZeros = kZeros;

  // Twice 2^n + zero: what the biased nibbles are less.
  __device__ static unsigned offset_of(unsigned zero) {
    return integer_pair(X{}) + zero * 0x00010001u;
  }
  __device__ static unsigned pair_of(unsigned word, int pair, unsigned offset) {
    const unsigned biased = (word >> shift_of_nibble(2 * pair) & 0x000f000fu) | integer_pair(X{});
    return subtract_pairs(biased, offset, X{});
  }

  __device__ static void add(Window& window, const GpuMatrix& low, const GpuMatrix& high,
                             const uint16_t* x, FragmentC& sums) {
    const int t = static_cast<int>(threadIdx.x) % 4;
    exchange_words(window.rows[0].words);
    exchange_words(window.rows[1].words);
    const Scales scales(window, low, high);
    const unsigned own_low = offset_of(window.rows[0].zero);
    const unsigned own_high = offset_of(window.rows[1].zero);
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      const uint4 octet = *reinterpret_cast<const uint4*>(x + 32 * j + 8 * t);
      unsigned less_low = offset_of(8), less_high = offset_of(8);
      if constexpr (kZeros) {
        less_low = __shfl_sync(kFullWarp, own_low, j, 4);
        less_high = __shfl_sync(kFullWarp, own_high, j, 4);
      }
      const unsigned a = window.rows[0].words[j], b = window.rows[1].words[j];
      FragmentC part = {};
      multiply_add<X>({{pair_of(a, 0, less_low), pair_of(b, 0, less_high), pair_of(a, 1, less_low),
                        pair_of(b, 1, less_high)}},
                      {{octet.x, octet.y}}, part);
      multiply_add<X>({{pair_of(a, 2, less_low), pair_of(b, 2, less_high), pair_of(a, 3, less_low),
                        pair_of(b, 3, less_high)}},
                      {{octet.z, octet.w}}, part);
      scales.add(j, part, sums);
    }
  }
};

}  // namespace sparrow::SPARROW_GPU_NAMESPACE

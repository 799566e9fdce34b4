// Few rows of x (decode): a warp takes one or two rows of W and every row of x. A lane loads the
// pieces lane, lane + 32, ... of 16 bytes, several of them before it uses the first, and sums in
// that order; the warp's sums are added as in warp_reduce.cuh. An output's order is the same for
// 1, 2, 4 and 8 rows of x, and so are its bits.
#include "kernels/cuda/gpu_launchers.h"
#include "kernels/cuda/linear/choose_linear_kernel.h"
#include "kernels/cuda/linear/linear_work.cuh"
#include "kernels/cuda/warp_reduce.cuh"

namespace sparrow::SPARROW_GPU_NAMESPACE {
namespace {

constexpr int kMaxSplitRows = 4096;
constexpr int kMinSplitPieces = 96;  // of 16 bytes: three a lane and more
constexpr int kWarps = 4;
constexpr int kThreads = kWarps * kWarpSize;
constexpr int kPiecesInFlight = 4;  // of a lane
constexpr int kOctet = 8;           // inputs unpacked at a time: 16 bytes of x

struct Words {
  unsigned word[4];
};

// Weights are read once: they need not stay in the first-level cache.
__device__ __forceinline__ Words load_weights(const uint4* address) {
#ifdef __CUDACC__
  const uint4 piece = __ldcs(address);
#else
  const uint4 piece = *address;
#endif
  return {{piece.x, piece.y, piece.z, piece.w}};
}

__device__ __forceinline__ Words load_x(const uint4* address) {
  const uint4 piece = *address;
  return {{piece.x, piece.y, piece.z, piece.w}};
}

// A float whose last place is 1: an integer below 2^23 is put into its mantissa by an or.
constexpr unsigned kIntegerFloat = 0x4b000000u;
constexpr float kIntegerFloatValue = 8388608.0f;

template <typename Plain>
struct PlainFormat {
  static constexpr int kInputs = 8;
  static constexpr bool kHasScales = false;
  __device__ static void unpack(const Words& piece, int, float, float (&out)[kOctet]) {
#pragma unroll
    for (int i = 0; i < kOctet; ++i) {
      const unsigned bits = i % 2 == 0 ? piece.word[i / 2] & 0xffffu : piece.word[i / 2] >> 16;
      out[i] = to_float(Plain{static_cast<uint16_t>(bits)});
    }
  }
};

struct Int8Format {
  static constexpr int kInputs = 16;
  static constexpr bool kHasScales = true;
  static constexpr bool kHasZeros = false;
  __device__ static void unpack(const Words& piece, int octet, float, float (&out)[kOctet]) {
#pragma unroll
    for (int i = 0; i < kOctet; ++i) {
      const unsigned word = piece.word[octet * 2 + i / 4] ^ 0x80808080u;  // value + 128
      const unsigned byte = word >> (8 * (i % 4)) & 0xffu;
      out[i] = __uint_as_float(byte | kIntegerFloat) - (kIntegerFloatValue + 128.0f);
    }
  }
};

struct Int4Format {
  static constexpr int kInputs = 32;
  static constexpr bool kHasScales = true;
  static constexpr bool kHasZeros = true;
  __device__ static void unpack(const Words& piece, int octet, float zero, float (&out)[kOctet]) {
#pragma unroll
    for (int i = 0; i < kOctet; ++i) {
      const unsigned nibble = piece.word[octet] >> shift_of_nibble(i) & 15u;
      out[i] = __uint_as_float(nibble | kIntegerFloat) - (kIntegerFloatValue + zero);
    }
  }
};

// A piece of a row of W with what belongs to its group, as it was loaded: a conversion would wait
// for the load, and the next piece with it.
struct Piece {
  Words words;
  unsigned scale_bits;
  unsigned zero;
};

// Row number i of a warp: of a gated product even ones are of the gate, odd ones of `up`.
template <int kRows, bool kGated>
struct RowSet {
  const LinearWork& work;
  int first;  // of the outputs

  static constexpr int kOutputs = kGated ? kRows / 2 : kRows;
  __device__ const GpuMatrix& matrix(int i) const {
    return kGated && i % 2 == 1 ? work.up : work.matrix;
  }
  __device__ int row(int i) const {  // the last one again where there are no more
    return min(first + (kGated ? i / 2 : i), work.matrix.rows - 1);
  }
};

__device__ __forceinline__ Words load_words(const GpuMatrix& matrix, int row, int index,
                                            int num_pieces) {
  return load_weights(static_cast<const uint4*>(matrix.values) + int64_t{row} * num_pieces + index);
}

template <typename Format>
__device__ __forceinline__ void load_group(const GpuMatrix& matrix, int row, int index,
                                           int group_shift, Piece& piece) {
  const int64_t num_groups = ((matrix.cols - 1) >> group_shift) + 1;
  const int64_t group = row * num_groups + ((index * Format::kInputs) >> group_shift);
  piece.scale_bits = matrix.has_f32_scales ? static_cast<const unsigned*>(matrix.scales)[group]
                                           : static_cast<const uint16_t*>(matrix.scales)[group];
  if constexpr (Format::kHasZeros) piece.zero = static_cast<unsigned>(zero_at(matrix, group));
}

__device__ __forceinline__ float scale_of(const GpuMatrix& matrix, const Piece& piece) {
  return matrix.has_f32_scales ? __uint_as_float(piece.scale_bits)
                               : to_float(F16{static_cast<uint16_t>(piece.scale_bits)});
}

// sums[r][t] += piece r . x[t], the inputs in order.
template <typename Format, typename X, int kNumX, int kRows>
__device__ __forceinline__ void add_pieces(const Piece (&pieces)[kRows],
                                           const float (&scales)[kRows], const uint4* x, int x_step,
                                           int last_x, float (&sums)[kRows][kNumX]) {
  float partial[kRows][kNumX] = {};
  float(&target)[kRows][kNumX] = Format::kHasScales ? partial : sums;
#pragma unroll
  for (int octet = 0; octet < Format::kInputs / kOctet; ++octet) {
    float weights[kRows][kOctet];
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
      Format::unpack(pieces[r].words, octet, static_cast<float>(pieces[r].zero), weights[r]);
    }
#pragma unroll
    for (int t = 0; t < kNumX; ++t) {
      float inputs[kOctet];
      const int x_row = min(t, last_x);
      PlainFormat<X>::unpack(load_x(x + int64_t{x_row} * x_step + octet), 0, 0.0f, inputs);
#pragma unroll
      for (int r = 0; r < kRows; ++r) {
#pragma unroll
        for (int i = 0; i < kOctet; ++i) {
          target[r][t] = fmaf(weights[r][i], inputs[i], target[r][t]);
        }
      }
    }
  }
  if constexpr (Format::kHasScales) {
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
#pragma unroll
      for (int t = 0; t < kNumX; ++t) {
        sums[r][t] = fmaf(scales[r], partial[r][t], sums[r][t]);
      }
    }
  }
}

template <typename X, int kNumX, int kRows, bool kGated>
__device__ __forceinline__ void store_sums(const RowSet<kRows, kGated>& rows, const float* sums) {
  for (int i = 0; i < rows.kOutputs; ++i) {
    const int r = rows.first + i;
    if (r >= rows.work.matrix.rows) return;
    for (int t = 0; t < kNumX && t < rows.work.num_rows; ++t) {
      if constexpr (kGated) {
        store_gated<X>(rows.work, t, r, sums[2 * i * kNumX + t], sums[(2 * i + 1) * kNumX + t]);
      } else {
        store_sum(rows.work, t, r, sums[i * kNumX + t]);
      }
    }
  }
}

template <typename Format, typename X, int kNumX, int kRows, bool kGated>
__global__ void __launch_bounds__(kThreads)
    row_dots_kernel(const LinearWork work, int group_shift, bool is_split) {
  __shared__ float shared[kWarps][kRows * kNumX];
  start_after_earlier_kernels();
  const int warp = static_cast<int>(threadIdx.x / kWarpSize);
  const int lane = static_cast<int>(threadIdx.x % kWarpSize);
  // Split: the warps of a block share its rows, and with them the inputs.
  const int set = static_cast<int>(blockIdx.x) * (is_split ? 1 : kWarps) + (is_split ? 0 : warp);
  const RowSet<kRows, kGated> rows{work, set * RowSet<kRows, kGated>::kOutputs};
  const int num_lanes = is_split ? kThreads : kWarpSize;
  if (rows.first >= work.matrix.rows) return;
  constexpr int kDepth = kPiecesInFlight / kRows;
  const int num_pieces = work.matrix.cols / Format::kInputs;
  const int x_step = work.matrix.cols / kOctet;
  const auto* x = static_cast<const uint4*>(work.x);
  float sums[kRows][kNumX] = {};
  for (int begin = is_split ? static_cast<int>(threadIdx.x) : lane; begin < num_pieces;
       begin += num_lanes * kDepth) {
    Piece pieces[kDepth][kRows] = {};
#pragma unroll
    for (int d = 0; d < kDepth; ++d) {
      const int index = min(begin + d * num_lanes, num_pieces - 1);
#pragma unroll
      for (int r = 0; r < kRows; ++r) {
        pieces[d][r].words = load_words(rows.matrix(r), rows.row(r), index, num_pieces);
      }
    }
    if constexpr (Format::kHasScales) {
#pragma unroll
      for (int d = 0; d < kDepth; ++d) {
        const int index = min(begin + d * num_lanes, num_pieces - 1);
#pragma unroll
        for (int r = 0; r < kRows; ++r) {
          load_group<Format>(rows.matrix(r), rows.row(r), index, group_shift, pieces[d][r]);
        }
      }
    }
#pragma unroll
    for (int d = 0; d < kDepth; ++d) {
      const int index = begin + d * num_lanes;
      if (index >= num_pieces) break;
      float scales[kRows] = {};
      if constexpr (Format::kHasScales) {
#pragma unroll
        for (int r = 0; r < kRows; ++r) scales[r] = scale_of(rows.matrix(r), pieces[d][r]);
      }
      add_pieces<Format, X, kNumX, kRows>(pieces[d], scales, x + index * (Format::kInputs / kOctet),
                                          x_step, work.num_rows - 1, sums);
    }
  }
#pragma unroll
  for (int r = 0; r < kRows; ++r) {
#pragma unroll
    for (int t = 0; t < kNumX; ++t) sums[r][t] = warp_sum(sums[r][t]);
  }
  if (is_split) {
    if (lane == 0) {
      for (int i = 0; i < kRows * kNumX; ++i) shared[warp][i] = sums[i / kNumX][i % kNumX];
    }
    __syncthreads();
    if (threadIdx.x != 0) return;
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
#pragma unroll
      for (int t = 0; t < kNumX; ++t) {
        for (int w = 1; w < kWarps; ++w) sums[r][t] += shared[w][r * kNumX + t];
      }
    }
  }
  if (lane == 0) store_sums<X, kNumX>(rows, &sums[0][0]);
}

// A value at a time: for what the kernel above does not take. A warp an output and row of x.
template <typename X>
__global__ void __launch_bounds__(kThreads) row_dots_by_value_kernel(const LinearWork work) {
  const int r = static_cast<int>(blockIdx.x * kWarps + threadIdx.x / kWarpSize);
  const int t = static_cast<int>(blockIdx.y);
  const int lane = static_cast<int>(threadIdx.x % kWarpSize);
  if (r >= work.matrix.rows) return;
  const int cols = work.matrix.cols;
  const X* x = static_cast<const X*>(work.x) + int64_t{t} * cols;
  float sum = 0, up_sum = 0;
  for (int k = lane; k < cols; k += kWarpSize) {
    const float input = to_float(x[k]);
    const Weight weight = weight_at(work.matrix, r, k);
    sum = fmaf(weight.value * input, weight.scale, sum);
    if (work.is_gated) {
      const Weight up = weight_at(work.up, r, k);
      up_sum = fmaf(up.value * input, up.scale, up_sum);
    }
  }
  sum = warp_sum(sum);
  up_sum = warp_sum(up_sum);
  if (lane != 0) return;
  if (work.is_gated) {
    store_gated<X>(work, t, r, sum, up_sum);
  } else {
    store_sum(work, t, r, sum);
  }
}

unsigned blocks_for(int32_t rows, int32_t rows_per_set, int32_t sets_per_block) {
  const int32_t rows_per_block = sets_per_block * rows_per_set;
  return static_cast<unsigned>((rows + rows_per_block - 1) / rows_per_block);
}

template <typename Format, typename X, int kNumX, bool kGated>
void launch_for(GpuStream stream, const LinearWork& work) {
  // With many rows of x a warp takes two rows of W, so that each x that it loads serves twice.
  constexpr int kRows = kGated || kNumX >= 4 ? 2 : 1;
  int shift = 31;  // one group a row, or none
  if (work.matrix.group != work.matrix.cols) {
    for (shift = 0; (1 << shift) < work.matrix.group;) ++shift;
  }
  // Few rows leave a chip of some thousand warps idle: measured on an H200, one warp a row read the
  // 1,536 rows of the output product at a fifth of the bandwidth. Whatever the rows of x, so that a
  // result keeps its bits.
  constexpr int kOutputs = RowSet<kRows, kGated>::kOutputs;
  const bool is_split =
      work.matrix.rows <= kMaxSplitRows && work.matrix.cols / Format::kInputs >= kMinSplitPieces;
  const unsigned blocks = blocks_for(work.matrix.rows, kOutputs, is_split ? 1 : kWarps);
  launch_overlapped(stream, dim3{blocks}, dim3{kThreads}, 0,
                    row_dots_kernel<Format, X, kNumX, kRows, kGated>, work, shift, is_split);
}

template <typename Format, typename X, bool kGated>
void launch_for_rows(GpuStream stream, const LinearWork& work) {
  if (work.num_rows == 1) return launch_for<Format, X, 1, kGated>(stream, work);
  if (work.num_rows == 2) return launch_for<Format, X, 2, kGated>(stream, work);
  if (work.num_rows <= 4) return launch_for<Format, X, 4, kGated>(stream, work);
  launch_for<Format, X, kMaxRowDots, kGated>(stream, work);
}

template <typename X, bool kGated>
void launch_for_format(GpuStream stream, const LinearWork& work) {
  switch (work.matrix.format) {
    case GpuWeightFormat::kBF16:
    case GpuWeightFormat::kF16:  // of the type of x: choose_linear_kernel() has seen to it
      return launch_for_rows<PlainFormat<X>, X, kGated>(stream, work);
    case GpuWeightFormat::kInt8:
      return launch_for_rows<Int8Format, X, kGated>(stream, work);
    case GpuWeightFormat::kInt4:
      return launch_for_rows<Int4Format, X, kGated>(stream, work);
  }
}

}  // namespace

void run_row_dots(GpuStream stream, const LinearWork& work) {
  if (work.x_type == GpuFloat::kBF16) {
    (work.is_gated ? launch_for_format<BF16, true> : launch_for_format<BF16, false>)(stream, work);
  } else {
    (work.is_gated ? launch_for_format<F16, true> : launch_for_format<F16, false>)(stream, work);
  }
}

void run_row_dots_by_value(GpuStream stream, const LinearWork& work) {
  const dim3 grid{blocks_for(work.matrix.rows, 1, kWarps), static_cast<unsigned>(work.num_rows)};
  const auto kernel = work.x_type == GpuFloat::kBF16 ? row_dots_by_value_kernel<BF16>
                                                     : row_dots_by_value_kernel<F16>;
  launch(stream, grid, dim3{kThreads}, 0, kernel, work);
}

}  // namespace sparrow::SPARROW_GPU_NAMESPACE

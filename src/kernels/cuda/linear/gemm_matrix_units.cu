// Many rows of x on the matrix units (sm_80 and newer): out^T = W x^T in tiles of 64 rows of W by
// 32 or 64 rows of x by 32 inputs, two tiles in shared memory: one is filled while the other is
// used. Integers go in as they are, exactly, into 16-bit floats; their scale multiplies the fp32
// sum of the tile's 32 inputs, which lie in one group: weights are never rounded.
//
// The order of an output's sum: within a tile that of two mma.sync, tiles one after the other.
//
// A gated product interleaves 16 rows of the gate and 16 of `up`, so that the same warp has both.
#include "kernels/cuda/gpu_launchers.h"
#include "kernels/cuda/linear/choose_linear_kernel.h"
#include "kernels/cuda/linear/linear_work.cuh"
#include "kernels/cuda/mma.cuh"

namespace sparrow::SPARROW_GPU_NAMESPACE {
namespace {

constexpr int kWarpsAlong = 2;  // warps of a block: 2 along W, 2 along x
constexpr int kThreads = kWarpsAlong * kWarpsAlong * kWarpSize;
constexpr int kDepth = kMatrixUnitsDepth;
constexpr int kPitch = kDepth + 8;  // values: eight rows of 80 bytes touch every bank once
constexpr int kFragmentRows = 16;
constexpr int kRowFragments = 2;  // of a warp
constexpr int kTileRows = kWarpsAlong * kRowFragments * kFragmentRows;
constexpr int kPiece = 8;  // values of 16 bytes in shared memory
constexpr int kPiecesPerRow = kDepth / kPiece;

template <int kTokens>
struct Stage {
  uint16_t weights[kTileRows][kPitch];
  uint16_t x[kTokens][kPitch];
  float scales[kTileRows];
};

struct RowName {
  const GpuMatrix& matrix;
  int row;  // may lie beyond the last
};

// What lies in row `slot` of the weight tile.
template <bool kGated>
__device__ __forceinline__ RowName row_of_slot(const LinearWork& work, int slot) {
  const int tile = static_cast<int>(blockIdx.x);
  if constexpr (!kGated) return {work.matrix, tile * kTileRows + slot};
  const int row =
      tile * (kTileRows / 2) + slot / (2 * kFragmentRows) * kFragmentRows + slot % kFragmentRows;
  return {slot / kFragmentRows % 2 == 0 ? work.matrix : work.up, row};
}

// Two small integers as 16-bit floats, exactly.
template <typename X>
__device__ __forceinline__ unsigned pack_integers(int low, int high) {
  X low_half, high_half;
  from_float(static_cast<float>(low), low_half);
  from_float(static_cast<float>(high), high_half);
  return low_half.bits | static_cast<unsigned>(high_half.bits) << 16;
}

// A thread's weights of the next tile: they are loaded before the tile at hand is used, and stored
// after it. Plain weights go by AsyncCopies.
template <typename X, bool kGated>
struct PlainWeights {
  static constexpr bool kHasScales = false;
  __device__ void load(const LinearWork& work, int k_begin, uint16_t (*tile)[kPitch],
                       AsyncCopies& copies) {
    for (int i = static_cast<int>(threadIdx.x); i < kTileRows * kPiecesPerRow; i += kThreads) {
      const int slot = i / kPiecesPerRow, k = i % kPiecesPerRow * kPiece;
      const RowName name = row_of_slot<kGated>(work, slot);
      const int row = min(name.row, name.matrix.rows - 1);
      const auto* values = static_cast<const uint16_t*>(name.matrix.values);
      copies.add(&tile[slot][k], values + int64_t{row} * name.matrix.cols + k_begin + k,
                 name.row < name.matrix.rows);
    }
  }
  __device__ void store(uint16_t (*)[kPitch], float*) const {}
};

// Two threads a row: 16 inputs each.
template <typename X, bool kGated, bool kInt4>
struct IntegerWeights {
  static constexpr bool kHasScales = true;
  static constexpr int kInputs = kTileRows * kDepth / kThreads;
  static_assert(kInputs == 16 && kThreads == 2 * kTileRows);

  __device__ void load(const LinearWork& work, int k_begin, uint16_t (*)[kPitch], AsyncCopies&) {
    const int slot = static_cast<int>(threadIdx.x) / 2, half = static_cast<int>(threadIdx.x) % 2;
    const RowName name = row_of_slot<kGated>(work, slot);
    const GpuMatrix& matrix = name.matrix;
    const int64_t row = min(name.row, matrix.rows - 1);
    const int64_t group = row * (matrix.cols / matrix.group) + k_begin / matrix.group;
    scale_ = name.row < matrix.rows ? scale_at(matrix, group) : 0.0f;
    const int64_t at = row * matrix.cols + k_begin + half * kInputs;
    if constexpr (kInt4) {
      const uint2 words = static_cast<const uint2*>(matrix.values)[at / 16];
      words_[0] = words.x;
      words_[1] = words.y;
      zero_ = zero_at(matrix, group);
    } else {
      const uint4 words = static_cast<const uint4*>(matrix.values)[at / 16];
      words_[0] = words.x;
      words_[1] = words.y;
      words_[2] = words.z;
      words_[3] = words.w;
    }
  }

  __device__ void store(uint16_t (*tile)[kPitch], float* scales) const {
    const int slot = static_cast<int>(threadIdx.x) / 2, half = static_cast<int>(threadIdx.x) % 2;
    unsigned packed[kInputs / 2];
#pragma unroll
    for (int i = 0; i < kInputs / 2; ++i) {
      packed[i] = kInt4 ? pair_of_int4(i) : pair_of_int8(i);
    }
    auto* out = reinterpret_cast<uint4*>(&tile[slot][half * kInputs]);
    out[0] = make_uint4(packed[0], packed[1], packed[2], packed[3]);
    out[1] = make_uint4(packed[4], packed[5], packed[6], packed[7]);
    if (half == 0) scales[slot] = scale_;
  }

 private:
  __device__ unsigned pair_of_int8(int i) const {
    const unsigned word = words_[i / 2];
    const int shift = i % 2 * 16;
    return pack_integers<X>(static_cast<int8_t>(word >> shift & 0xffu),
                            static_cast<int8_t>(word >> (shift + 8) & 0xffu));
  }
  __device__ unsigned pair_of_int4(int i) const {
    const unsigned pair = words_[i / 4] >> shift_of_nibble(i % 4 * 2) & 0x000f000fu;
    return pack_integers<X>(static_cast<int>(pair & 15u) - zero_,
                            static_cast<int>(pair >> 16) - zero_);
  }

  unsigned words_[kInt4 ? 2 : 4] = {};
  float scale_ = 0;
  int zero_ = 0;
};
template <typename X, bool kGated>
using Int8Weights = IntegerWeights<X, kGated, false>;
template <typename X, bool kGated>
using Int4Weights = IntegerWeights<X, kGated, true>;

template <typename X, int kTokens>
__device__ __forceinline__ void load_x(const LinearWork& work, int k_begin,
                                       uint16_t (*tile)[kPitch], AsyncCopies& copies) {
  for (int i = static_cast<int>(threadIdx.x); i < kTokens * kPiecesPerRow; i += kThreads) {
    const int line = i / kPiecesPerRow, k = i % kPiecesPerRow * kPiece;
    const int t = static_cast<int>(blockIdx.y) * kTokens + line;
    const int64_t row = min(t, work.num_rows - 1);
    const auto* x = static_cast<const uint16_t*>(work.x);
    copies.add(&tile[line][k], x + row * work.matrix.cols + k_begin + k, t < work.num_rows);
  }
}

// The sums of one warp: kRowFragments x kTokenFragments fragments.
template <int kTokenFragments>
using Sums = FragmentC[kRowFragments][kTokenFragments];

template <typename X, bool kHasScales, int kTokens>
__device__ __forceinline__ void add_tile(const Stage<kTokens>& stage,
                                         Sums<kTokens / kPiece / kWarpsAlong>& sums) {
  constexpr int kTokenFragments = kTokens / kPiece / kWarpsAlong;
  const int warp = static_cast<int>(threadIdx.x) / kWarpSize;
  const int first_row = warp / kWarpsAlong * (kTileRows / kWarpsAlong);
  const int first_token = warp % kWarpsAlong * (kTokens / kWarpsAlong);
  FragmentC partial[kRowFragments][kTokenFragments] = {};
  Sums<kTokenFragments>& target = kHasScales ? partial : sums;
#pragma unroll
  for (int k = 0; k < kDepth; k += 16) {
    FragmentA a[kRowFragments];
    FragmentB b[kTokenFragments];
#pragma unroll
    for (int i = 0; i < kRowFragments; ++i) {
      load_fragment_a(&stage.weights[first_row + i * kFragmentRows][k], kPitch, a[i]);
    }
#pragma unroll
    for (int j = 0; j < kTokenFragments; j += 2) {
      load_fragments_b(&stage.x[first_token + j * kPiece][k], kPitch, b[j], b[j + 1]);
    }
#pragma unroll
    for (int i = 0; i < kRowFragments; ++i) {
#pragma unroll
      for (int j = 0; j < kTokenFragments; ++j) multiply_add<X>(a[i], b[j], target[i][j]);
    }
  }
  if constexpr (kHasScales) {
    const int g = static_cast<int>(threadIdx.x) % kWarpSize / 4;
#pragma unroll
    for (int i = 0; i < kRowFragments; ++i) {
      const float* scales = stage.scales + first_row + i * kFragmentRows + g;
      const float scale[2] = {scales[0], scales[8]};
#pragma unroll
      for (int j = 0; j < kTokenFragments; ++j) {
#pragma unroll
        for (int c = 0; c < 4; ++c) {
          sums[i][j].c[c] = fmaf(scale[c / 2], partial[i][j].c[c], sums[i][j].c[c]);
        }
      }
    }
  }
}

template <typename X, bool kGated, int kTokens>
__device__ __forceinline__ void store_tile(const LinearWork& work,
                                           const Sums<kTokens / kPiece / kWarpsAlong>& sums) {
  const int warp = static_cast<int>(threadIdx.x) / kWarpSize;
  const int g = static_cast<int>(threadIdx.x) % kWarpSize / 4;
  const int q = static_cast<int>(threadIdx.x) % 4;
  const int first_slot = warp / kWarpsAlong * (kTileRows / kWarpsAlong);
  const int first_token =
      static_cast<int>(blockIdx.y) * kTokens + warp % kWarpsAlong * (kTokens / kWarpsAlong);
#pragma unroll
  for (int i = 0; i < kRowFragments; i += kGated ? 2 : 1) {
#pragma unroll
    for (int j = 0; j < kTokens / kPiece / kWarpsAlong; ++j) {
#pragma unroll
      for (int c = 0; c < 4; ++c) {
        const int slot = first_slot + i * kFragmentRows + g + c / 2 * 8;
        const int r = row_of_slot<kGated>(work, slot).row;
        const int t = first_token + j * kPiece + 2 * q + c % 2;
        if (t >= work.num_rows || r >= work.matrix.rows) continue;
        if constexpr (kGated) {
          store_gated<X>(work, t, r, sums[i][j].c[c], sums[i + 1][j].c[c]);
        } else {
          store_sum(work, t, r, sums[i][j].c[c]);
        }
      }
    }
  }
}

template <template <typename, bool> class Weights, typename X, bool kGated, int kTokens>
__global__ void __launch_bounds__(kThreads) matrix_units_kernel(const LinearWork work) {
  Stage<kTokens>* stages = dynamic_shared<Stage<kTokens>>();  // two
  FragmentC sums[kRowFragments][kTokens / kPiece / kWarpsAlong] = {};
  Weights<X, kGated> weights;
  AsyncCopies copies;
  const auto load = [&](int k_begin, Stage<kTokens>& stage) {
    load_x<X, kTokens>(work, k_begin, stage.x, copies);
    weights.load(work, k_begin, stage.weights, copies);
    copies.commit();
  };
  load(0, stages[0]);
  weights.store(stages[0].weights, stages[0].scales);
  const int num_tiles = work.matrix.cols / kDepth;
  for (int tile = 0; tile < num_tiles; ++tile) {
    Stage<kTokens>& current = stages[tile % 2];
    Stage<kTokens>& next = stages[(tile + 1) % 2];
    const bool has_next = tile + 1 < num_tiles;
    if (has_next) {
      load((tile + 1) * kDepth, next);
      copies.template wait<1>();
    } else {
      copies.template wait<0>();
    }
    __syncthreads();  // the tile at hand is whole
    add_tile<X, Weights<X, kGated>::kHasScales, kTokens>(current, sums);
    if (has_next) weights.store(next.weights, next.scales);
    __syncthreads();  // nobody reads it any more
  }
  store_tile<X, kGated, kTokens>(work, sums);
}

template <template <typename, bool> class Weights, typename X, bool kGated, int kTokens>
void launch_for(GpuStream stream, const LinearWork& work) {
  constexpr int kOutputs = kGated ? kTileRows / 2 : kTileRows;
  const dim3 grid{static_cast<unsigned>((work.matrix.rows + kOutputs - 1) / kOutputs),
                  static_cast<unsigned>((work.num_rows + kTokens - 1) / kTokens)};
  launch(stream, grid, dim3{kThreads}, 2 * sizeof(Stage<kTokens>),
         matrix_units_kernel<Weights, X, kGated, kTokens>, work);
}

// The tile's width changes no sum.
template <template <typename, bool> class Weights, typename X, bool kGated>
void launch_for_rows(GpuStream stream, const LinearWork& work) {
  if (work.num_rows <= 32) return launch_for<Weights, X, kGated, 32>(stream, work);
  launch_for<Weights, X, kGated, 64>(stream, work);
}

template <typename X, bool kGated>
void launch_for_format(GpuStream stream, const LinearWork& work) {
  if (work.matrix.group == 0) return launch_for_rows<PlainWeights, X, kGated>(stream, work);
  if (work.matrix.format == GpuWeightFormat::kInt4) {
    return launch_for_rows<Int4Weights, X, kGated>(stream, work);
  }
  launch_for_rows<Int8Weights, X, kGated>(stream, work);
}

}  // namespace

void run_matrix_units(GpuStream stream, const LinearWork& work) {
  if (work.x_type == GpuFloat::kBF16) {
    (work.is_gated ? launch_for_format<BF16, true> : launch_for_format<BF16, false>)(stream, work);
  } else {
    (work.is_gated ? launch_for_format<F16, true> : launch_for_format<F16, false>)(stream, work);
  }
}

}  // namespace sparrow::SPARROW_GPU_NAMESPACE

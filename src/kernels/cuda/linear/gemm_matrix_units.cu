// Many rows of x on the matrix units (sm_80 and newer): out^T = W x^T in tiles of W's rows by x's
// rows by 32 inputs. Several tiles are in shared memory: some are filled by cp.async while one is
// used (CUTLASS, "Efficient GEMM in CUDA"). Integers go in as they are, exactly, into 16-bit
// floats; their scale multiplies the fp32 sum of the tile's 32 inputs, which lie in one group:
// weights are never rounded.
//
// The order of an output's sum: within a tile that of two mma.sync, tiles one after the other. So
// the shape of a tile changes no bit, only the time (LinearTiles).
#include <type_traits>

#include "kernels/cuda/gpu_launchers.h"
#include "kernels/cuda/linear/weight_tile.cuh"

namespace sparrow::SPARROW_GPU_NAMESPACE {
namespace {

// kRowWarps x kTokenWarps warps a block, each with kRowFragments x 16 rows of W by
// kTokenFragments x 8 rows of x.
template <int kRowWarps_, int kTokenWarps_, int kRowFragments_, int kTokenFragments_, int kStages_>
struct Tile {
  static constexpr int kRowWarps = kRowWarps_, kTokenWarps = kTokenWarps_;
  static constexpr int kRowFragments = kRowFragments_, kTokenFragments = kTokenFragments_;
  static constexpr int kStages = kStages_;  // tiles in shared memory
  static constexpr int kThreads = kRowWarps * kTokenWarps * kWarpSize;
  static constexpr int kRows = kRowWarps * kRowFragments * kFragmentRows;
  static constexpr int kTokens = kTokenWarps * kTokenFragments * kPiece;

  struct Stage {
    uint16_t weights[kRows][kPitch];
    uint16_t x[kTokens][kPitch];
    float scales[kRows];
  };
  using Sums = FragmentC[kRowFragments][kTokenFragments];

  static __device__ int warp() { return static_cast<int>(threadIdx.x) / kWarpSize; }
  static __device__ int first_slot() {
    return warp() / kTokenWarps * kRowFragments * kFragmentRows;
  }
  static __device__ int first_token() { return warp() % kTokenWarps * kTokenFragments * kPiece; }
};

template <typename T>
__device__ __forceinline__ void load_x(const LinearWork& work, int k_begin,
                                       uint16_t (*tile)[kPitch], AsyncCopies& copies) {
  for (int i = static_cast<int>(threadIdx.x); i < T::kTokens * kPiecesPerRow; i += T::kThreads) {
    const int line = i / kPiecesPerRow, k = i % kPiecesPerRow * kPiece;
    const int t = static_cast<int>(blockIdx.y) * T::kTokens + line;
    const int64_t row = min(t, work.num_rows - 1);
    const auto* x = static_cast<const uint16_t*>(work.x);
    copies.add(&tile[line][k], x + row * work.matrix.cols + k_begin + k, t < work.num_rows);
  }
}

template <typename X, bool kHasScales, typename T>
__device__ __forceinline__ void add_tile(const typename T::Stage& stage, typename T::Sums& sums) {
  const int first_slot = T::first_slot(), first_token = T::first_token();
  typename T::Sums partial = {};
  typename T::Sums& target = kHasScales ? partial : sums;
#pragma unroll
  for (int k = 0; k < kDepth; k += 16) {
    FragmentA a[T::kRowFragments];
    FragmentB b[T::kTokenFragments];
#pragma unroll
    for (int i = 0; i < T::kRowFragments; ++i) {
      load_fragment_a(&stage.weights[first_slot + i * kFragmentRows][k], kPitch, a[i]);
    }
#pragma unroll
    for (int j = 0; j < T::kTokenFragments; j += 2) {
      load_fragments_b(&stage.x[first_token + j * kPiece][k], kPitch, b[j], b[j + 1]);
    }
#pragma unroll
    for (int i = 0; i < T::kRowFragments; ++i) {
#pragma unroll
      for (int j = 0; j < T::kTokenFragments; ++j) multiply_add<X>(a[i], b[j], target[i][j]);
    }
  }
  if constexpr (kHasScales) {
    const int g = static_cast<int>(threadIdx.x) % kWarpSize / 4;
#pragma unroll
    for (int i = 0; i < T::kRowFragments; ++i) {
      const float* scales = stage.scales + first_slot + i * kFragmentRows + g;
      const float scale[2] = {scales[0], scales[8]};
#pragma unroll
      for (int j = 0; j < T::kTokenFragments; ++j) {
#pragma unroll
        for (int c = 0; c < 4; ++c) {
          sums[i][j].c[c] = fmaf(scale[c / 2], partial[i][j].c[c], sums[i][j].c[c]);
        }
      }
    }
  }
}

template <typename X, bool kGated, typename T>
__device__ __forceinline__ void store_tile(const LinearWork& work, const typename T::Sums& sums) {
  const int g = static_cast<int>(threadIdx.x) % kWarpSize / 4;
  const int q = static_cast<int>(threadIdx.x) % 4;
  const int first_slot = T::first_slot();
  const int first_token = static_cast<int>(blockIdx.y) * T::kTokens + T::first_token();
#pragma unroll
  for (int i = 0; i < T::kRowFragments; i += kGated ? 2 : 1) {
#pragma unroll
    for (int j = 0; j < T::kTokenFragments; ++j) {
#pragma unroll
      for (int c = 0; c < 4; ++c) {
        const int slot = first_slot + i * kFragmentRows + g + c / 2 * 8;
        const int r = row_of_slot<T::kRows, kGated>(work, slot).row;
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

// kStages - 1 tiles are on their way; integers wait in registers for the last of them.
template <template <typename, bool, int, int> class Weights, typename X, bool kGated, typename T>
__global__ void __launch_bounds__(T::kThreads) matrix_units_kernel(const LinearWork work) {
  using WeightsOfTile = Weights<X, kGated, T::kRows, T::kThreads>;
  constexpr int kAhead = T::kStages - 1;
  typename T::Stage* stages = dynamic_shared<typename T::Stage>();
  typename T::Sums sums = {};
  WeightsOfTile weights;
  AsyncCopies copies;
  const int num_tiles = work.matrix.cols / kDepth;
  const auto load = [&](int tile) {
    if (tile < num_tiles) {
      typename T::Stage& stage = stages[tile % T::kStages];
      load_x<T>(work, tile * kDepth, stage.x, copies);
      weights.load(work, tile * kDepth, stage.weights, copies);
    }
    copies.commit();  // empty at the end: the count of groups stays that of tiles
  };
  const auto store = [&](int tile) {
    typename T::Stage& stage = stages[tile % T::kStages];
    if (tile < num_tiles) weights.store(stage.weights, stage.scales);
  };
  for (int tile = 0; tile < kAhead; ++tile) {
    load(tile);
    store(tile);
  }
  for (int tile = 0; tile < num_tiles; ++tile) {
    copies.template wait<kAhead - 1>();
    __syncthreads();  // the tile is whole, and the one before it is not read any more
    load(tile + kAhead);
    add_tile<X, WeightsOfTile::kHasScales, T>(stages[tile % T::kStages], sums);
    store(tile + kAhead);
  }
  store_tile<X, kGated, T>(work, sums);
}

template <template <typename, bool, int, int> class Weights, typename X, bool kGated, typename T>
void launch_for(GpuStream stream, const LinearWork& work) {
  constexpr int kOutputs = kGated ? T::kRows / 2 : T::kRows;
  const dim3 grid{static_cast<unsigned>((work.matrix.rows + kOutputs - 1) / kOutputs),
                  static_cast<unsigned>((work.num_rows + T::kTokens - 1) / T::kTokens)};
  launch(stream, grid, dim3{T::kThreads}, T::kStages * sizeof(typename T::Stage),
         matrix_units_kernel<Weights, X, kGated, T>, work);
}

// Plain weights: four tiles in shared memory, 64 x 64 sums a warp in the largest. Integers need
// their sums twice (of a tile and of all), so a warp takes half as many.
template <template <typename, bool, int, int> class Weights, typename X, bool kGated, bool kPlain>
void launch_for_tiles(GpuStream stream, const LinearWork& work) {
  constexpr int kDeep = kPlain ? 4 : 2, kSmallDeep = kPlain ? 3 : 2;
  switch (work.tiles) {
    case LinearTiles::kByRows:
      break;
    case LinearTiles::k128By64:
      return launch_for<Weights, X, kGated, Tile<2, 2, 4, 4, kDeep>>(stream, work);
    case LinearTiles::k128By128:
      using Largest = std::conditional_t<kPlain, Tile<2, 2, 4, 8, kDeep>, Tile<2, 4, 4, 4, kDeep>>;
      return launch_for<Weights, X, kGated, Largest>(stream, work);
  }
  if (work.num_rows <= 32) {
    return launch_for<Weights, X, kGated, Tile<2, 2, 2, 2, kSmallDeep>>(stream, work);
  }
  launch_for<Weights, X, kGated, Tile<2, 2, 2, 4, kSmallDeep>>(stream, work);
}

template <typename X, bool kGated>
void launch_for_format(GpuStream stream, const LinearWork& work) {
  if (work.matrix.group == 0) return launch_for_tiles<PlainWeights, X, kGated, true>(stream, work);
  if (work.matrix.format == GpuWeightFormat::kInt4) {
    return launch_for_tiles<Int4Weights, X, kGated, false>(stream, work);
  }
  launch_for_tiles<Int8Weights, X, kGated, false>(stream, work);
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

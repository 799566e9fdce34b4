// Many rows of x on any card, in any format and shape: tiles of 64 x 64 outputs and 32 inputs in
// shared memory, fp32 on the general cores. An output's products are added in the order of the
// inputs. The oracle of the other kernels on a card.
#include "kernels/cuda/gpu_launchers.h"
#include "kernels/cuda/linear/linear_work.cuh"

namespace sparrow::SPARROW_GPU_NAMESPACE {
namespace {

constexpr int kTile = 64;   // rows of x, and of W
constexpr int kDepth = 32;  // inputs
constexpr int kSide = 16;   // threads of a block: 16 x 16, each 4 x 4 outputs
constexpr int kEach = kTile / kSide;
constexpr int kThreads = kSide * kSide;
constexpr int kPitch = kTile + 1;  // off the banks' multiple when inputs are stored side by side

struct Tile {
  float values[kDepth][kPitch];
};

template <typename X>
__device__ __forceinline__ void load_x_tile(const LinearWork& work, int first, int k_begin,
                                            Tile& tile) {
  for (int i = static_cast<int>(threadIdx.x); i < kTile * kDepth; i += kThreads) {
    const int t = first + i / kDepth, k = k_begin + i % kDepth;
    const bool inside = t < work.num_rows && k < work.matrix.cols;
    const X* x = static_cast<const X*>(work.x);
    tile.values[i % kDepth][i / kDepth] =
        inside ? to_float(x[int64_t{t} * work.matrix.cols + k]) : 0.0f;
  }
}

__device__ __forceinline__ void load_weight_tile(const GpuMatrix& matrix, int first, int k_begin,
                                                 Tile& tile) {
  for (int i = static_cast<int>(threadIdx.x); i < kTile * kDepth; i += kThreads) {
    const int r = first + i / kDepth, k = k_begin + i % kDepth;
    float value = 0;
    if (r < matrix.rows && k < matrix.cols) {
      const Weight weight = weight_at(matrix, r, k);
      value = weight.value * weight.scale;
    }
    tile.values[i % kDepth][i / kDepth] = value;
  }
}

__device__ __forceinline__ void add_tile(const Tile& x, const Tile& weights,
                                         float (&sums)[kEach][kEach]) {
  const int column = static_cast<int>(threadIdx.x) % kSide;
  const int line = static_cast<int>(threadIdx.x) / kSide;
  for (int k = 0; k < kDepth; ++k) {
#pragma unroll
    for (int i = 0; i < kEach; ++i) {
      const float input = x.values[k][line + i * kSide];
#pragma unroll
      for (int j = 0; j < kEach; ++j) {
        sums[i][j] = fmaf(input, weights.values[k][column + j * kSide], sums[i][j]);
      }
    }
  }
}

template <typename X, bool kGated>
__global__ void __launch_bounds__(kThreads) tiles_kernel(const LinearWork work) {
  Tile* tiles = dynamic_shared<Tile>();  // of x, of W and, of a gated product, of `up`
  const int first_x = static_cast<int>(blockIdx.y) * kTile;
  const int first_row = static_cast<int>(blockIdx.x) * kTile;
  float sums[kEach][kEach] = {}, up_sums[kEach][kEach] = {};
  for (int k_begin = 0; k_begin < work.matrix.cols; k_begin += kDepth) {
    load_x_tile<X>(work, first_x, k_begin, tiles[0]);
    load_weight_tile(work.matrix, first_row, k_begin, tiles[1]);
    if constexpr (kGated) load_weight_tile(work.up, first_row, k_begin, tiles[2]);
    __syncthreads();
    add_tile(tiles[0], tiles[1], sums);
    if constexpr (kGated) add_tile(tiles[0], tiles[2], up_sums);
    __syncthreads();
  }
  const int column = static_cast<int>(threadIdx.x) % kSide;
  const int line = static_cast<int>(threadIdx.x) / kSide;
#pragma unroll
  for (int i = 0; i < kEach; ++i) {
#pragma unroll
    for (int j = 0; j < kEach; ++j) {
      const int t = first_x + line + i * kSide, r = first_row + column + j * kSide;
      if (t >= work.num_rows || r >= work.matrix.rows) continue;
      if constexpr (kGated) {
        store_gated<X>(work, t, r, sums[i][j], up_sums[i][j]);
      } else {
        store_sum(work, t, r, sums[i][j]);
      }
    }
  }
}

template <typename X, bool kGated>
void launch_for(GpuStream stream, const LinearWork& work) {
  const auto tiles = [](int32_t count) {
    return static_cast<unsigned>((count + kTile - 1) / kTile);
  };
  launch(stream, dim3{tiles(work.matrix.rows), tiles(work.num_rows)}, dim3{kThreads},
         (kGated ? 3 : 2) * sizeof(Tile), tiles_kernel<X, kGated>, work);
}

}  // namespace

void run_tiles(GpuStream stream, const LinearWork& work) {
  if (work.x_type == GpuFloat::kBF16) {
    (work.is_gated ? launch_for<BF16, true> : launch_for<BF16, false>)(stream, work);
  } else {
    (work.is_gated ? launch_for<F16, true> : launch_for<F16, false>)(stream, work);
  }
}

}  // namespace sparrow::SPARROW_GPU_NAMESPACE

// Attention by matrix units, after FlashAttention-2 (Dao 2023). The query heads of a KV head are
// packed with the item's rows into one matrix: its row m is head m % group of query row m / group,
// so that a tile of keys and values in shared memory serves them all. Scores and sums are fp32;
// weights are rounded to x_type for the product with the values.
//
// Two shapes of a block of 4 warps:
//   long items   64 matrix rows, 16 a warp; every warp takes all 64 keys of a tile
//   short items  16 matrix rows; each warp takes 16 keys of a tile, and the warps' partial results
//                are merged at the end, in order (decode: 6 heads of one row fill 6 of 16 rows)
#include "kernels/cuda/attention/attention_launchers.h"
#include "kernels/cuda/attention/attention_merge.cuh"
#include "kernels/cuda/attention/attention_result.cuh"
#include "kernels/cuda/attention/kv_tile.cuh"
#include "kernels/cuda/attention/mma_fragments.cuh"

namespace sparrow::SPARROW_GPU_NAMESPACE {
namespace {

constexpr int kMmaRows = 16;
constexpr int kMinLongRows = 16;  // of an item; decided by the item alone, so bits stay the same

template <int kRowWarps>
struct BlockShape {
  static constexpr int kKeyWarps = kTileWarps / kRowWarps;
  static constexpr int kRows = kRowWarps * kMmaRows;
  static constexpr int kWarpKeys = kTileKeys / kKeyWarps;
  static constexpr int kKeySteps = kWarpKeys / 16;
};

// A lane holds two matrix rows of its warp's 16: lane / 4 and lane / 4 + 8.
struct LaneRow {
  int row = 0;  // of the item
  int head = 0;
  int kv_end = 0;  // 0 where the matrix row does not exist
  bool exists = false;
};

__device__ __forceinline__ LaneRow lane_row(const GpuAttentionArgs& args, const AttentionItem& item,
                                            int kv_head, int matrix_row) {
  const int group = args.heads.num_heads / args.heads.num_kv_heads;
  LaneRow lane;
  lane.row = matrix_row / group;
  lane.head = kv_head * group + matrix_row % group;
  lane.exists = lane.row < item.num_rows;
  lane.kv_end = lane.exists ? visible_end(item, lane.row) : 0;
  return lane;
}

template <typename X, int D>
__device__ __forceinline__ void load_query(const GpuAttentionArgs& args, const AttentionItem& item,
                                           const LaneRow (&rows)[2], unsigned (&q)[D / 16][4]) {
  const int t = static_cast<int>(threadIdx.x) % 4;
  for (int half = 0; half < 2; ++half) {
    const LaneRow& lane = rows[half];
    const X* row = static_cast<const X*>(args.q) +
                   ((int64_t{item.first_row} + lane.row) * args.heads.num_heads + lane.head) * D;
    for (int step = 0; step < D / 16; ++step) {
      for (int part = 0; part < 2; ++part) {
        const int dim = step * 16 + part * 8 + 2 * t;
        q[step][2 * part + half] = lane.exists ? *reinterpret_cast<const unsigned*>(row + dim) : 0u;
      }
    }
  }
}

// Running softmax of a lane's two rows: the maximum is that of the row, the sum of the lane's keys.
struct Softmax {
  float maximum[2];
  float sum[2] = {0, 0};
  __device__ __forceinline__ Softmax() { maximum[0] = maximum[1] = minus_infinity(); }
};

// scores[n]: of keys first_key + 8 n + 2t, + 1, already times log2(e) / sqrt(D).
template <typename X, int D, int kSteps>
__device__ __forceinline__ void compute_scores(const unsigned (&q)[D / 16][4],
                                               const KvTile<X, D>& tile, int first_key,
                                               bool has_scales, float (&scores)[2 * kSteps][4]) {
  const int lane = static_cast<int>(threadIdx.x) % kWarpSize;
  const int matrix = lane / 8;
  for (int n = 0; n < 2 * kSteps; ++n) {
    for (int i = 0; i < 4; ++i) scores[n][i] = 0;
  }
  for (int step = 0; step < D / 16; ++step) {
    for (int pair = 0; pair < kSteps; ++pair) {
      const int key = first_key + pair * 16 + matrix / 2 * 8 + lane % 8;
      unsigned k[4];
      load_matrices(k, tile.keys + key * kTileStride<D> + step * 16 + matrix % 2 * 8);
      mma_16x8x16(scores[2 * pair], q[step], {k[0], k[1]}, X{});
      mma_16x8x16(scores[2 * pair + 1], q[step], {k[2], k[3]}, X{});
    }
  }
  const float scale = score_scale(D);
  for (int n = 0; n < 2 * kSteps; ++n) {
    for (int odd = 0; odd < 2; ++odd) {
      const int key = first_key + n * 8 + lane % 4 * 2 + odd;
      const float key_scale = has_scales ? scale * tile.key_scales[key] : scale;
      scores[n][odd] *= key_scale;
      scores[n][2 + odd] *= key_scale;
    }
  }
}

// Turns scores into weights. first_key is a position here. Returns what old results are worth.
template <int kSteps>
__device__ __forceinline__ void update_softmax(const LaneRow (&rows)[2], int first_key,
                                               Softmax& softmax, float (&scores)[2 * kSteps][4],
                                               float (&rescale)[2]) {
  const int t = static_cast<int>(threadIdx.x) % 4;
  for (int half = 0; half < 2; ++half) {
    float largest = softmax.maximum[half];
    for (int n = 0; n < 2 * kSteps; ++n) {
      for (int odd = 0; odd < 2; ++odd) {
        float& score = scores[n][2 * half + odd];
        if (first_key + n * 8 + 2 * t + odd >= rows[half].kv_end) score = minus_infinity();
        largest = fmaxf(largest, score);
      }
    }
    largest = fmaxf(largest, __shfl_xor_sync(kFullWarp, largest, 1));
    largest = fmaxf(largest, __shfl_xor_sync(kFullWarp, largest, 2));
    float sum = 0;
    for (int n = 0; n < 2 * kSteps; ++n) {
      for (int odd = 0; odd < 2; ++odd) {
        float& score = scores[n][2 * half + odd];
        score = weight_of(score, largest);
        sum += score;
      }
    }
    rescale[half] = weight_of(softmax.maximum[half], largest);
    softmax.sum[half] = fmaf(softmax.sum[half], rescale[half], sum);
    softmax.maximum[half] = largest;
  }
}

template <typename X, int D, int kSteps>
__device__ __forceinline__ void add_values(const float (&weights)[2 * kSteps][4],
                                           const float (&rescale)[2], const KvTile<X, D>& tile,
                                           int first_key, float (&out)[D / 8][4]) {
  const int lane = static_cast<int>(threadIdx.x) % kWarpSize;
  const int matrix = lane / 8;
  for (int n = 0; n < D / 8; ++n) {
    for (int i = 0; i < 4; ++i) out[n][i] *= rescale[i / 2];
  }
  for (int step = 0; step < kSteps; ++step) {
    const float(&low)[4] = weights[2 * step];
    const float(&high)[4] = weights[2 * step + 1];
    // The layout of two score tiles is that of a left matrix: no exchange between lanes.
    const unsigned p[4] = {pack_pair<X>(low[0], low[1]), pack_pair<X>(low[2], low[3]),
                           pack_pair<X>(high[0], high[1]), pack_pair<X>(high[2], high[3])};
    const int key = first_key + step * 16 + matrix % 2 * 8 + lane % 8;
    for (int pair = 0; pair < D / 16; ++pair) {
      unsigned v[4];
      load_matrices_transposed(v, tile.values + key * kTileStride<D> + pair * 16 + matrix / 2 * 8);
      mma_16x8x16(out[2 * pair], p, {v[0], v[1]}, X{});
      mma_16x8x16(out[2 * pair + 1], p, {v[2], v[3]}, X{});
    }
  }
}

__device__ __forceinline__ float sum_of_row(float sum_of_lane) {
  sum_of_lane += __shfl_xor_sync(kFullWarp, sum_of_lane, 1);
  return sum_of_lane + __shfl_xor_sync(kFullWarp, sum_of_lane, 2);
}

// Every warp has rows of its own.
template <typename X, int D>
__device__ __forceinline__ void write_rows(const GpuAttentionArgs& args, const AttentionItem& item,
                                           const LaneRow (&rows)[2], const Softmax& softmax,
                                           const float (&out)[D / 8][4]) {
  const int t = static_cast<int>(threadIdx.x) % 4;
  for (int half = 0; half < 2; ++half) {
    const float sum = sum_of_row(softmax.sum[half]);
    if (!rows[half].exists) continue;
    const AttentionResult<X> result(args, item, rows[half].row, rows[half].head);
    const float inverse = inverse_of_sum(sum);
    for (int n = 0; n < D / 8; ++n) {
      result.write_pair(n * 8 + 2 * t, out[n][2 * half], out[n][2 * half + 1], inverse);
    }
    if (t == 0) result.write_state(softmax.maximum[half], sum);
  }
}

// Partial results of the warps, in the memory of the tiles.
template <int D>
struct WarpPartials {
  float maximum[kTileWarps][kMmaRows];
  float sum[kTileWarps][kMmaRows];
  float out[kTileWarps][kMmaRows][D];
};

// All warps have the same rows, of which they saw different keys.
template <typename X, int D>
__device__ __forceinline__ void merge_warps(const GpuAttentionArgs& args, const AttentionItem& item,
                                            int kv_head, int first_matrix_row,
                                            const Softmax& softmax, const float (&out)[D / 8][4]) {
  auto& partials = *dynamic_shared<WarpPartials<D>>();
  const int thread = static_cast<int>(threadIdx.x);
  const int warp = thread / kWarpSize, g = thread % kWarpSize / 4, t = thread % 4;
  __syncthreads();  // the last tile is read
  for (int half = 0; half < 2; ++half) {
    const int m = g + 8 * half;
    const float sum = sum_of_row(softmax.sum[half]);
    partials.maximum[warp][m] = softmax.maximum[half];  // the same from each lane of the row
    partials.sum[warp][m] = sum;
    for (int n = 0; n < D / 8; ++n) {
      partials.out[warp][m][n * 8 + 2 * t] = out[n][2 * half];
      partials.out[warp][m][n * 8 + 2 * t + 1] = out[n][2 * half + 1];
    }
  }
  __syncthreads();
  for (int m = warp; m < kMmaRows; m += kTileWarps) {
    const LaneRow lane = lane_row(args, item, kv_head, first_matrix_row + m);
    if (!lane.exists) continue;
    float maximum = minus_infinity(), sum = 0;
    for (int w = 0; w < kTileWarps; ++w) maximum = fmaxf(maximum, partials.maximum[w][m]);
    float weights[kTileWarps];
    for (int w = 0; w < kTileWarps; ++w) {
      weights[w] = weight_of(partials.maximum[w][m], maximum);
      sum = fmaf(partials.sum[w][m], weights[w], sum);
    }
    const AttentionResult<X> result(args, item, lane.row, lane.head);
    const float inverse = inverse_of_sum(sum);
    for (int dim = thread % kWarpSize; dim < D; dim += kWarpSize) {
      float value = 0;
      for (int w = 0; w < kTileWarps; ++w) value = fmaf(partials.out[w][m][dim], weights[w], value);
      result.write(dim, value, inverse);
    }
    if (thread % kWarpSize == 0) result.write_state(maximum, sum);
  }
}

// Blocks that a multiprocessor must have registers for: merging at the end, which is rare and
// short, would take more than the loop over the keys and leave room for fewer.
template <int D, int kRowWarps>
inline constexpr int kBlocksAtOnce = (kRowWarps == 1 ? 3 : 2) + (D == 64 ? 1 : 0);

template <typename X, typename Element, int D, int kRowWarps>
__global__ void __launch_bounds__(kTileThreads, (kBlocksAtOnce<D, kRowWarps>))
    attention_tiles_kernel(const GpuAttentionArgs args) {
  using Shape = BlockShape<kRowWarps>;
  let_next_kernel_start();
  const AttentionItem item = args.items[blockIdx.x];
  const bool is_long = item.num_rows >= kMinLongRows;
  const int group = args.heads.num_heads / args.heads.num_kv_heads;
  const int first_matrix_row = static_cast<int>(blockIdx.z) * Shape::kRows;
  const int num_matrix_rows = item.num_rows * group;
  if (is_long != (Shape::kKeyWarps == 1) || first_matrix_row >= num_matrix_rows) return;
  const int kv_head = static_cast<int>(blockIdx.y);
  const int warp = static_cast<int>(threadIdx.x) / kWarpSize;
  const int row_in_block =
      warp / Shape::kKeyWarps * kMmaRows + static_cast<int>(threadIdx.x) % kWarpSize / 4;
  const LaneRow rows[2] = {lane_row(args, item, kv_head, first_matrix_row + row_in_block),
                           lane_row(args, item, kv_head, first_matrix_row + row_in_block + 8)};
  const int num_rows_here = min(Shape::kRows, num_matrix_rows - first_matrix_row);
  const int last_row = (first_matrix_row + num_rows_here - 1) / group;
  const int kv_end = visible_end(item, last_row);  // of all rows of the block

  KvTile<X, D> tile;
  CopyQueue queue;
  const KvSource<Element> source(args, item, kv_head, kv_end);
  // Keys and values of a row's earlier positions are older than the step; what this step stores
  // lies behind them. In a step with prompts that is not so: other tiles of the span come first.
  const bool is_old = args.max_item_rows == 1 && item.kv_end <= item.first_position;
  if (!is_old) wait_for_earlier_kernels();
  float out[D / 8][4] = {};
  Softmax softmax;
  const int warp_key = warp % Shape::kKeyWarps * Shape::kWarpKeys;
  tile.stage_keys(source, item.kv_begin, queue);
  queue.commit();
  tile.stage_values(source, item.kv_begin, queue);
  queue.commit();
  if (is_old) wait_for_earlier_kernels();
  unsigned q[D / 16][4];
  load_query<X, D>(args, item, rows, q);
  for (int begin = item.kv_begin; begin < kv_end; begin += kTileKeys) {
    float scores[2 * Shape::kKeySteps][4], rescale[2];
    if (begin != item.kv_begin) {
      __syncthreads();  // the values of the tile before are used
      tile.stage_values(source, begin, queue);
      queue.commit();
    }
    queue.wait_but<1>();  // the keys
    __syncthreads();
    compute_scores<X, D, Shape::kKeySteps>(q, tile, warp_key, sizeof(Element) == 1, scores);
    __syncthreads();
    tile.stage_keys(source, begin + kTileKeys, queue);  // zeros past the end
    queue.commit();
    update_softmax<Shape::kKeySteps>(rows, begin + warp_key, softmax, scores, rescale);
    queue.wait_but<1>();  // the values
    __syncthreads();
    add_values<X, D, Shape::kKeySteps>(scores, rescale, tile, warp_key, out);
  }
  queue.wait_but<0>();
  if constexpr (Shape::kKeyWarps == 1) {
    write_rows<X, D>(args, item, rows, softmax, out);
  } else {
    merge_warps<X, D>(args, item, kv_head, first_matrix_row, softmax, out);
  }
  merge_if_last<X, kTileThreads>(args, item, kv_head, first_matrix_row, num_rows_here);
}

template <typename X, typename Element, int D, int kRowWarps>
void launch_shape(GpuStream stream, const GpuAttentionArgs& args, int max_rows) {
  const int group = args.heads.num_heads / args.heads.num_kv_heads;
  constexpr int kRows = BlockShape<kRowWarps>::kRows;
  constexpr size_t kSharedBytes = std::max(KvTile<X, D>::kBytes, sizeof(WarpPartials<D>));
  const dim3 grid{static_cast<unsigned>(args.num_items),
                  static_cast<unsigned>(args.heads.num_kv_heads),
                  static_cast<unsigned>((max_rows * group + kRows - 1) / kRows)};
  launch_overlapped(stream, grid, dim3{kTileThreads}, kSharedBytes,
                    attention_tiles_kernel<X, Element, D, kRowWarps>, args);
}

// Each launch leaves the items of the other.
template <typename X, typename Element, int D>
void launch_for(GpuStream stream, const GpuAttentionArgs& args) {
  launch_shape<X, Element, D, 1>(stream, args, std::min(args.max_item_rows, kMinLongRows - 1));
  if (args.max_item_rows < kMinLongRows) return;
  launch_shape<X, Element, D, kTileWarps>(stream, args, args.max_item_rows);
}

template <typename X, typename Element>
void launch_for_dim(GpuStream stream, const GpuAttentionArgs& args) {
  if (args.heads.head_dim == 64) {
    launch_for<X, Element, 64>(stream, args);
  } else {
    launch_for<X, Element, 128>(stream, args);
  }
}

template <typename X>
void launch_for_cache(GpuStream stream, const GpuAttentionArgs& args) {
  if (args.cache.format == GpuKvFormat::kBF16) {
    launch_for_dim<X, BF16>(stream, args);
  } else {
    launch_for_dim<X, int8_t>(stream, args);
  }
}

}  // namespace

bool has_attention_tiles(const GpuAttentionArgs& args) {
  return args.has_matrix_units && (args.heads.head_dim == 64 || args.heads.head_dim == 128);
}

void attention_tiles(GpuStream stream, const GpuAttentionArgs& args) {
  if (args.x_type == GpuFloat::kBF16) {
    launch_for_cache<BF16>(stream, args);
  } else {
    launch_for_cache<F16>(stream, args);
  }
}

}  // namespace sparrow::SPARROW_GPU_NAMESPACE

#pragma once
// Merging of a tile's ranges by the block that finishes last, so that no kernel has to follow: each
// block counts itself after its partial results are written, and the one that makes the count full
// merges (the pattern of NVIDIA's sample threadFenceReduction). Merging is a tree of kMergeFan
// partial results a node, always in index order: the bits do not depend on who comes last. A node's
// result takes the place of its first member.
//
// The counters lie where the partial results do, and whoever fills one sets it back to zero: a
// replayed graph finds zeros.

#include "kernels/cuda/attention/attention_result.cuh"
#include "kernels/cuda/warp_reduce.cuh"

namespace sparrow::SPARROW_GPU_NAMESPACE {

// Two levels hold 256 ranges, all that a chip of 132 multiprocessors with two blocks each makes.
inline constexpr int kMergeFan = 16;
inline constexpr int kMergeLoads = 8;  // of 16 bytes a lane; more cost registers of attention

// A node of the tree: `members` partial results, `width` ranges apart.
struct MergeNode {
  int first_range;
  int width;
  int members;
  bool is_root;
};

// Elements [dim, dim + 4) of a partial result that another block wrote: past the first-level cache,
// which does not follow other multiprocessors' writes.
__device__ __forceinline__ float4 load_partial(const float* row, int dim, int head_dim) {
  if (head_dim % 4 == 0) return __ldcg(reinterpret_cast<const float4*>(row + dim));
  float4 quad = make_float4(0, 0, 0, 0);
  quad.x = __ldcg(row + dim);
  if (dim + 1 < head_dim) quad.y = __ldcg(row + dim + 1);
  if (dim + 2 < head_dim) quad.z = __ldcg(row + dim + 2);
  if (dim + 3 < head_dim) quad.w = __ldcg(row + dim + 3);
  return quad;
}

// One head of one row, by a warp. Lane p knows maximum and sum of member p; kMergeLoads members are
// on their way before the first is used.
template <typename X>
__device__ __forceinline__ void merge_head(const GpuAttentionArgs& args, const AttentionItem& item,
                                           int row, int head, const MergeNode& node) {
  const int lane = static_cast<int>(threadIdx.x) % kWarpSize;
  const int64_t num_heads = args.heads.num_heads;
  const int head_dim = args.heads.head_dim;
  const int64_t first_partial = item.partial - int64_t{item.range} * item.num_rows + row;
  const int64_t step = int64_t{node.width} * item.num_rows * num_heads;
  const int64_t first =
      (first_partial + int64_t{node.first_range} * item.num_rows) * num_heads + head;
  const bool is_member = lane < node.members;
  const float lane_maximum =
      is_member ? __ldcg(args.partial_max + first + lane * step) : minus_infinity();
  const float lane_sum = is_member ? __ldcg(args.partial_sum + first + lane * step) : 0.0f;
  X* out =
      static_cast<X*>(args.out) + ((int64_t{item.first_row} + row) * num_heads + head) * head_dim;
  float maximum = 0, sum = 0;
  for (int begin = 0; begin < head_dim; begin += 4 * kWarpSize) {
    const int dim = begin + 4 * lane;
    float values[4] = {};
    sum = 0;
#pragma unroll 1
    for (int first_member = 0; first_member < node.members; first_member += kMergeLoads) {
      float4 quads[kMergeLoads];
#pragma unroll
      for (int i = 0; i < kMergeLoads; ++i) {
        const int p = first_member + i;
        quads[i] = make_float4(0, 0, 0, 0);
        if (p < node.members && dim < head_dim) {
          quads[i] = load_partial(args.partial_out + (first + p * step) * head_dim, dim, head_dim);
        }
      }
      maximum = warp_max(lane_maximum);
      const float lane_weight = weight_of(lane_maximum, maximum);
#pragma unroll
      for (int i = 0; i < kMergeLoads; ++i) {
        const int p = first_member + i;
        const float weight = __shfl_sync(kFullWarp, lane_weight, p);
        const float member_sum = __shfl_sync(kFullWarp, lane_sum, p);
        if (p >= node.members) continue;
        sum = fmaf(member_sum, weight, sum);
        values[0] = fmaf(quads[i].x, weight, values[0]);
        values[1] = fmaf(quads[i].y, weight, values[1]);
        values[2] = fmaf(quads[i].z, weight, values[2]);
        values[3] = fmaf(quads[i].w, weight, values[3]);
      }
    }
    const float inverse = inverse_of_sum(sum);
    for (int i = 0; i < 4 && dim + i < head_dim; ++i) {
      if (node.is_root) {
        from_float(values[i] * inverse, out[dim + i]);
      } else {
        args.partial_out[first * head_dim + dim + i] = values[i];
      }
    }
  }
  if (lane == 0 && !node.is_root) {
    args.partial_max[first] = maximum;
    args.partial_sum[first] = sum;
  }
}

// Counts the block at `counter`; true for all threads of the block that is the last of `expected`,
// which then sees what the others wrote.
__device__ __forceinline__ bool is_last_to_arrive(int32_t* counter, int expected) {
  __shared__ bool is_last;
  __threadfence();  // this thread's results, before they are counted
  __syncthreads();
  if (threadIdx.x == 0) {
    is_last = atomicAdd(counter, 1) == expected - 1;
    if (is_last) *counter = 0;
  }
  __syncthreads();
  const bool last = is_last;
  if (last) __threadfence();
  return last;
}

// Called by whole blocks of kThreads after their partial results are written: rows [first, first +
// count) of the matrix of the item and KV head, whose row m is head m % group of query row
// m / group.
template <typename X, int kThreads>
__device__ __forceinline__ void merge_if_last(const GpuAttentionArgs& args,
                                              const AttentionItem& item, int kv_head, int first,
                                              int count) {
  if (args.arrivals == nullptr || item.partial < 0) return;
  const int group = args.heads.num_heads / args.heads.num_kv_heads;
  const int warp = static_cast<int>(threadIdx.x) / kWarpSize;
  int index = item.range, num_left = item.num_ranges, width = 1;
  for (int level = 0;; ++level) {
    const int node_index = index / kMergeFan;
    const int members = min(kMergeFan, num_left - node_index * kMergeFan);
    num_left = (num_left + kMergeFan - 1) / kMergeFan;
    const MergeNode node{node_index * kMergeFan * width, width, members, num_left == 1};
    if (members > 1 || node.is_root) {
      // Nodes of higher levels that begin at the same range count one place further each: a node
      // of level n has more than n ranges.
      const int64_t partial =
          item.partial + (int64_t{node.first_range} + level - item.range) * item.num_rows;
      const int64_t counter = (partial + first / group) * args.heads.num_heads +
                              int64_t{kv_head} * group + first % group;
      if (!is_last_to_arrive(args.arrivals + counter, members)) return;
      for (int m = first + warp; m < first + count; m += kThreads / kWarpSize) {
        merge_head<X>(args, item, m / group, kv_head * group + m % group, node);
      }
    }
    if (node.is_root) return;
    index = node_index;
    width *= kMergeFan;
  }
}

}  // namespace sparrow::SPARROW_GPU_NAMESPACE

// Rotation of q and k (rotary embeddings, Su et al. 2021, halves paired as transformers pairs them)
// and the store of k and v into the paged cache: one warp a head of a row, a lane the pairs
// lane, lane + 32 ... of it.
#include "kernels/cuda/attention/rope_pair.cuh"
#include "kernels/cuda/gpu_floats.cuh"
#include "kernels/cuda/gpu_kernels.h"
#include "kernels/cuda/gpu_launchers.h"
#include "kernels/cuda/warp_reduce.cuh"

namespace sparrow::SPARROW_GPU_NAMESPACE {
namespace {

constexpr int kWarps = 4;
constexpr int kMaxPairs = kMaxHeadDim / 2 / kWarpSize;  // of a lane

// A head of a row, as one lane sees it: element lane + 32 * p of both halves.
struct HeadPairs {
  float low[kMaxPairs];
  float high[kMaxPairs];
};

__device__ __forceinline__ HeadPairs load_pairs(const float* head, int half, int lane) {
  HeadPairs pairs;
  for (int p = 0; p < kMaxPairs; ++p) {
    const int i = lane + p * kWarpSize;
    pairs.low[p] = i < half ? head[i] : 0.0f;
    pairs.high[p] = i < half ? head[half + i] : 0.0f;
  }
  return pairs;
}

__device__ __forceinline__ void rotate(HeadPairs& pairs, const float* rope, int half, int lane) {
  for (int p = 0; p < kMaxPairs; ++p) {
    const int i = lane + p * kWarpSize;
    if (i >= half) continue;
    rotate_pair(pairs.low[p], pairs.high[p], rope[i], rope[half + i]);
  }
}

template <typename Out>
__device__ __forceinline__ void store_rounded(const HeadPairs& pairs, Out* out, int half,
                                              int lane) {
  for (int p = 0; p < kMaxPairs; ++p) {
    const int i = lane + p * kWarpSize;
    if (i >= half) continue;
    from_float(pairs.low[p], out[i]);
    from_float(pairs.high[p], out[half + i]);
  }
}

__device__ __forceinline__ int8_t to_int8(float value, float scale) {
  if (!(scale > 0.0f)) return 0;  // a row of zeros, or one that is not finite
  const float level = rintf(__fdiv_rn(value, scale));
  return static_cast<int8_t>(fminf(fmaxf(level, -127.0f), 127.0f));
}

// The largest |x| of the head over 127; NaN where the head holds a value that is not finite.
__device__ __forceinline__ float int8_scale(const HeadPairs& pairs) {
  unsigned largest = 0;  // bits of |x| order like the numbers, with NaN above infinity
  for (int p = 0; p < kMaxPairs; ++p) {
    largest = max(largest, __float_as_uint(pairs.low[p]) & 0x7fffffffu);
    largest = max(largest, __float_as_uint(pairs.high[p]) & 0x7fffffffu);
  }
  for (int offset = kWarpSize / 2; offset > 0; offset /= 2) {
    largest = max(largest, __shfl_xor_sync(kFullWarp, largest, offset));
  }
  const bool finite = largest < 0x7f800000u;
  return finite ? __fdiv_rn(__uint_as_float(largest), 127.0f) : __uint_as_float(0x7fc00000u);
}

__device__ __forceinline__ void store_int8(const HeadPairs& pairs, int8_t* out, float* scale_out,
                                           int half, int lane) {
  const float scale = int8_scale(pairs);
  if (lane == 0) *scale_out = scale;
  for (int p = 0; p < kMaxPairs; ++p) {
    const int i = lane + p * kWarpSize;
    if (i >= half) continue;
    out[i] = to_int8(pairs.low[p], scale);
    out[half + i] = to_int8(pairs.high[p], scale);
  }
}

template <typename X>
__global__ void __launch_bounds__(kWarps* kWarpSize) rope_store_kernel(const RopeStoreArgs args) {
  start_after_earlier_kernels();
  const GpuHeads heads = args.heads;
  const int row = static_cast<int>(blockIdx.x);
  const int lane = static_cast<int>(threadIdx.x) % kWarpSize;
  const int head =
      static_cast<int>(blockIdx.y) * kWarps + static_cast<int>(threadIdx.x) / kWarpSize;
  const int first_value_head = heads.num_heads + heads.num_kv_heads;
  const int cell = args.cells[row];
  if (cell < 0 || head >= first_value_head + heads.num_kv_heads) return;
  const int half = heads.head_dim / 2;
  const int64_t row_heads = first_value_head + heads.num_kv_heads;
  HeadPairs pairs = load_pairs(args.qkv + (row * row_heads + head) * heads.head_dim, half, lane);
  if (head < first_value_head) {
    rotate(pairs, args.rope + int64_t{args.positions[row]} * heads.head_dim, half, lane);
  }
  if (head < heads.num_heads) {
    X* q = static_cast<X*>(args.q_out) + (int64_t{row} * heads.num_heads + head) * heads.head_dim;
    store_rounded(pairs, q, half, lane);
    return;
  }
  const bool is_value = is_value_head(heads, head);
  const int64_t token = cached_head(heads, head, cell);
  void* cache = is_value ? args.cache.values : args.cache.keys;
  if (args.cache.format == GpuKvFormat::kBF16) {
    store_rounded(pairs, static_cast<BF16*>(cache) + token * heads.head_dim, half, lane);
  } else {
    float* scales = is_value ? args.cache.value_scales : args.cache.key_scales;
    store_int8(pairs, static_cast<int8_t*>(cache) + token * heads.head_dim, scales + token, half,
               lane);
  }
}

}  // namespace

void rope_store(GpuStream stream, const RopeStoreArgs& args) {
  if (args.num_rows == 0) return;
  const int num_heads = args.heads.num_heads + 2 * args.heads.num_kv_heads;
  const dim3 grid{static_cast<unsigned>(args.num_rows),
                  static_cast<unsigned>((num_heads + kWarps - 1) / kWarps)};
  if (args.x_type == GpuFloat::kBF16) {
    launch_overlapped(stream, grid, dim3{kWarps * kWarpSize}, 0, rope_store_kernel<BF16>, args);
  } else {
    launch_overlapped(stream, grid, dim3{kWarps * kWarpSize}, 0, rope_store_kernel<F16>, args);
  }
}

}  // namespace sparrow::SPARROW_GPU_NAMESPACE

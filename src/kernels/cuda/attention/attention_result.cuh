#pragma once
// What the attention kernels share about their results: scores are kept in units of log2, and a row
// leaves a block as a result or as a partial one.

#include <cmath>

#include "kernels/cuda/attention/mma_fragments.cuh"
#include "kernels/cuda/gpu_attention.h"
#include "kernels/cuda/gpu_floats.cuh"

namespace sparrow::SPARROW_GPU_NAMESPACE {

__device__ __forceinline__ float minus_infinity() { return __uint_as_float(0xff800000u); }

// softmax(s / sqrt(D)) as powers of two: s is multiplied by log2(e) / sqrt(D).
__device__ __forceinline__ float score_scale(int head_dim) {
  return __fdiv_rn(1.44269504f, __fsqrt_rn(static_cast<float>(head_dim)));
}

// 2^(score - maximum); 0 for a masked score, also where nothing is seen and both are -infinity.
__device__ __forceinline__ float weight_of(float score, float maximum) {
  return maximum == minus_infinity() ? 0.0f : exp2f(score - maximum);
}

// Positions that row `row` of an item sees end here.
__device__ __forceinline__ int visible_end(const AttentionItem& item, int row) {
  return min(item.kv_end, item.first_position + row + 1);
}

// Where the result of one head of one row goes. sum_of_row: of the weights; with sum 0 (nothing
// seen) a result is zeros and a partial result one that combine() ignores.
template <typename X>
struct AttentionResult {
  X* out = nullptr;  // [D]; null: a partial result
  float* partial_out = nullptr;
  float* partial_max = nullptr;
  float* partial_sum = nullptr;

  __device__ __forceinline__ AttentionResult(const GpuAttentionArgs& args,
                                             const AttentionItem& item, int row, int head) {
    const int64_t num_heads = args.heads.num_heads, head_dim = args.heads.head_dim;
    if (item.partial < 0) {
      out = static_cast<X*>(args.out) +
            ((int64_t{item.first_row} + row) * num_heads + head) * head_dim;
      return;
    }
    const int64_t index = (int64_t{item.partial} + row) * num_heads + head;
    partial_out = args.partial_out + index * head_dim;
    partial_max = args.partial_max + index;
    partial_sum = args.partial_sum + index;
  }
  __device__ __forceinline__ void write(int dim, float value, float inverse_sum) const {
    if (out != nullptr) {
      from_float(value * inverse_sum, out[dim]);
    } else {
      partial_out[dim] = value;
    }
  }
  // Elements dim and dim + 1; dim even.
  __device__ __forceinline__ void write_pair(int dim, float low, float high,
                                             float inverse_sum) const {
    if (out != nullptr) {
      *reinterpret_cast<unsigned*>(out + dim) = pack_pair<X>(low * inverse_sum, high * inverse_sum);
    } else {
      *reinterpret_cast<float2*>(partial_out + dim) = make_float2(low, high);
    }
  }
  // By one thread.
  __device__ __forceinline__ void write_state(float maximum, float sum) const {
    if (out != nullptr) return;
    *partial_max = maximum;
    *partial_sum = sum;
  }
};

__device__ __forceinline__ float inverse_of_sum(float sum) {
  return sum > 0.0f ? __fdiv_rn(1.0f, sum) : (sum == 0.0f ? 0.0f : sum);  // NaN stays NaN
}

}  // namespace sparrow::SPARROW_GPU_NAMESPACE

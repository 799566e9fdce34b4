// RMSNorm (Zhang, Sennrich 2019): one block a row. What fits is held in registers, so that all
// loads are on the way at once; the rest is read twice, the second time from L1.
#include "kernels/cuda/gpu_floats.cuh"
#include "kernels/cuda/gpu_kernels.h"
#include "kernels/cuda/gpu_launchers.h"
#include "kernels/cuda/warp_reduce.cuh"

namespace sparrow::SPARROW_GPU_NAMESPACE {
namespace {

constexpr int kThreads = 512;
constexpr int kHeld = 4;  // values a thread

template <typename Out>
__global__ void __launch_bounds__(kThreads)
    rms_norm_kernel(const float* x, const int32_t* row_of, const float* gain, Out* out,
                    int hidden_size, float eps) {
  __shared__ float sums[kThreads / kWarpSize];
  start_after_earlier_kernels();
  const int64_t row = row_of != nullptr ? row_of[blockIdx.x] : static_cast<int>(blockIdx.x);
  const float* in = x + row * hidden_size;
  Out* result = out + int64_t{blockIdx.x} * hidden_size;
  const int thread = static_cast<int>(threadIdx.x);
  float held[kHeld], gains[kHeld];
#pragma unroll
  for (int i = 0; i < kHeld; ++i) {
    const int at = thread + i * kThreads;
    held[i] = at < hidden_size ? in[at] : 0.0f;
    gains[i] = at < hidden_size ? gain[at] : 0.0f;
  }
  float squares = 0;
#pragma unroll
  for (int i = 0; i < kHeld; ++i) squares = fmaf(held[i], held[i], squares);
  for (int at = thread + kHeld * kThreads; at < hidden_size; at += kThreads) {
    squares = fmaf(in[at], in[at], squares);
  }
  const float mean = block_sum(squares, sums) / static_cast<float>(hidden_size);
  const float scale = 1.0f / sqrtf(mean + eps);
#pragma unroll
  for (int i = 0; i < kHeld; ++i) {
    const int at = thread + i * kThreads;
    if (at < hidden_size) from_float(held[i] * scale * gains[i], result[at]);
  }
  for (int at = thread + kHeld * kThreads; at < hidden_size; at += kThreads) {
    from_float(in[at] * scale * gain[at], result[at]);
  }
}

template <typename Out>
void launch_for(GpuStream stream, const RmsNormArgs& args) {
  launch_overlapped(stream, dim3{static_cast<unsigned>(args.num_rows)}, dim3{kThreads}, 0,
                    rms_norm_kernel<Out>, args.x, args.row_of, args.gain,
                    static_cast<Out*>(args.out), args.hidden_size, args.eps);
}

}  // namespace

void rms_norm(GpuStream stream, const RmsNormArgs& args) {
  if (args.num_rows == 0) return;
  if (args.out_type == GpuFloat::kBF16) {
    launch_for<BF16>(stream, args);
  } else {
    launch_for<F16>(stream, args);
  }
}

}  // namespace sparrow::SPARROW_GPU_NAMESPACE

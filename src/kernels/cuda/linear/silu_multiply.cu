// SiLU of the gate times up (SwiGLU, Shazeer 2020), after a product that computed both: bound by
// memory, 16 bytes a thread where rows allow it.
#include "kernels/cuda/gpu_floats.cuh"
#include "kernels/cuda/gpu_launchers.h"

namespace sparrow::SPARROW_GPU_NAMESPACE {
namespace {

constexpr int kThreads = 256;
constexpr int kPiece = 8;  // values of 16 bytes

template <typename X>
__device__ __forceinline__ X silu_times(X gate, X up) {
  const float g = to_float(gate);
  X result;
  from_float(g / (1.0f + expf(-g)) * to_float(up), result);
  return result;
}

template <typename X>
__device__ __forceinline__ unsigned silu_times_pair(unsigned gates, unsigned ups) {
  const X low = silu_times(X{static_cast<uint16_t>(gates)}, X{static_cast<uint16_t>(ups)});
  const X high =
      silu_times(X{static_cast<uint16_t>(gates >> 16)}, X{static_cast<uint16_t>(ups >> 16)});
  return low.bits | static_cast<unsigned>(high.bits) << 16;
}

// n is a multiple of kPiece, and rows begin at multiples of 16 bytes.
template <typename X>
__global__ void __launch_bounds__(kThreads)
    pieces_kernel(const X* __restrict__ in, X* __restrict__ out, int n) {
  const int at = (static_cast<int>(blockIdx.x) * kThreads + static_cast<int>(threadIdx.x)) * kPiece;
  if (at >= n) return;
  const int64_t row = static_cast<int>(blockIdx.y);
  const uint4 gates = *reinterpret_cast<const uint4*>(in + row * 2 * n + at);
  const uint4 ups = *reinterpret_cast<const uint4*>(in + row * 2 * n + n + at);
  *reinterpret_cast<uint4*>(out + row * n + at) =
      make_uint4(silu_times_pair<X>(gates.x, ups.x), silu_times_pair<X>(gates.y, ups.y),
                 silu_times_pair<X>(gates.z, ups.z), silu_times_pair<X>(gates.w, ups.w));
}

template <typename X>
__global__ void __launch_bounds__(kThreads)
    values_kernel(const X* __restrict__ in, X* __restrict__ out, int n) {
  const int at = static_cast<int>(blockIdx.x) * kThreads + static_cast<int>(threadIdx.x);
  if (at >= n) return;
  const int64_t row = static_cast<int>(blockIdx.y);
  out[row * n + at] = silu_times(in[row * 2 * n + at], in[row * 2 * n + n + at]);
}

template <typename X>
void launch_for(GpuStream stream, const SiluMultiplyArgs& args) {
  const auto* in = static_cast<const X*>(args.in);
  auto* out = static_cast<X*>(args.out);
  const auto address = reinterpret_cast<uintptr_t>(args.in) | reinterpret_cast<uintptr_t>(args.out);
  const bool has_pieces = args.n % kPiece == 0 && address % 16 == 0;
  const int per_block = has_pieces ? kThreads * kPiece : kThreads;
  const dim3 grid{static_cast<unsigned>((args.n + per_block - 1) / per_block),
                  static_cast<unsigned>(args.num_rows)};
  launch(stream, grid, dim3{kThreads}, 0, has_pieces ? pieces_kernel<X> : values_kernel<X>, in, out,
         args.n);
}

}  // namespace

void silu_multiply(GpuStream stream, const SiluMultiplyArgs& args) {
  if (args.num_rows == 0 || args.n == 0) return;
  if (args.type == GpuFloat::kBF16) {
    launch_for<BF16>(stream, args);
  } else {
    launch_for<F16>(stream, args);
  }
}

}  // namespace sparrow::SPARROW_GPU_NAMESPACE

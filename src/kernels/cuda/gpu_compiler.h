#pragma once
// What every kernel source includes first. The same source is compiled twice: by nvcc for the card
// (namespace gpu_cuda) and by the host compiler for the twin (namespace gpu_twin), where
// twin/twin_compiler.h stands in for CUDA's words. A kernel may use what that file offers.
//
//   namespace sparrow::SPARROW_GPU_NAMESPACE {
//   __global__ void add_kernel(const float* a, float* out, int n) { ... }
//   void add(GpuStream stream, const AddArgs& args) {
//     launch(stream, {grid}, {block}, shared_bytes, add_kernel, args.a, args.out, args.n);
//   }
//   }
//
// Arithmetic that must have the CPU's bits (sampling) says fmaf, __fmul_rn, __fadd_rn: nvcc fuses
// a * b + c by itself, the host compiler does not.

#include <cstddef>
#include <cstdint>

#include "kernels/cuda/gpu_stream.h"

#ifdef __CUDACC__

#include <cuda_runtime.h>

#define SPARROW_GPU_NAMESPACE gpu_cuda

namespace sparrow::gpu_cuda {

inline constexpr int kWarpSize = 32;
inline constexpr unsigned kFullWarp = 0xffffffffu;

// The memory named by the launch's shared_bytes; one array a kernel, 16-byte aligned.
template <typename T>
__device__ __forceinline__ T* dynamic_shared() {
  extern __shared__ __align__(16) unsigned char sparrow_dynamic_shared[];
  return reinterpret_cast<T*>(sparrow_dynamic_shared);
}

// Errors stay with the runtime until GpuDevice asks for them.
template <typename... Parameters, typename... Arguments>
void launch(GpuStream stream, dim3 grid, dim3 block, size_t shared_bytes,
            void (*kernel)(Parameters...), const Arguments&... arguments) {
  constexpr size_t kAlwaysAllowed = 48 << 10;
  if (shared_bytes > kAlwaysAllowed) {
    (void)cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                               static_cast<int>(shared_bytes));
  }
  kernel<<<grid, block, shared_bytes, static_cast<cudaStream_t>(stream.handle)>>>(
      static_cast<Parameters>(arguments)...);
}

}  // namespace sparrow::gpu_cuda

#else

#include "kernels/cuda/twin/twin_compiler.h"

#define SPARROW_GPU_NAMESPACE gpu_twin

#endif

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

// Programmatic dependent launch (CUDA programming guide; sm_90): a kernel launched by
// launch_overlapped() may start as soon as every block of the one in front has called
// let_next_kernel_start(). Before it touches memory that earlier kernels write, and before it
// writes, it calls wait_for_earlier_kernels(), which returns when they are done, all of them: for
// each of them has waited in its turn. What it reads before are weights and the step's work list.
// Its pointers are not __restrict__: what such a pointer names counts as unchanging, and the
// compiler may read it before the wait.
__device__ __forceinline__ void wait_for_earlier_kernels() {
#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}
__device__ __forceinline__ void let_next_kernel_start() {
#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;");
#endif
}

// The line of 128 bytes that the address lies in.
__device__ __forceinline__ void prefetch_to_l2(const void* global) {
  asm volatile("prefetch.global.L2 [%0];" ::"l"(__cvta_generic_to_global(global)));
}

template <typename Kernel>
void allow_shared_bytes(Kernel* kernel, size_t shared_bytes) {
  constexpr size_t kAlwaysAllowed = 48 << 10;
  if (shared_bytes <= kAlwaysAllowed) return;
  // Never lowered: a captured launch of the same kernel may need more.
  cudaFuncAttributes attributes = {};
  if (cudaFuncGetAttributes(&attributes, kernel) == cudaSuccess &&
      attributes.maxDynamicSharedSizeBytes >= static_cast<int>(shared_bytes)) {
    return;
  }
  (void)cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                             static_cast<int>(shared_bytes));
}

// Errors stay with the runtime until GpuDevice asks for them.
template <typename... Parameters, typename... Arguments>
void launch(GpuStream stream, dim3 grid, dim3 block, size_t shared_bytes,
            void (*kernel)(Parameters...), const Arguments&... arguments) {
  allow_shared_bytes(kernel, shared_bytes);
  kernel<<<grid, block, shared_bytes, static_cast<cudaStream_t>(stream.handle)>>>(
      static_cast<Parameters>(arguments)...);
}

template <typename... Parameters, typename... Arguments>
void launch_overlapped(GpuStream stream, dim3 grid, dim3 block, size_t shared_bytes,
                       void (*kernel)(Parameters...), const Arguments&... arguments) {
  if (!stream.overlaps_launches) {
    return launch(stream, grid, block, shared_bytes, kernel, arguments...);
  }
  allow_shared_bytes(kernel, shared_bytes);
  cudaLaunchAttribute attribute = {};
  attribute.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  attribute.val.programmaticStreamSerializationAllowed = 1;
  cudaLaunchConfig_t config = {};
  config.gridDim = grid;
  config.blockDim = block;
  config.dynamicSmemBytes = shared_bytes;
  config.stream = static_cast<cudaStream_t>(stream.handle);
  config.attrs = &attribute;
  config.numAttrs = 1;
  (void)cudaLaunchKernelEx(&config, kernel, static_cast<Parameters>(arguments)...);
}

}  // namespace sparrow::gpu_cuda

#else

#include "kernels/cuda/twin/twin_compiler.h"

#define SPARROW_GPU_NAMESPACE gpu_twin

#endif

namespace sparrow::SPARROW_GPU_NAMESPACE {

// For kernels that have nothing to do before: they save the way to the chip.
__device__ __forceinline__ void start_after_earlier_kernels() {
  let_next_kernel_start();
  wait_for_earlier_kernels();
}

}  // namespace sparrow::SPARROW_GPU_NAMESPACE

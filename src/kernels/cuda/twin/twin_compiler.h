#pragma once
// CUDA's words for the host compiler, so that a kernel source runs on the twin (gpu_compiler.h).
// Only what our kernels use; each name means what the CUDA C++ Programming Guide says it means, for
// one block of threads at a time (twin_block.h). Included by gpu_compiler.h alone.

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <functional>
#include <type_traits>

#include "base/check.h"
#include "kernels/cuda/gpu_stream.h"
#include "kernels/cuda/twin/twin_block.h"
#include "kernels/cuda/twin/twin_queue.h"

#define __global__ [[maybe_unused]] static
#define __device__
#define __host__
#define __forceinline__ inline
#define __shared__ static thread_local
#define __launch_bounds__(...)
#define __restrict__ __restrict

namespace sparrow::gpu_twin {

// Vector types: aligned as on the card, so that a misaligned access is one here, too.
struct alignas(8) float2 {
  float x, y;
};
struct alignas(16) float4 {
  float x, y, z, w;
};
struct alignas(8) uint2 {
  unsigned x, y;
};
struct alignas(16) uint4 {
  unsigned x, y, z, w;
};
struct alignas(8) int2 {
  int x, y;
};
struct alignas(16) int4 {
  int x, y, z, w;
};
inline float2 make_float2(float x, float y) { return {x, y}; }
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
inline uint2 make_uint2(unsigned x, unsigned y) { return {x, y}; }
inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }
inline int4 make_int4(int x, int y, int z, int w) { return {x, y, z, w}; }
using dim3 = Dim3;

template <typename T>
T* dynamic_shared() {
  return reinterpret_cast<T*>(shared_memory());
}

// Barriers and warp collectives.
inline void __syncthreads() { block_barrier(); }
inline void __syncwarp(unsigned mask = kFullWarp) { warp_barrier(mask); }

template <typename T>
uint64_t to_word(T value) {
  static_assert(sizeof(T) <= 8 && std::is_trivially_copyable_v<T>);
  uint64_t word = 0;
  std::memcpy(&word, &value, sizeof value);
  return word;
}
template <typename T>
T from_word(uint64_t word) {
  T value;
  std::memcpy(&value, &word, sizeof value);
  return value;
}
inline int lane_of_thread() {
  const size_t thread =
      threadIdx.x + size_t{blockDim.x} * (threadIdx.y + size_t{blockDim.y} * threadIdx.z);
  return static_cast<int>(thread % kWarpSize);
}

template <typename T>
T __shfl_sync(unsigned mask, T value, int lane, int width = kWarpSize) {
  publish_to_warp(to_word(value), mask);
  const int first = lane_of_thread() / width * width;
  return from_word<T>(published_by(first + lane % width));
}
template <typename T>
T __shfl_xor_sync(unsigned mask, T value, int lane_mask, int width = kWarpSize) {
  publish_to_warp(to_word(value), mask);
  const int other = lane_of_thread() ^ lane_mask;
  return other / width == lane_of_thread() / width ? from_word<T>(published_by(other)) : value;
}
template <typename T>
T __shfl_down_sync(unsigned mask, T value, int delta, int width = kWarpSize) {
  publish_to_warp(to_word(value), mask);
  const int lane = lane_of_thread();
  return lane % width + delta < width ? from_word<T>(published_by(lane + delta)) : value;
}
template <typename T>
T __shfl_up_sync(unsigned mask, T value, int delta, int width = kWarpSize) {
  publish_to_warp(to_word(value), mask);
  const int lane = lane_of_thread();
  return lane % width >= delta ? from_word<T>(published_by(lane - delta)) : value;
}
inline unsigned __ballot_sync(unsigned mask, int predicate) {
  publish_to_warp(predicate != 0 ? 1 : 0, mask);
  unsigned votes = 0;
  for (int lane = 0; lane < kWarpSize; ++lane) {
    if ((mask >> lane & 1u) != 0 && published_by(lane) != 0) votes |= 1u << lane;
  }
  return votes;
}
inline int __any_sync(unsigned mask, int predicate) { return __ballot_sync(mask, predicate) != 0; }
inline int __all_sync(unsigned mask, int predicate) {
  return __ballot_sync(mask, predicate) == mask;
}

// Atomics: one thread runs at a time, so plain code is atomic. Memory order is that of one thread.
template <typename T>
T atomicAdd(T* address, std::type_identity_t<T> value) {
  const T old = *address;
  *address = old + value;
  return old;
}
template <typename T>
T atomicMax(T* address, std::type_identity_t<T> value) {
  const T old = *address;
  *address = std::max(old, value);
  return old;
}
template <typename T>
T atomicMin(T* address, std::type_identity_t<T> value) {
  const T old = *address;
  *address = std::min(old, value);
  return old;
}
template <typename T>
T atomicOr(T* address, std::type_identity_t<T> value) {
  const T old = *address;
  *address = old | value;
  return old;
}
template <typename T>
T atomicExch(T* address, std::type_identity_t<T> value) {
  const T old = *address;
  *address = value;
  return old;
}
template <typename T>
T atomicCAS(T* address, std::type_identity_t<T> expected, std::type_identity_t<T> value) {
  const T old = *address;
  if (old == expected) *address = value;
  return old;
}
inline void __threadfence() {}
inline void __threadfence_block() {}

// Arithmetic with one rounding, and bits.
inline float __fmul_rn(float a, float b) { return a * b; }
inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fsub_rn(float a, float b) { return a - b; }
inline float __fmaf_rn(float a, float b, float c) { return std::fmaf(a, b, c); }
inline float __fdiv_rn(float a, float b) { return a / b; }
inline float __fsqrt_rn(float a) { return std::sqrt(a); }
inline double __dadd_rn(double a, double b) { return a + b; }
inline double __dmul_rn(double a, double b) { return a * b; }
inline float __uint_as_float(unsigned bits) { return std::bit_cast<float>(bits); }
inline unsigned __float_as_uint(float value) { return std::bit_cast<unsigned>(value); }
inline int __float_as_int(float value) { return std::bit_cast<int>(value); }
inline float __int_as_float(int bits) { return std::bit_cast<float>(bits); }
inline double __longlong_as_double(long long bits) { return std::bit_cast<double>(bits); }
inline int __popc(unsigned value) { return std::popcount(value); }
inline int __clz(int value) { return std::countl_zero(static_cast<unsigned>(value)); }
inline int __ffs(int value) {
  return value == 0 ? 0 : std::countr_zero(static_cast<unsigned>(value)) + 1;
}
// Byte i of the result is the one of b:a that nibble i of the selector names.
inline unsigned __byte_perm(unsigned a, unsigned b, unsigned selector) {
  const uint64_t bytes = uint64_t{b} << 32 | a;
  unsigned out = 0;
  for (int i = 0; i < 4; ++i) {
    out |= static_cast<unsigned>(bytes >> (8 * (selector >> (4 * i) & 7u)) & 0xffu) << (8 * i);
  }
  return out;
}
inline int __dp4a(int a, int b, int c) {
  for (int i = 0; i < 4; ++i) {
    c += static_cast<int8_t>(a >> (8 * i)) * static_cast<int8_t>(b >> (8 * i));
  }
  return c;
}
template <typename T>
T __ldg(const T* address) {
  return *address;
}
template <typename T>
T __ldcs(const T* address) {
  return *address;
}
template <typename T>
T __ldcg(const T* address) {
  return *address;
}
using std::fmaf;
using std::max;
using std::min;

// Queues kernel(arguments...) for every thread of the grid.
template <typename... Parameters, typename... Arguments>
void launch(GpuStream stream, Dim3 grid, Dim3 block, size_t shared_bytes,
            void (*kernel)(Parameters...), const Arguments&... arguments) {
  auto call = [=] { kernel(static_cast<Parameters>(arguments)...); };
  using Call = decltype(call);
  auto run = [=] {
    const KernelBody body = [](const void* closure) { (*static_cast<const Call*>(closure))(); };
    run_grid(grid, block, shared_bytes, body, &call);
  };
  static_cast<TwinQueue*>(stream.handle)->add(run);
}

// Kernels run one after the other here; but one that is launched to overlap must have waited.
inline thread_local bool tls_has_waited = false;
inline void wait_for_earlier_kernels() { tls_has_waited = true; }
inline void let_next_kernel_start() {}
inline void prefetch_to_l2(const void*) {}

template <typename... Parameters, typename... Arguments>
void launch_overlapped(GpuStream stream, Dim3 grid, Dim3 block, size_t shared_bytes,
                       void (*kernel)(Parameters...), const Arguments&... arguments) {
  if (!stream.overlaps_launches) {
    return launch(stream, grid, block, shared_bytes, kernel, arguments...);
  }
  auto* queue = static_cast<TwinQueue*>(stream.handle);
  queue->add([] { tls_has_waited = false; });
  launch(stream, grid, block, shared_bytes, kernel, arguments...);
  queue->add([] { CHECK(tls_has_waited && "a kernel that overlaps waits for those before it"); });
}

}  // namespace sparrow::gpu_twin

#pragma once
// TwinBlock: runs the threads of one thread block at a time on one CPU thread, as fibers, each
// until it meets a barrier. What a kernel may rely on, and no more, holds:
//
// - Between barriers the threads run in an order that changes from block to block, one to its end
//   before the next begins: a kernel that misses a barrier reads what is not there yet.
//   Warps run ahead of each other as far as the next block barrier.
// - A warp collective (shuffle, vote) and __syncwarp wait for all lanes of their mask; a lane that
// is
//   named and never comes, or a __syncthreads that some threads pass by, ends the program with the
//   kernel's place in the message instead of hanging.
// - Dynamic shared memory is filled with NaN patterns before each block.
//
// Blocks run one after the other in an order that changes too: they cannot wait for each other.

#include <cstddef>
#include <cstdint>

namespace sparrow::gpu_twin {

struct Index3 {
  unsigned x = 0;
  unsigned y = 0;
  unsigned z = 0;
};

struct Dim3 {
  unsigned x = 1;
  unsigned y = 1;
  unsigned z = 1;
  size_t count() const { return size_t{x} * y * z; }
};

inline constexpr int kWarpSize = 32;
inline constexpr unsigned kFullWarp = 0xffffffffu;
inline constexpr size_t kMaxThreadsPerBlock = 1024;
inline constexpr size_t kMaxSharedBytes = 227 << 10;  // of a block on sm_90

// Of the fiber that runs.
inline thread_local Index3 threadIdx;
inline thread_local Index3 blockIdx;
inline thread_local Dim3 blockDim;
inline thread_local Dim3 gridDim;

// Runs body() as every thread of every block.
using KernelBody = void (*)(const void* closure);
void run_grid(Dim3 grid, Dim3 block, size_t shared_bytes, KernelBody body, const void* closure);

// Called by running threads.
void block_barrier();
void warp_barrier(unsigned mask);
std::byte* shared_memory();
// Every lane of the mask gives 8 bytes; a lane reads those of another after all have come.
void publish_to_warp(uint64_t value, unsigned mask);
uint64_t published_by(int lane);

}  // namespace sparrow::gpu_twin

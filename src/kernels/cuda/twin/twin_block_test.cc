// The emulator itself: what a kernel may rely on holds, and what it may not is noticed.
#include <gtest/gtest.h>

#include <numeric>
#include <set>
#include <vector>

#include "kernels/cuda/gpu_buffer.h"
#include "kernels/cuda/gpu_compiler.h"
#include "kernels/cuda/gpu_kernels.h"
#include "kernels/cuda/twin/twin_device.h"

namespace sparrow::gpu_twin {
namespace {

struct DirectQueue final : TwinQueue {
  void add(std::function<void()> work) override { work(); }
  GpuStream stream() { return {static_cast<TwinQueue*>(this)}; }
};

__global__ void write_index_kernel(int* out) {
  const unsigned block = blockIdx.x + gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z);
  const unsigned thread = threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
  out[block * blockDim.x * blockDim.y * blockDim.z + thread] += 1 + static_cast<int>(thread);
}

TEST(TwinBlock, EveryThreadOfEveryBlock_RunsOnce) {
  DirectQueue queue;
  std::vector<int> out(2 * 3 * 2 * 4 * 5 * 3);
  launch(queue.stream(), Dim3{2, 3, 2}, Dim3{4, 5, 3}, 0, write_index_kernel, out.data());
  for (size_t i = 0; i < out.size(); ++i) EXPECT_EQ(out[i], 1 + static_cast<int>(i % 60)) << i;
}

__global__ void reverse_kernel(const int* in, int* out) {
  int* shared = dynamic_shared<int>();
  const unsigned i = threadIdx.x;
  shared[i] = in[blockIdx.x * blockDim.x + i];
  __syncthreads();
  out[blockIdx.x * blockDim.x + i] = shared[blockDim.x - 1 - i];
}

TEST(TwinBlock, BlockBarrier_SharedMemoryIsThere) {
  DirectQueue queue;
  std::vector<int> in(4 * 256), out(in.size());
  std::iota(in.begin(), in.end(), 0);
  launch(queue.stream(), Dim3{4}, Dim3{256}, 256 * sizeof(int), reverse_kernel, in.data(),
         out.data());
  for (size_t i = 0; i < out.size(); ++i) {
    EXPECT_EQ(out[i], static_cast<int>(i / 256 * 256 + 255 - i % 256));
  }
}

__global__ void reverse_without_barrier_kernel(const int* in, int* out) {
  int* shared = dynamic_shared<int>();
  const unsigned i = threadIdx.x;
  shared[i] = in[i];
  out[i] = shared[blockDim.x - 1 - i];
}

// The point of the shuffled order: a missing barrier gives wrong results.
TEST(TwinBlock, MissingBarrier_ReadsPoison) {
  DirectQueue queue;
  std::vector<int> in(64, 7), out(64);
  launch(queue.stream(), Dim3{1}, Dim3{64}, 64 * sizeof(int), reverse_without_barrier_kernel,
         in.data(), out.data());
  EXPECT_GT(std::count(out.begin(), out.end(), -1), 10);
}

__global__ void read_other_warp_kernel(int* out) {
  int* shared = dynamic_shared<int>();
  const int thread = static_cast<int>(threadIdx.x), warp = thread / kWarpSize;
  for (int i = 0; i < 3; ++i) (void)__shfl_xor_sync(kFullWarp, thread, 1);
  shared[thread] = thread;
  (void)__shfl_xor_sync(kFullWarp, thread, 1);  // no barrier for the other warp
  out[thread] = shared[(1 - warp) * kWarpSize];
}

// Collectives of one warp hold up no other: what another warp writes is not there by luck.
TEST(TwinBlock, MissingBarrierBetweenWarpsWithCollectives_ReadsPoison) {
  DirectQueue queue;
  std::vector<int> out(64, 7);
  launch(queue.stream(), Dim3{1}, Dim3{64}, 64 * sizeof(int), read_other_warp_kernel, out.data());
  EXPECT_EQ(std::count(out.begin(), out.end(), -1), 32);
}

__global__ void shuffle_kernel(int* out) {
  const int lane = static_cast<int>(threadIdx.x % kWarpSize);
  int value = static_cast<int>(threadIdx.x);
  // Several in a row: no lane may read the value of the next collective.
  int sum = 0;
  for (int i = 0; i < 5; ++i) sum += __shfl_xor_sync(kFullWarp, value + i * 1000, 1 << i);
  int* mine = out + threadIdx.x * 5;
  mine[0] = sum;
  mine[1] = __shfl_sync(kFullWarp, value, 3);
  mine[2] = __shfl_down_sync(kFullWarp, value, 16);
  mine[3] = __shfl_up_sync(kFullWarp, value, 1);
  mine[4] = static_cast<int>(__ballot_sync(kFullWarp, lane % 3 == 0) & 0xffffu);
}

TEST(TwinBlock, WarpCollectives_AsTheGuideSays) {
  DirectQueue queue;
  std::vector<int> out(64 * 5);
  launch(queue.stream(), Dim3{1}, Dim3{64}, 0, shuffle_kernel, out.data());
  for (int thread = 0; thread < 64; ++thread) {
    const int lane = thread % 32, warp = thread / 32 * 32;
    int sum = 0;
    for (int i = 0; i < 5; ++i) sum += warp + (lane ^ (1 << i)) + i * 1000;
    const int* mine = out.data() + thread * 5;
    EXPECT_EQ(mine[0], sum);
    EXPECT_EQ(mine[1], warp + 3);
    EXPECT_EQ(mine[2], lane < 16 ? thread + 16 : thread);
    EXPECT_EQ(mine[3], lane > 0 ? thread - 1 : thread);
    EXPECT_EQ(mine[4], 0x9249);
  }
}

__global__ void half_warps_kernel(int* out) {
  // Each half comes at its own time, with its own mask.
  const unsigned lane = threadIdx.x;
  if (lane < 16) {
    out[lane] = __shfl_xor_sync(0x0000ffffu, static_cast<int>(lane), 15);
  } else {
    __syncwarp(0xffff0000u);
    out[lane] = __shfl_xor_sync(0xffff0000u, static_cast<int>(lane), 1);
  }
}

TEST(TwinBlock, PartialMasks_WaitForTheirLanesOnly) {
  DirectQueue queue;
  std::vector<int> out(32);
  launch(queue.stream(), Dim3{1}, Dim3{32}, 0, half_warps_kernel, out.data());
  for (int lane = 0; lane < 32; ++lane) {
    EXPECT_EQ(out[static_cast<size_t>(lane)], lane < 16 ? 15 - lane : (lane ^ 1));
  }
}

__global__ void barrier_in_branch_kernel() {
  if (threadIdx.x < 16) __syncthreads();
}
__global__ void absent_lane_kernel() {
  if (threadIdx.x != 5) __syncwarp(kFullWarp);
}

TEST(TwinBlockDeath, BarrierThatSomePass_EndsWithAMessage) {
  DirectQueue queue;
  EXPECT_DEATH(launch(queue.stream(), Dim3{1}, Dim3{32}, 0, barrier_in_branch_kernel),
               "never come");
  EXPECT_DEATH(launch(queue.stream(), Dim3{1}, Dim3{32}, 0, absent_lane_kernel), "never come");
}

__global__ void fill_kernel(float* out, int count, float value) {
  for (int i = static_cast<int>(threadIdx.x); i < count; i += static_cast<int>(blockDim.x)) {
    out[i] = value;
  }
}

TEST(TwinDeviceDeath, MemoryBeyondTheEndAndFromTheHost_IsClosed) {
  const std::unique_ptr<GpuDevice> device = make_twin_device();
  Result<GpuBuffer> buffer = GpuBuffer::create(*device, 64 * sizeof(float));
  ASSERT_TRUE(buffer.ok());
  float* memory = buffer->as<float>();
  launch(device->stream(), Dim3{1}, Dim3{32}, 0, fill_kernel, memory, 64, 1.0f);
  EXPECT_DEATH(launch(device->stream(), Dim3{1}, Dim3{32}, 0, fill_kernel, memory, 65, 1.0f), "");
  EXPECT_DEATH(memory[0] = 2.0f, "");
}

TEST(TwinDevice, Graph_FreezesArgumentsAndReadsMemoryWhenItRuns) {
  const std::unique_ptr<GpuDevice> device = make_twin_device();
  Result<GpuBuffer> values = GpuBuffer::create(*device, 4 * sizeof(float));
  Result<GpuBuffer> pinned =
      GpuBuffer::create(*device, 4 * sizeof(float), GpuBuffer::Kind::kPinned);
  ASSERT_TRUE(values.ok() && pinned.ok());
  float* host = pinned->as<float>();
  ASSERT_TRUE(device->begin_capture().ok());
  float value = 3.0f;
  launch(device->stream(), Dim3{1}, Dim3{2}, 0, fill_kernel, values->as<float>(), 4, value);
  device->copy_to_host(host, values->as<float>(), 4 * sizeof(float));
  value = 9.0f;
  Result<std::unique_ptr<GpuGraph>> graph = device->end_capture();
  ASSERT_TRUE(graph.ok());
  host[0] = 0.0f;
  device->launch(**graph);
  ASSERT_TRUE(device->synchronize().ok());
  EXPECT_EQ(host[0], 3.0f);
}

TEST(TwinDevice, MoreThanItHas_IsRefused) {
  TwinDeviceOptions options;
  options.total_bytes = 1000;
  const std::unique_ptr<GpuDevice> device = make_twin_device(options);
  const Result<GpuBuffer> fits = GpuBuffer::create(*device, 600);
  EXPECT_TRUE(fits.ok());
  const Result<GpuBuffer> too_much = GpuBuffer::create(*device, 600);
  EXPECT_FALSE(too_much.ok());
  EXPECT_EQ(device->free_bytes().value(), 400);
}

}  // namespace
}  // namespace sparrow::gpu_twin

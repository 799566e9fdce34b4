#pragma once
// CopyQueue: 16-byte copies from device to shared memory that run while the thread computes
// (cp.async). Copies since the last commit() are a group; wait_but(n) returns when all groups but
// the last n have arrived for this thread; other threads see them after a barrier. Cards before
// sm_80 copy at once. The twin copies as late as it may, in the wait, or at once, by turns of the
// blocks: both a missing wait and memory that is still read are noticed.

#include "kernels/cuda/gpu_compiler.h"

#ifndef __CUDACC__
#include <vector>
#endif

namespace sparrow::SPARROW_GPU_NAMESPACE {

#ifdef __CUDACC__

class CopyQueue {
 public:
  // Zeros when `exists` is false; then `from` is not read, but must be an address of device memory.
  __device__ __forceinline__ void copy(void* to, const void* from, bool exists) {
#if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;"
                 :
                 : "r"(static_cast<unsigned>(__cvta_generic_to_shared(to))), "l"(from),
                   "r"(exists ? 16 : 0)
                 : "memory");
#else
    *static_cast<uint4*>(to) = exists ? *static_cast<const uint4*>(from) : make_uint4(0, 0, 0, 0);
#endif
  }
  __device__ __forceinline__ void commit() {
#if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.commit_group;" ::: "memory");
#endif
  }
  template <int kGroups>
  __device__ __forceinline__ void wait_but() {
#if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.wait_group %0;" ::"n"(kGroups) : "memory");
#endif
  }
};

#else

class CopyQueue {
 public:
  void copy(void* to, const void* from, bool exists) {
    const Copy copy = {to, exists ? from : nullptr, group_};
    if ((blockIdx.x + blockIdx.y + blockIdx.z) % 2 == 0) return run(copy);
    copies_.push_back(copy);
  }
  void commit() { ++group_; }
  template <int kGroups>
  void wait_but() {
    size_t done = 0;
    for (; done < copies_.size() && copies_[done].group < group_ - kGroups; ++done) {
      run(copies_[done]);
    }
    copies_.erase(copies_.begin(), copies_.begin() + static_cast<ptrdiff_t>(done));
  }

 private:
  struct Copy {
    void* to;
    const void* from;
    int group;
  };
  static void run(const Copy& copy) {
    static constexpr uint4 kZeros = {};
    std::memcpy(copy.to, copy.from != nullptr ? copy.from : &kZeros, sizeof kZeros);
  }
  std::vector<Copy> copies_;
  int group_ = 0;
};

#endif

}  // namespace sparrow::SPARROW_GPU_NAMESPACE

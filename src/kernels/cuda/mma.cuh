#pragma once
// The matrix units as mma.sync.m16n8k16 offers them (PTX ISA, "Matrix multiply-accumulate" and
// "ldmatrix"; sm_80 and newer), and copies into shared memory that run beside the arithmetic
// (cp.async). Collectives of a whole warp. The twin's versions move values between lanes just as
// the PTX ISA says, so that index arithmetic which holds there holds on a card.
//
// Fragments of lane = 4 * g + q, two 16-bit values a register, the first in the low half:
//   A (16 x 16, row, k):  a[0] = (g, 2q..)  a[1] = (g + 8, 2q..)  a[2] = (g, 2q + 8..)
//                         a[3] = (g + 8, 2q + 8..)
//   B (16 x 8, k, column):  b[0] = (2q.., g)  b[1] = (2q + 8.., g)
//   C (16 x 8, row, column): c[0], c[1] = (g, 2q..)  c[2], c[3] = (g + 8, 2q..)
//
// Where the card has no such units (sm_75) the calls compile and stop the kernel.

#include "kernels/cuda/gpu_floats.cuh"

#ifndef __CUDACC__
#include "base/check.h"
#endif

namespace sparrow::SPARROW_GPU_NAMESPACE {

struct FragmentA {
  unsigned a[4];
};
struct FragmentB {
  unsigned b[2];
};
struct FragmentC {
  float c[4];
};

#ifdef __CUDACC__

#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 800
#define SPARROW_MATRIX_UNITS_ASM(...) asm volatile(__VA_ARGS__)
#else
#define SPARROW_MATRIX_UNITS_ASM(...) __trap()
#endif

// c += a * b
template <typename T>
__device__ __forceinline__ void multiply_add(const FragmentA& a, const FragmentB& b, FragmentC& c);
template <>
__device__ __forceinline__ void multiply_add<BF16>(const FragmentA& a, const FragmentB& b,
                                                   FragmentC& c) {
  SPARROW_MATRIX_UNITS_ASM(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
      "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+f"(c.c[0]), "+f"(c.c[1]), "+f"(c.c[2]), "+f"(c.c[3])
      : "r"(a.a[0]), "r"(a.a[1]), "r"(a.a[2]), "r"(a.a[3]), "r"(b.b[0]), "r"(b.b[1]));
}
template <>
__device__ __forceinline__ void multiply_add<F16>(const FragmentA& a, const FragmentB& b,
                                                  FragmentC& c) {
  SPARROW_MATRIX_UNITS_ASM(
      "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 "
      "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+f"(c.c[0]), "+f"(c.c[1]), "+f"(c.c[2]), "+f"(c.c[3])
      : "r"(a.a[0]), "r"(a.a[1]), "r"(a.a[2]), "r"(a.a[3]), "r"(b.b[0]), "r"(b.b[1]));
}

__device__ __forceinline__ unsigned shared_address(const void* shared) {
  return static_cast<unsigned>(__cvta_generic_to_shared(shared));
}

// Four 8 x 8 matrices of 16-bit values: lanes 8m..8m+7 give the rows of matrix m (16 bytes each, in
// shared memory), and lane 4g + q gets values 2q, 2q+1 of row g of each.
__device__ __forceinline__ void load_matrices(const void* row, unsigned (&out)[4]) {
  SPARROW_MATRIX_UNITS_ASM("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                           : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
                           : "r"(shared_address(row))
                           : "memory");
}

// 16-byte copies of one thread into shared memory, in groups that end with commit().
class AsyncCopies {
 public:
  // Zeros when !is_there; `global` is a valid address all the same. Both aligned to 16 bytes.
  __device__ __forceinline__ void add(void* shared, const void* global, bool is_there) {
    SPARROW_MATRIX_UNITS_ASM(
        "cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(shared)),
        "l"(__cvta_generic_to_global(global)), "r"(is_there ? 16 : 0)
        : "memory");
  }
  __device__ __forceinline__ void commit() {
    SPARROW_MATRIX_UNITS_ASM("cp.async.commit_group;" ::: "memory");
  }
  // Until at most kPending groups of this thread are under way. Others see them after a barrier.
  template <int kPending>
  __device__ __forceinline__ void wait() {
    SPARROW_MATRIX_UNITS_ASM("cp.async.wait_group %0;" ::"n"(kPending) : "memory");
  }
};

#undef SPARROW_MATRIX_UNITS_ASM

#else

template <typename T>
double fragment_half(unsigned word, int half) {
  return static_cast<double>(to_float(T{static_cast<uint16_t>(word >> (16 * half))}));
}

// No infinity and no NaN among the four halves of a word.
template <typename T>
bool is_finite_word(uint64_t word) {
  constexpr uint64_t kExponent = std::is_same_v<T, BF16> ? 0x7f80 : 0x7c00;
  for (int half = 0; half < 4; ++half) {
    if ((word >> (16 * half) & kExponent) == kExponent) return false;
  }
  return true;
}

// Products and their sum are exact (double), rounded once: a card rounds a little worse. A column
// of zeros, as products of few rows have many, changes no finite row.
template <typename T>
void multiply_add(const FragmentA& a, const FragmentB& b, FragmentC& c) {
  const int g = lane_of_thread() / 4, q = lane_of_thread() % 4;
  double sums[4] = {c.c[0], c.c[1], c.c[2], c.c[3]};
  uint64_t rows[2][4], columns[2][4];  // words k = 2j.. and k = 2j + 8.. of lane j of each four
  for (int i = 0; i < 2; ++i) {
    publish_to_warp(a.a[i] | uint64_t{a.a[i + 2]} << 32, kFullWarp);
    for (int j = 0; j < 4; ++j) rows[i][j] = published_by(4 * g + j);
  }
  publish_to_warp(b.b[0] | uint64_t{b.b[1]} << 32, kFullWarp);
  for (int i = 0; i < 2; ++i) {
    for (int j = 0; j < 4; ++j) columns[i][j] = published_by(4 * (2 * q + i) + j);
  }
  bool has_values[2] = {}, is_finite[2] = {true, true};
  for (int i = 0; i < 2; ++i) {
    for (int j = 0; j < 4; ++j) {
      has_values[i] = has_values[i] || columns[i][j] != 0;
      is_finite[i] = is_finite[i] && is_finite_word<T>(rows[i][j]);
    }
  }
  for (int i = 0; i < 4; ++i) {
    if (!has_values[i % 2] && is_finite[i / 2]) continue;
    for (int word = 0; word < 8; ++word) {
      const auto left = static_cast<unsigned>(rows[i / 2][word % 4] >> (word / 4 * 32));
      const auto right = static_cast<unsigned>(columns[i % 2][word % 4] >> (word / 4 * 32));
      sums[i] += fragment_half<T>(left, 0) * fragment_half<T>(right, 0);
      sums[i] += fragment_half<T>(left, 1) * fragment_half<T>(right, 1);
    }
    c.c[i] = static_cast<float>(sums[i]);
  }
}

inline void load_matrices(const void* row, unsigned (&out)[4]) {
  CHECK(reinterpret_cast<uintptr_t>(row) % 16 == 0);
  publish_to_warp(reinterpret_cast<uintptr_t>(row), kFullWarp);
  for (int matrix = 0; matrix < 4; ++matrix) {
    const auto* words =
        reinterpret_cast<const unsigned*>(published_by(matrix * 8 + lane_of_thread() / 4));
    out[matrix] = words[lane_of_thread() % 4];
  }
  __syncwarp();  // nobody writes there before all have read
}

// Copies happen as late as the card may make them: in wait().
class AsyncCopies {
 public:
  void add(void* shared, const void* global, bool is_there) {
    CHECK(count_ < kMax);
    CHECK(reinterpret_cast<uintptr_t>(shared) % 16 == 0);
    CHECK(reinterpret_cast<uintptr_t>(global) % 16 == 0);
    copies_[count_++] = {shared, is_there ? global : nullptr, num_groups_};
  }
  void commit() { ++num_groups_; }
  template <int kPending>
  void wait() {
    int kept = 0;
    for (int i = 0; i < count_; ++i) {
      const Copy copy = copies_[i];
      if (copy.group >= num_groups_ - kPending) {
        copies_[kept++] = copy;
      } else if (copy.global != nullptr) {
        std::memcpy(copy.shared, copy.global, 16);
      } else {
        std::memset(copy.shared, 0, 16);
      }
    }
    count_ = kept;
  }

 private:
  struct Copy {
    void* shared = nullptr;
    const void* global = nullptr;
    int group = 0;
  };
  static constexpr int kMax = 64;
  Copy copies_[kMax];
  int count_ = 0;
  int num_groups_ = 0;
};

#endif

// A 16 x 16 fragment of A from rows of 16-bit values in shared memory, `pitch` values apart.
__device__ __forceinline__ void load_fragment_a(const uint16_t* shared, int pitch,
                                                FragmentA& fragment) {
  const int lane = static_cast<int>(threadIdx.x) % kWarpSize;
  load_matrices(shared + lane % 16 * pitch + lane / 16 * 8, fragment.a);
}

// Two fragments of B, columns 0..7 and 8..15, from columns that lie as rows do above.
__device__ __forceinline__ void load_fragments_b(const uint16_t* shared, int pitch,
                                                 FragmentB& first, FragmentB& second) {
  const int lane = static_cast<int>(threadIdx.x) % kWarpSize;
  const int column = lane / 16 * 8 + lane % 8;
  unsigned words[4];
  load_matrices(shared + column * pitch + lane / 8 % 2 * 8, words);
  first = {{words[0], words[1]}};
  second = {{words[2], words[3]}};
}

}  // namespace sparrow::SPARROW_GPU_NAMESPACE

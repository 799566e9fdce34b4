#pragma once
// Matrix units by warp, as the PTX ISA describes them (mma.m16n8k16, ldmatrix). A register holds
// two 16-bit values, the lower half first. With g = lane / 4 and t = lane % 4, a lane holds:
//
//   A [16][16]: a[0] row g, columns 2t, 2t + 1; a[1] row g + 8; a[2], a[3] the same 8 columns on
//   B [16][8]:  b[0] rows 2t, 2t + 1 of column g; b[1] rows 2t + 8, 2t + 9
//   D [16][8]:  d[0], d[1] row g, columns 2t, 2t + 1; d[2], d[3] row g + 8
//
// The twin computes from the same registers by these tables, so that a wrong index gives a wrong
// result there. It adds the 16 products in double; the order on a card is not specified.

#include "kernels/cuda/gpu_floats.cuh"

namespace sparrow::SPARROW_GPU_NAMESPACE {

template <typename X>
__device__ __forceinline__ unsigned pack_pair(float low, float high) {
  X low_half, high_half;
  from_float(low, low_half);
  from_float(high, high_half);
  return low_half.bits | static_cast<unsigned>(high_half.bits) << 16;
}

#ifdef __CUDACC__

// d += A B.
__device__ __forceinline__ void mma_16x8x16(float (&d)[4], const unsigned (&a)[4],
                                            const unsigned (&b)[2], BF16) {
#if __CUDA_ARCH__ >= 800
  asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
      "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else
  __trap();  // no bf16 units: the launcher does not come here
#endif
}

__device__ __forceinline__ void mma_16x8x16(float (&d)[4], const unsigned (&a)[4],
                                            const unsigned (&b)[2], F16) {
#if __CUDA_ARCH__ >= 800
  asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 "
      "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else
  // m16n8k8 has the layout of either half.
  for (int half = 0; half < 2; ++half) {
    asm("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 "
        "{%0, %1, %2, %3}, {%4, %5}, {%6}, {%0, %1, %2, %3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[2 * half]), "r"(a[2 * half + 1]), "r"(b[half]));
  }
#endif
}

// Four matrices [8][8] of 16-bit values from shared memory; lane 8 i + r names row r of matrix i,
// 16 bytes, aligned to them. A lane gets row g, columns 2t, 2t + 1 of each.
__device__ __forceinline__ void load_matrices(unsigned (&out)[4], const void* row) {
  const auto address = static_cast<unsigned>(__cvta_generic_to_shared(row));
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
               : "r"(address)
               : "memory");
}
// The same, transposed: a lane gets rows 2t, 2t + 1 of column g.
__device__ __forceinline__ void load_matrices_transposed(unsigned (&out)[4], const void* row) {
  const auto address = static_cast<unsigned>(__cvta_generic_to_shared(row));
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
               : "r"(address)
               : "memory");
}

#else

inline uint64_t word_of_pair(unsigned low, unsigned high) {
  return low | static_cast<uint64_t>(high) << 32;
}

template <typename X>
float half_of(uint64_t word, int index) {
  return to_float(X{static_cast<uint16_t>(word >> (16 * index))});
}

template <typename X>
void mma_16x8x16(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2], X) {
  const int g = lane_of_thread() / 4, t = lane_of_thread() % 4;
  uint64_t left[2][4], right[2][4];  // [columns 0-7, 8-15][lane t of row g, g + 8]; [column][t]
  for (int half = 0; half < 2; ++half) {
    publish_to_warp(word_of_pair(a[2 * half], a[2 * half + 1]), kFullWarp);
    for (int lane = 0; lane < 4; ++lane) left[half][lane] = published_by(4 * g + lane);
  }
  publish_to_warp(word_of_pair(b[0], b[1]), kFullWarp);
  for (int column = 0; column < 2; ++column) {
    for (int lane = 0; lane < 4; ++lane) {
      right[column][lane] = published_by(4 * (2 * t + column) + lane);
    }
  }
  for (int i = 0; i < 4; ++i) {
    const int upper = i / 2, column = i % 2;
    double sum = 0;
    for (int k = 0; k < 16; ++k) {
      const int half = k / 8, lane = k % 8 / 2, odd = k % 2;
      sum += static_cast<double>(half_of<X>(left[half][lane], 2 * upper + odd)) *
             half_of<X>(right[column][lane], 2 * half + odd);
    }
    d[i] = static_cast<float>(d[i] + sum);
  }
}

inline const uint16_t* row_named_by(int lane) {
  const auto* row = from_word<const uint16_t*>(published_by(lane));
  return reinterpret_cast<uintptr_t>(row) % 16 == 0 ? row : nullptr;  // as a card faults
}

inline void load_matrices(unsigned (&out)[4], const void* row) {
  publish_to_warp(to_word(row), kFullWarp);
  const int g = lane_of_thread() / 4, t = lane_of_thread() % 4;
  for (int i = 0; i < 4; ++i) {
    const uint16_t* values = row_named_by(8 * i + g) + 2 * t;
    out[i] = values[0] | static_cast<unsigned>(values[1]) << 16;
  }
}

inline void load_matrices_transposed(unsigned (&out)[4], const void* row) {
  publish_to_warp(to_word(row), kFullWarp);
  const int g = lane_of_thread() / 4, t = lane_of_thread() % 4;
  for (int i = 0; i < 4; ++i) {
    const unsigned low = row_named_by(8 * i + 2 * t)[g];
    out[i] = low | static_cast<unsigned>(row_named_by(8 * i + 2 * t + 1)[g]) << 16;
  }
}

#endif

}  // namespace sparrow::SPARROW_GPU_NAMESPACE

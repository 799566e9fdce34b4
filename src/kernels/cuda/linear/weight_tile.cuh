#pragma once
// Weight tiles of products on the matrix units (gemm_matrix_units.cu): from the formats of device
// memory to 16-bit values in shared memory. Integers go in as they are, exactly; their scales stay
// apart. A gated product interleaves 16 rows of the gate and 16 of `up`, so that the same warp has
// both. For this folder.

#include "kernels/cuda/linear/choose_linear_kernel.h"
#include "kernels/cuda/linear/linear_work.cuh"
#include "kernels/cuda/mma.cuh"

namespace sparrow::SPARROW_GPU_NAMESPACE {

inline constexpr int kDepth = kMatrixUnitsDepth;
inline constexpr int kPitch = kDepth + 8;  // values: eight rows of 80 bytes touch every bank once
inline constexpr int kFragmentRows = 16;
inline constexpr int kPiece = 8;  // values of 16 bytes in shared memory
inline constexpr int kPiecesPerRow = kDepth / kPiece;

struct RowName {
  const GpuMatrix& matrix;
  int row;  // may lie beyond the last
};

// What lies in row `slot` of the weight tile.
template <int kTileRows, bool kGated>
__device__ __forceinline__ RowName row_of_slot(const LinearWork& work, int slot) {
  const int tile = static_cast<int>(blockIdx.x);
  if constexpr (!kGated) return {work.matrix, tile * kTileRows + slot};
  const int row =
      tile * (kTileRows / 2) + slot / (2 * kFragmentRows) * kFragmentRows + slot % kFragmentRows;
  return {slot / kFragmentRows % 2 == 0 ? work.matrix : work.up, row};
}

// Two small integers as 16-bit floats, exactly.
template <typename X>
__device__ __forceinline__ unsigned pack_integers(int low, int high) {
  X low_half, high_half;
  from_float(static_cast<float>(low), low_half);
  from_float(static_cast<float>(high), high_half);
  return low_half.bits | static_cast<unsigned>(high_half.bits) << 16;
}

// A thread's weights of the next tile: they are loaded before the tile at hand is used, and stored
// after it. Plain weights go by AsyncCopies.
template <typename X, bool kGated, int kTileRows, int kThreads>
struct PlainWeights {
  static constexpr bool kHasScales = false;
  __device__ void load(const LinearWork& work, int k_begin, uint16_t (*tile)[kPitch],
                       AsyncCopies& copies) {
    for (int i = static_cast<int>(threadIdx.x); i < kTileRows * kPiecesPerRow; i += kThreads) {
      const int slot = i / kPiecesPerRow, k = i % kPiecesPerRow * kPiece;
      const RowName name = row_of_slot<kTileRows, kGated>(work, slot);
      const int row = min(name.row, name.matrix.rows - 1);
      const auto* values = static_cast<const uint16_t*>(name.matrix.values);
      copies.add(&tile[slot][k], values + int64_t{row} * name.matrix.cols + k_begin + k,
                 name.row < name.matrix.rows);
    }
  }
  __device__ void store(uint16_t (*)[kPitch], float*) const {}
};

// One thread a row or two, which have half of it each.
template <typename X, bool kGated, int kTileRows, int kThreads, bool kInt4>
struct IntegerWeights {
  static constexpr bool kHasScales = true;
  static constexpr int kThreadsPerRow = kThreads / kTileRows;
  static constexpr int kInputs = kDepth / kThreadsPerRow;
  static constexpr int kWords = kInputs / (kInt4 ? 8 : 4);
  static_assert(kThreads % kTileRows == 0 && (kInputs == 16 || kInputs == 32));

  __device__ void load(const LinearWork& work, int k_begin, uint16_t (*)[kPitch], AsyncCopies&) {
    const int slot = static_cast<int>(threadIdx.x) / kThreadsPerRow;
    const int part = static_cast<int>(threadIdx.x) % kThreadsPerRow;
    const RowName name = row_of_slot<kTileRows, kGated>(work, slot);
    const GpuMatrix& matrix = name.matrix;
    const int64_t row = min(name.row, matrix.rows - 1);
    const int64_t group = row * (matrix.cols / matrix.group) + k_begin / matrix.group;
    scale_ = name.row < matrix.rows ? scale_at(matrix, group) : 0.0f;
    const int64_t at = row * matrix.cols + k_begin + part * kInputs;
    if constexpr (kInt4) zero_ = zero_at(matrix, group);
    if constexpr (kWords == 2) {
      const uint2 words = static_cast<const uint2*>(matrix.values)[at / 16];
      words_[0] = words.x;
      words_[1] = words.y;
    } else {
      const auto* pieces = static_cast<const uint4*>(matrix.values) + at / (kInt4 ? 32 : 16);
#pragma unroll
      for (int i = 0; i < kWords / 4; ++i) {
        const uint4 words = pieces[i];
        words_[4 * i] = words.x;
        words_[4 * i + 1] = words.y;
        words_[4 * i + 2] = words.z;
        words_[4 * i + 3] = words.w;
      }
    }
  }

  __device__ void store(uint16_t (*tile)[kPitch], float* scales) const {
    const int slot = static_cast<int>(threadIdx.x) / kThreadsPerRow;
    const int part = static_cast<int>(threadIdx.x) % kThreadsPerRow;
    unsigned packed[kInputs / 2];
#pragma unroll
    for (int i = 0; i < kInputs / 2; ++i) {
      packed[i] = kInt4 ? pair_of_int4(i) : pair_of_int8(i);
    }
    auto* out = reinterpret_cast<uint4*>(&tile[slot][part * kInputs]);
#pragma unroll
    for (int i = 0; i < kInputs / kPiece; ++i) {
      const unsigned* words = packed + 4 * i;
      out[i] = make_uint4(words[0], words[1], words[2], words[3]);
    }
    if (part == 0) scales[slot] = scale_;
  }

 private:
  __device__ unsigned pair_of_int8(int i) const {
    const unsigned word = words_[i / 2];
    const int shift = i % 2 * 16;
    return pack_integers<X>(static_cast<int8_t>(word >> shift & 0xffu),
                            static_cast<int8_t>(word >> (shift + 8) & 0xffu));
  }
  __device__ unsigned pair_of_int4(int i) const {
    const unsigned pair = words_[i / 4] >> shift_of_nibble(i % 4 * 2) & 0x000f000fu;
    return pack_integers<X>(static_cast<int>(pair & 15u) - zero_,
                            static_cast<int>(pair >> 16) - zero_);
  }

  unsigned words_[kWords] = {};
  float scale_ = 0;
  int zero_ = 0;
};
template <typename X, bool kGated, int kTileRows, int kThreads>
using Int8Weights = IntegerWeights<X, kGated, kTileRows, kThreads, false>;
template <typename X, bool kGated, int kTileRows, int kThreads>
using Int4Weights = IntegerWeights<X, kGated, kTileRows, kThreads, true>;

}  // namespace sparrow::SPARROW_GPU_NAMESPACE

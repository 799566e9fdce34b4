#pragma once
// RowBlocking: how many rows of a matrix one thread block of the matrix-vector kernel computes, so
// that the blocks fill the streaming multiprocessors (SMs) evenly, and into how many slices its
// columns are cut when the rows alone are too few. A decode step is bound by memory: an SM without
// a block is bandwidth unused.
//
// Depends on the matrix and the card alone, never on the batch: sums keep their order, so the bits
// of a row do not depend on its neighbours.
//
//   const RowBlocking blocking = choose_row_blocking(1536, 1536, 132);   // 12 rows: 128 blocks
//
// Pure; thread-safe.

#include <cstdint>

namespace sparrow {

inline constexpr int32_t kRowBlockStep = 4;      // rows of a block are a multiple: four warps, or
inline constexpr int32_t kMaxRowsPerBlock = 16;  // one warp for up to four rows
// Borders of column slices: a whole group of every quantized format.
inline constexpr int32_t kSliceColumns = 128;
inline constexpr int32_t kMaxSplitK = 8;

struct RowBlocking {
  int32_t rows_per_block = 0;
  int32_t split_k = 1;     // slices of the columns; partial sums are added in the order of slices
  int32_t slice_cols = 0;  // columns of a slice; the last one may have fewer
  int32_t num_blocks = 0;  // of all slices
  // Work there is, over what all SMs do in the time of the busiest one; 1 is perfect.
  double sm_share = 0;
};

// rows, cols and num_sms are at least 1.
RowBlocking choose_row_blocking(int32_t rows, int32_t cols, int32_t num_sms);

}  // namespace sparrow

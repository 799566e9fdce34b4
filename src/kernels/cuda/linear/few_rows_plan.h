#pragma once
// How few_rows.cu cuts a product: tiles of neighbouring rows of W, a block of its own for each
// multiprocessor, which takes every num_blocks-th tile. Pure.

#include <cstddef>
#include <cstdint>

#include "kernels/cuda/gpu_linear.h"

namespace sparrow {

inline constexpr int32_t kFewRowsWarps = 16;
inline constexpr int32_t kFewRowsZeros = 128;   // 16-bit zeros: the inputs of one window
inline constexpr int32_t kFewRowsMmaRows = 16;  // of W, in one mma: of a gated product 8 of each

struct FewRowsPlan {
  int32_t tile_rows = 0;  // outputs of a tile
  int32_t num_tiles = 0;
  int32_t num_blocks = 0;
};

// The busiest block decides: of 8 to 16 rows a tile (4 to 8 pairs) those with which it streams
// least. A tile costs as much as half a row of plain weights more; integers are bound by the
// arithmetic that unpacks them, which takes as long for a tile that is not full: as four rows. An
// H200's 132 multiprocessors: 16 of 2,048 rows (128 tiles), 12 of 1,536 (128 tiles), 7 of 8,960
// pairs (1,280 tiles; 8 of integers).
constexpr FewRowsPlan plan_few_rows(int32_t rows, bool is_paired, bool is_plain, int32_t num_sms) {
  const int32_t most = is_paired ? kFewRowsMmaRows / 2 : kFewRowsMmaRows;
  FewRowsPlan best;
  int64_t best_cost = 0;
  for (int32_t tile_rows = most; tile_rows >= most / 2; --tile_rows) {
    const int32_t num_tiles = (rows + tile_rows - 1) / tile_rows;
    const int64_t turns = (num_tiles + num_sms - 1) / num_sms;
    const int64_t cost = turns * (2 * tile_rows + (is_plain ? 1 : 8));
    if (best.tile_rows != 0 && cost >= best_cost) continue;
    best_cost = cost;
    best = {tile_rows, num_tiles, num_tiles < num_sms ? num_tiles : num_sms};
  }
  return best;
}

constexpr int32_t few_rows_window_inputs(GpuWeightFormat format) {  // in 64 bytes of a row
  if (format == GpuWeightFormat::kInt4) return 128;
  return format == GpuWeightFormat::kInt8 ? 64 : 32;
}

// The shared memory of a block: x, as 16 bits, and what the warps of two tiles add up.
constexpr int32_t few_rows_x_stride(GpuWeightFormat format, int32_t cols) {
  // Whole windows; then so that the rows of x that a warp reads at once lie in different banks:
  // 4 lanes of a row read 64 bytes of it (32 of int8).
  const int32_t window = few_rows_window_inputs(format);
  const int32_t whole = (cols + window - 1) / window * window;
  if (format == GpuWeightFormat::kInt8) return whole + 16;
  return whole % 64 == 0 ? whole + 32 : whole;
}
constexpr size_t few_rows_shared_bytes(GpuWeightFormat format, int32_t cols, int32_t num_rows) {
  const size_t x = static_cast<size_t>(few_rows_x_stride(format, cols)) * 2;
  const size_t sums = 2 * kFewRowsWarps * kFewRowsMmaRows * sizeof(float);
  // Beside them the kernel holds sums of squares (few_rows.cu), which the card counts, too.
  const size_t squares = 8 * kFewRowsWarps * sizeof(float);
  return kFewRowsZeros * 2 + static_cast<size_t>(num_rows) * (x + sums) + squares;
}

}  // namespace sparrow

#include "model/cuda/row_blocking.h"

#include <algorithm>

#include "base/check.h"

namespace sparrow {
namespace {

// More rows per block read the activations less often and have fewer block edges: worth this much
// imbalance.
constexpr double kWorthMoreRows = 0.01;
// A second pass over partial sums is worth it only where the rows leave this much of the chip idle,
// and the slices gain at least kWorthSplitting.
constexpr double kStarved = 0.85;
constexpr double kWorthSplitting = 0.10;

int32_t divide_up(int32_t value, int32_t divisor) {
  return value / divisor + (value % divisor > 0);
}

RowBlocking make_blocking(int32_t rows, int32_t cols, int32_t num_sms, int32_t rows_per_block,
                          int32_t split_k) {
  RowBlocking blocking;
  blocking.rows_per_block = rows_per_block;
  blocking.slice_cols = cols;
  if (split_k > 1) {
    blocking.slice_cols = divide_up(divide_up(cols, split_k), kSliceColumns) * kSliceColumns;
  }
  blocking.split_k = divide_up(cols, blocking.slice_cols);
  blocking.num_blocks = divide_up(rows, rows_per_block) * blocking.split_k;
  const double work = static_cast<double>(rows) * cols;
  const double busiest = static_cast<double>(divide_up(blocking.num_blocks, num_sms)) *
                         rows_per_block * std::min(blocking.slice_cols, cols);
  blocking.sm_share = work / (busiest * num_sms);
  return blocking;
}

// The best block height for this many slices.
RowBlocking best_height(int32_t rows, int32_t cols, int32_t num_sms, int32_t split_k) {
  RowBlocking best = make_blocking(rows, cols, num_sms, kRowBlockStep, split_k);
  double best_share = best.sm_share;
  for (int32_t height = kRowBlockStep; height <= kMaxRowsPerBlock; height += kRowBlockStep) {
    const RowBlocking blocking = make_blocking(rows, cols, num_sms, height, split_k);
    best_share = std::max(best_share, blocking.sm_share);
  }
  for (int32_t height = kRowBlockStep; height <= kMaxRowsPerBlock; height += kRowBlockStep) {
    const RowBlocking blocking = make_blocking(rows, cols, num_sms, height, split_k);
    if (blocking.sm_share >= best_share - kWorthMoreRows) best = blocking;
  }
  return best;
}

}  // namespace

RowBlocking choose_row_blocking(int32_t rows, int32_t cols, int32_t num_sms) {
  CHECK(rows >= 1 && cols >= 1 && num_sms >= 1);
  RowBlocking best = best_height(rows, cols, num_sms, 1);
  if (best.sm_share >= kStarved) return best;
  for (int32_t split_k = 2; split_k <= kMaxSplitK; split_k *= 2) {
    if (cols < split_k * kSliceColumns) break;
    const RowBlocking split = best_height(rows, cols, num_sms, split_k);
    if (split.sm_share >= best.sm_share + kWorthSplitting) best = split;
  }
  return best;
}

}  // namespace sparrow

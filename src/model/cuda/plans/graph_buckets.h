#pragma once
// GraphBuckets: the batch sizes for which the CUDA executor captures a graph of its decode step. A
// step of n rows replays the graph of the smallest bucket that holds them, with padding rows.
//
// 1..8 each, 16, then steps of 8 up to 64, of 32 up to 256 and of 64 beyond; the last one is the
// largest batch itself. Up to 8 rows a step is bound by memory and launches, and single streams are
// what people notice: no padding. From 9 on a padding row costs attention and logits only, the
// weights are read once whatever the batch. What is padded at worst, by range of rows:
//   1..8: nothing   9..16: 7 of 9   17..64: 7 of 17   65..256: 31 of 65   257..: 63 of 257
//
// Immutable; thread-safe.

#include <cstdint>
#include <span>
#include <vector>

namespace sparrow {

inline constexpr int32_t kMaxGraphRows = 4096;  // the largest --max-num-seqs
inline constexpr int32_t kMaxGraphs = 81;       // buckets of kMaxGraphRows: 8 + 1 + 6 + 6 + 60

class GraphBuckets {
 public:
  // 1 <= max_rows <= kMaxGraphRows
  explicit GraphBuckets(int32_t max_rows);

  std::span<const int32_t> sizes() const { return sizes_; }  // ascending
  // The smallest bucket of at least num_rows rows; 1 <= num_rows <= max_rows.
  int32_t bucket_for(int32_t num_rows) const;
  // Its index in sizes().
  int32_t index_for(int32_t num_rows) const;

 private:
  std::vector<int32_t> sizes_;
};

}  // namespace sparrow

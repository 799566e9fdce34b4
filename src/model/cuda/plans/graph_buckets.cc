#include "model/cuda/plans/graph_buckets.h"

#include <algorithm>

#include "base/check.h"

namespace sparrow {
namespace {

int32_t next_bucket(int32_t rows) {
  if (rows < 8) return rows + 1;
  if (rows < 64) return rows + 8;
  return rows + (rows < 256 ? 32 : 64);
}

}  // namespace

GraphBuckets::GraphBuckets(int32_t max_rows) {
  CHECK(max_rows >= 1 && max_rows <= kMaxGraphRows);
  for (int32_t rows = 1; rows < max_rows; rows = next_bucket(rows)) sizes_.push_back(rows);
  sizes_.push_back(max_rows);
  CHECK(sizes_.size() <= static_cast<size_t>(kMaxGraphs));
}

int32_t GraphBuckets::index_for(int32_t num_rows) const {
  CHECK(num_rows >= 1 && num_rows <= sizes_.back());
  const auto found = std::lower_bound(sizes_.begin(), sizes_.end(), num_rows);
  return static_cast<int32_t>(found - sizes_.begin());
}

int32_t GraphBuckets::bucket_for(int32_t num_rows) const {
  return sizes_[static_cast<size_t>(index_for(num_rows))];
}

}  // namespace sparrow

#include "model/cuda/plans/graph_buckets.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

namespace sparrow {
namespace {

std::vector<int32_t> sizes_of(int32_t max_rows) {
  const GraphBuckets buckets(max_rows);
  return std::vector<int32_t>(buckets.sizes().begin(), buckets.sizes().end());
}

TEST(GraphBuckets, UsualBatches_AreTheSizesOfTheHeader) {
  EXPECT_EQ(sizes_of(1), (std::vector<int32_t>{1}));
  EXPECT_EQ(sizes_of(4), (std::vector<int32_t>{1, 2, 3, 4}));
  EXPECT_EQ(sizes_of(64),
            (std::vector<int32_t>{1, 2, 3, 4, 5, 6, 7, 8, 16, 24, 32, 40, 48, 56, 64}));
  EXPECT_EQ(sizes_of(320),
            (std::vector<int32_t>{1,  2,  3,  4,  5,  6,   7,   8,   16,  24,  32,
                                  40, 48, 56, 64, 96, 128, 160, 192, 224, 256, 320}));
}

TEST(GraphBuckets, LargestBatchBetweenSteps_IsABucketOfItsOwn) {
  EXPECT_EQ(sizes_of(12), (std::vector<int32_t>{1, 2, 3, 4, 5, 6, 7, 8, 12}));
  EXPECT_EQ(sizes_of(100).back(), 100);
  EXPECT_EQ(GraphBuckets(100).bucket_for(97), 100);
}

TEST(GraphBuckets, EveryBatch_TakesTheSmallestBucketThatHoldsIt) {
  for (const int32_t max_rows : {1, 7, 8, 9, 16, 63, 64, 65, 256, 257, 1000, kMaxGraphRows}) {
    const GraphBuckets buckets(max_rows);
    for (int32_t rows = 1; rows <= max_rows; ++rows) {
      int32_t expected = 0;
      for (const int32_t size : buckets.sizes()) {
        if (expected == 0 && size >= rows) expected = size;
      }
      ASSERT_EQ(buckets.bucket_for(rows), expected) << rows << " of " << max_rows;
      ASSERT_EQ(buckets.sizes()[static_cast<size_t>(buckets.index_for(rows))], expected);
    }
  }
}

// The worst padding of each range, exactly as the header says.
TEST(GraphBuckets, Padding_IsAtWorstWhatTheHeaderSays) {
  const GraphBuckets buckets(kMaxGraphRows);
  const struct {
    int32_t begin, end, padding, rows;
  } ranges[] = {{1, 9, 0, 1},
                {9, 17, 7, 9},
                {17, 65, 7, 17},
                {65, 257, 31, 65},
                {257, kMaxGraphRows + 1, 63, 257}};
  for (const auto& range : ranges) {
    double worst = 0;
    for (int32_t rows = range.begin; rows < range.end; ++rows) {
      worst = std::max(worst, static_cast<double>(buckets.bucket_for(rows) - rows) / rows);
    }
    EXPECT_DOUBLE_EQ(worst, static_cast<double>(range.padding) / range.rows) << range.begin;
  }
}

TEST(GraphBuckets, NumberOfGraphs_HasTheBoundOfTheHeader) {
  EXPECT_EQ(sizes_of(kMaxGraphRows).size(), static_cast<size_t>(kMaxGraphs));
  for (int32_t max_rows = 1; max_rows < kMaxGraphRows; ++max_rows) {
    ASSERT_LE(sizes_of(max_rows).size(), static_cast<size_t>(kMaxGraphs)) << max_rows;
  }
}

}  // namespace
}  // namespace sparrow

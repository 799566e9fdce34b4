#include "model/cuda/row_blocking.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "base/random.h"

namespace sparrow {
namespace {

struct Expected {
  const char* matrix;
  int32_t rows, cols, num_sms;
  int32_t rows_per_block, num_blocks;
  double sm_share;  // rounded to three digits
};

// The matrices of R1-distill-Qwen-1.5B. H200: the table of the design notes (97 %, 97 %, 99.8 %,
// 99.9 %). The others by the same arithmetic: T4 40 SMs, A10G 80, RTX 3060 28.
constexpr Expected kExpected[] = {
    {"qkv", 2048, 1536, 132, 16, 128, 0.970},      {"o", 1536, 1536, 132, 12, 128, 0.970},
    {"gate+up", 17920, 1536, 132, 8, 2240, 0.998}, {"down", 1536, 8960, 132, 12, 128, 0.970},
    {"head", 151936, 1536, 132, 16, 9496, 0.999},  {"qkv", 2048, 1536, 40, 4, 512, 0.985},
    {"o", 1536, 1536, 40, 8, 192, 0.960},          {"gate+up", 17920, 1536, 40, 16, 1120, 1.0},
    {"head", 151936, 1536, 40, 16, 9496, 0.997},   {"qkv", 2048, 1536, 80, 4, 512, 0.914},
    {"o", 1536, 1536, 80, 4, 384, 0.960},          {"gate+up", 17920, 1536, 80, 16, 1120, 1.0},
    {"down", 1536, 8960, 80, 4, 384, 0.960},       {"qkv", 2048, 1536, 28, 4, 512, 0.962},
    {"o", 1536, 1536, 28, 8, 192, 0.980},          {"gate+up", 17920, 1536, 28, 16, 1120, 1.0},
    {"head", 151936, 1536, 28, 16, 9496, 0.997},
};

TEST(RowBlocking, MatricesOfR1OnKnownCards_AreThoseOfTheDesignNotes) {
  for (const Expected& expected : kExpected) {
    const RowBlocking blocking =
        choose_row_blocking(expected.rows, expected.cols, expected.num_sms);
    SCOPED_TRACE(testing::Message() << expected.matrix << " on " << expected.num_sms << " SMs");
    EXPECT_EQ(blocking.rows_per_block, expected.rows_per_block);
    EXPECT_EQ(blocking.num_blocks, expected.num_blocks);
    EXPECT_EQ(blocking.split_k, 1);
    EXPECT_NEAR(blocking.sm_share, expected.sm_share, 0.0005);
  }
}

TEST(RowBlocking, TooFewRowsForTheChip_CutsTheColumns) {
  // Two KV heads of 128 rows alone: 64 blocks of 4 rows for 132 SMs.
  const RowBlocking heads = choose_row_blocking(256, 1536, 132);
  EXPECT_EQ(heads.split_k, 2);
  EXPECT_EQ(heads.slice_cols, 768);
  EXPECT_EQ(heads.num_blocks, 128);
  // Nothing to cut: one slice of columns.
  const RowBlocking tiny = choose_row_blocking(64, 64, 132);
  EXPECT_EQ(tiny.split_k, 1);
  EXPECT_EQ(tiny.num_blocks, 16);
}

// Walks the blocks as a kernel would: each (row, column) belongs to exactly one block, slices begin
// at whole groups, and the busiest SM has the work that sm_share says.
TEST(RowBlocking, RandomMatrices_AreCoveredOnceAndAsEvenlyAsSaid) {
  for (uint64_t round = 0; round < 2000; ++round) {
    const auto draw = [&](uint64_t stream, uint64_t bound) {
      return static_cast<int32_t>(1 + random_bits(round, stream, 0) % bound);
    };
    const int32_t rows = draw(0, 6000), cols = draw(1, 10000), num_sms = draw(2, 150);
    const RowBlocking blocking = choose_row_blocking(rows, cols, num_sms);
    SCOPED_TRACE(testing::Message() << rows << " x " << cols << " on " << num_sms);
    ASSERT_EQ(blocking.rows_per_block % kRowBlockStep, 0);
    ASSERT_LE(blocking.rows_per_block, kMaxRowsPerBlock);
    ASSERT_LE(blocking.split_k, kMaxSplitK);
    const int32_t row_blocks = blocking.num_blocks / blocking.split_k;
    ASSERT_EQ(row_blocks * blocking.split_k, blocking.num_blocks);
    ASSERT_GE(row_blocks * blocking.rows_per_block, rows);
    ASSERT_LT((row_blocks - 1) * blocking.rows_per_block, rows);
    ASSERT_GE(blocking.split_k * blocking.slice_cols, cols);
    ASSERT_LT((blocking.split_k - 1) * blocking.slice_cols, cols);
    ASSERT_TRUE(blocking.split_k == 1 || blocking.slice_cols % kSliceColumns == 0);
    std::vector<double> work(static_cast<size_t>(num_sms));
    for (int32_t block = 0; block < blocking.num_blocks; ++block) {
      work[static_cast<size_t>(block % num_sms)] +=
          static_cast<double>(blocking.rows_per_block) * blocking.slice_cols;
    }
    const double busiest = *std::max_element(work.begin(), work.end());
    EXPECT_NEAR(blocking.sm_share, static_cast<double>(rows) * cols / (busiest * num_sms), 1e-12);
    // Never worse than the plainest choice by more than the 1 % that taller blocks are worth.
    const double blocks_of_four = (rows + 3) / 4;
    const double waves = (static_cast<int64_t>(blocks_of_four) + num_sms - 1) / num_sms;
    EXPECT_GE(blocking.sm_share, rows / (waves * num_sms * 4) - 0.01 - 1e-12);
  }
}

}  // namespace
}  // namespace sparrow

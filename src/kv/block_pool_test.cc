#include "kv/block_pool.h"

#include <gtest/gtest.h>

#include <set>

namespace sparrow {
namespace {

TEST(BlockPool, Allocate_GivesDistinctBlocksUntilEmpty) {
  BlockPool pool(5);
  std::vector<BlockId> blocks;
  EXPECT_TRUE(pool.try_allocate(3, blocks));
  EXPECT_FALSE(pool.try_allocate(3, blocks)) << "all or nothing";
  EXPECT_EQ(blocks.size(), 3u);
  EXPECT_TRUE(pool.try_allocate(2, blocks));
  EXPECT_EQ(std::set<BlockId>(blocks.begin(), blocks.end()), (std::set<BlockId>{0, 1, 2, 3, 4}));
  EXPECT_EQ(pool.num_free(), 0);
  pool.check_integrity();
}

TEST(BlockPool, SharedBlock_IsFreeAfterTheLastHolder) {
  BlockPool pool(2);
  std::vector<BlockId> blocks;
  ASSERT_TRUE(pool.try_allocate(1, blocks));
  pool.add_holder(blocks[0]);
  pool.release(blocks);
  EXPECT_EQ(pool.num_used(), 1);
  pool.release(blocks);
  EXPECT_EQ(pool.num_used(), 0);
  pool.check_integrity();
}

TEST(BlockPoolDeathTest, DoubleRelease_IsCaught) {
  BlockPool pool(1);
  std::vector<BlockId> blocks;
  ASSERT_TRUE(pool.try_allocate(1, blocks));
  pool.release(blocks);
  EXPECT_DEATH(pool.release(blocks), "CHECK failed");
}

}  // namespace
}  // namespace sparrow

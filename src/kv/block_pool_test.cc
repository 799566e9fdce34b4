#include "kv/block_pool.h"

#include <gtest/gtest.h>

#include <set>

namespace sparrow {
namespace {

TEST(BlockPool, Allocate_GivesDistinctBlocksUntilEmpty) {
  BlockPool pool(5, 4);
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
  BlockPool pool(2, 4);
  std::vector<BlockId> blocks;
  ASSERT_TRUE(pool.try_allocate(1, blocks));
  pool.add_holder(blocks[0]);
  pool.release(blocks);
  EXPECT_EQ(pool.num_used(), 1);
  pool.release(blocks);
  EXPECT_EQ(pool.num_used(), 0);
  pool.check_integrity();
}

// A block of four tokens at the start of a prefix, or behind another block.
PrefixPlace place(uint64_t hash, BlockId parent = kNoBlock) { return {{}, {hash, 0}, parent}; }
constexpr TokenId kTokens[] = {1, 2, 3, 4};

TEST(BlockPool, PublishedBlock_IsCachedAndCanBeTakenUpAgain) {
  BlockPool pool(3, 4);
  std::vector<BlockId> blocks;
  ASSERT_TRUE(pool.try_allocate(2, blocks));
  EXPECT_EQ(pool.publish(blocks[0], place(1), kTokens, 0), blocks[0]);
  pool.release(blocks);
  EXPECT_EQ(pool.num_cached(), 1);
  EXPECT_EQ(pool.num_free(), 2);
  EXPECT_EQ(pool.num_used(), 0);
  const BlockId found = pool.find(place(1), kTokens);
  EXPECT_EQ(found, blocks[0]);
  pool.add_holder(found);
  EXPECT_EQ(pool.num_cached(), 0);
  EXPECT_EQ(pool.num_used(), 1);
  pool.check_integrity();
}

TEST(BlockPool, SameContentsTwice_MovesTheSecondHolder) {
  BlockPool pool(2, 4);
  std::vector<BlockId> blocks;
  ASSERT_TRUE(pool.try_allocate(2, blocks));
  pool.publish(blocks[0], place(1), kTokens, 0);
  EXPECT_EQ(pool.publish(blocks[1], place(1), kTokens, 0), blocks[0]);
  EXPECT_EQ(pool.num_holders(blocks[0]), 2);
  EXPECT_EQ(pool.num_free(), 1);
  pool.check_integrity();
}

TEST(BlockPool, Allocation_TakesFreeBlocksThenTheEndOfTheOldestPrefix) {
  BlockPool pool(3, 4);
  std::vector<BlockId> blocks;
  ASSERT_TRUE(pool.try_allocate(2, blocks));
  pool.publish(blocks[0], place(1), kTokens, 0);
  pool.publish(blocks[1], place(2, blocks[0]), kTokens, 0);
  pool.release(blocks);
  std::vector<BlockId> taken;
  ASSERT_TRUE(pool.try_allocate(2, taken));
  EXPECT_EQ(taken.back(), blocks[1]);
  EXPECT_EQ(pool.num_evictions(), 1u);
  EXPECT_EQ(pool.find(place(1), kTokens), blocks[0]) << "the start of the prefix is still there";
  EXPECT_EQ(pool.find(place(2, blocks[0]), kTokens), kNoBlock);
  pool.check_integrity();
}

// Found by simulation: a child outlived its parent in another owner's list and kept its hash.
TEST(BlockPool, OrphanOfAnotherOwner_MakesWayForTheSameContents) {
  BlockPool pool(4, 4);
  std::vector<BlockId> blocks;
  ASSERT_TRUE(pool.try_allocate(3, blocks));
  pool.publish(blocks[0], place(1), kTokens, 1);
  pool.publish(blocks[1], place(2, blocks[0]), kTokens, 2);
  pool.publish(blocks[2], place(3), kTokens, 1);
  for (const BlockId block : blocks) pool.release(std::span(&block, 1));
  std::vector<BlockId> again;
  ASSERT_TRUE(pool.try_allocate(2, again));
  ASSERT_EQ(again[1], blocks[0]) << "the owner with more blocks gave up the parent";
  pool.publish(again[0], place(1), kTokens, 1);
  pool.publish(again[1], place(2, again[0]), kTokens, 1);
  EXPECT_EQ(pool.find(place(2, again[0]), kTokens), again[1]);
  EXPECT_EQ(pool.num_free(), 1) << "the orphan";
  pool.check_integrity();
}

TEST(BlockPool, ForgottenBlock_IsFreeAndNotFound) {
  BlockPool pool(2, 4);
  std::vector<BlockId> blocks;
  ASSERT_TRUE(pool.try_allocate(2, blocks));
  pool.publish(blocks[0], place(1), kTokens, 0);
  pool.publish(blocks[1], place(2, blocks[0]), kTokens, 0);
  pool.release(std::span(blocks).last(1));
  pool.forget(blocks);
  EXPECT_EQ(pool.find(place(1), kTokens), kNoBlock);
  EXPECT_EQ(pool.num_free(), 1);
  pool.release(std::span(blocks).first(1));
  EXPECT_EQ(pool.num_free(), 2);
  pool.check_integrity();
}

TEST(BlockPoolDeathTest, DoubleRelease_IsCaught) {
  BlockPool pool(1, 4);
  std::vector<BlockId> blocks;
  ASSERT_TRUE(pool.try_allocate(1, blocks));
  pool.release(blocks);
  EXPECT_DEATH(pool.release(blocks), "CHECK failed");
}

}  // namespace
}  // namespace sparrow

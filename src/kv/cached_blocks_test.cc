#include "kv/cached_blocks.h"

#include <gtest/gtest.h>

namespace sparrow {
namespace {

TEST(CachedBlocks, OneOwner_GivesUpTheLeastRecentlyUsed) {
  CachedBlocks cached(8, 100);
  for (const BlockId block : {3, 1, 5}) cached.add(block, 0);
  cached.remove(1);
  cached.add(1, 0);
  EXPECT_EQ(cached.take_victim(), 3);
  EXPECT_EQ(cached.take_victim(), 5);
  EXPECT_EQ(cached.take_victim(), 1);
  EXPECT_EQ(cached.size(), 0);
}

TEST(CachedBlocks, LargestOwner_PaysFirst) {
  CachedBlocks cached(8, 100);
  cached.add(0, 1);
  for (const BlockId block : {1, 2, 3}) cached.add(block, 2);
  EXPECT_EQ(cached.take_victim(), 1) << "older is the other owner's, who has fewer";
  EXPECT_EQ(cached.take_victim(), 2);
  EXPECT_EQ(cached.size_of(1), 1);
  EXPECT_EQ(cached.size_of(2), 1);
}

TEST(CachedBlocks, NobodyKeepsAShareForEver) {
  CachedBlocks cached(16, 10);
  cached.add(0, 1);
  for (int round = 0; round < 5; ++round) {
    cached.add(1, 2);
    cached.add(2, 2);
    EXPECT_EQ(cached.take_victim(), 1) << "the other owner has one, this one two";
    cached.remove(2);
  }
  cached.add(1, 2);
  cached.add(2, 2);
  EXPECT_EQ(cached.take_victim(), 0) << "not used while more than ten others came";
}

}  // namespace
}  // namespace sparrow

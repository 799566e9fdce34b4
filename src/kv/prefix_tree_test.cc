#include "kv/prefix_tree.h"

#include <gtest/gtest.h>

#include <array>

namespace sparrow {
namespace {

using Block = std::array<TokenId, 4>;
constexpr Block kOne = {1, 2, 3, 4};
constexpr Block kTwo = {5, 6, 7, 8};

class PrefixTreeTest : public ::testing::Test {
 protected:
  PrefixPlace start(const Block& tokens, const char* salt = "") const {
    const Hash128 root = hasher_.root(salt);
    return {root, hasher_.next(root, tokens), kNoBlock};
  }
  PrefixPlace behind(const PrefixPlace& before, BlockId parent, const Block& tokens) const {
    return {before.root, hasher_.next(before.hash, tokens), parent};
  }

  PrefixHasher hasher_{SipKey{1, 2}};
  PrefixTree tree_{8, 4};
};

TEST_F(PrefixTreeTest, FindsABlockAtItsPlaceOnly) {
  const PrefixPlace first = start(kOne);
  const PrefixPlace second = behind(first, 3, kTwo);
  EXPECT_TRUE(tree_.insert(3, first, kOne));
  EXPECT_TRUE(tree_.insert(5, second, kTwo));
  EXPECT_EQ(tree_.find(first, kOne), 3);
  EXPECT_EQ(tree_.find(second, kTwo), 5);
  EXPECT_EQ(tree_.find(start(kTwo), kTwo), kNoBlock) << "the same tokens, but not at the start";
  EXPECT_EQ(tree_.find(start(kOne, "salt"), kOne), kNoBlock);
  tree_.check_integrity();
}

// Whoever finds a hash must also bring the tokens, the salt and the block before.
TEST_F(PrefixTreeTest, CollidingHash_IsAMiss) {
  const PrefixPlace first = start(kOne);
  ASSERT_TRUE(tree_.insert(3, first, kOne));
  EXPECT_EQ(tree_.find(first, kTwo), kNoBlock);
  PrefixPlace other = first;
  other.root = hasher_.root("salt");
  EXPECT_EQ(tree_.find(other, kOne), kNoBlock);
  other = first;
  other.parent = 3;
  EXPECT_EQ(tree_.find(other, kOne), kNoBlock);
  EXPECT_FALSE(tree_.insert(4, first, kTwo)) << "the place of a hash is taken";
  EXPECT_FALSE(tree_.contains(4));
}

TEST_F(PrefixTreeTest, ErasedParent_HidesWhatStandsBehindIt) {
  const PrefixPlace first = start(kOne);
  const PrefixPlace second = behind(first, 3, kTwo);
  ASSERT_TRUE(tree_.insert(3, first, kOne));
  ASSERT_TRUE(tree_.insert(5, second, kTwo));
  tree_.erase(3);
  EXPECT_EQ(tree_.find(second, kTwo), kNoBlock);
  ASSERT_TRUE(tree_.insert(3, start(kTwo), kTwo)) << "block 3 holds something else now";
  EXPECT_EQ(tree_.find(second, kTwo), kNoBlock) << "and is not the parent that it was";
  EXPECT_FALSE(tree_.insert(6, behind(first, 1, kTwo), kTwo)) << "a parent that is not there";
  tree_.check_integrity();
}

}  // namespace
}  // namespace sparrow

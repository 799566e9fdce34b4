#include "engine/loop_check.h"

#include <gtest/gtest.h>

#include <vector>

namespace sparrow {
namespace {

// `head` tokens that do not repeat, then a piece of `period` tokens up to `length` in all.
std::vector<TokenId> text(int head, int period, int length) {
  std::vector<TokenId> tokens;
  for (int i = 0; i < head; ++i) tokens.push_back(1000 + i);
  for (int i = head; i < length; ++i) tokens.push_back((i - head) % period);
  return tokens;
}

TEST(LoopCheck, RepeatedPieceAtTheEnd_IsALoop) {
  EXPECT_TRUE(ends_in_loop(text(100, 1, 148)));
  EXPECT_TRUE(ends_in_loop(text(100, 7, 149))) << "also in the middle of a piece";
  EXPECT_TRUE(ends_in_loop(text(0, 256, 768)));
}

TEST(LoopCheck, ShortOrUnrepeatedEnd_IsNone) {
  EXPECT_FALSE(ends_in_loop({}));
  EXPECT_FALSE(ends_in_loop(text(100, 1, 147))) << "47 tokens may be a row of dots";
  EXPECT_FALSE(ends_in_loop(text(100, 40, 100 + 3 * 40 - 1))) << "not yet three times";
  EXPECT_FALSE(ends_in_loop(text(500, 1, 500)));
  EXPECT_FALSE(ends_in_loop(text(0, 300, 1200))) << "too long a piece to be one";
}

}  // namespace
}  // namespace sparrow

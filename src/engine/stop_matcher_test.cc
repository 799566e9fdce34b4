#include "engine/stop_matcher.h"

#include <gtest/gtest.h>

namespace sparrow {
namespace {

// Feeds `text` in pieces of every size and expects the same result each time.
void expect_all_splits(const std::vector<std::string>& stops, bool include, const std::string& text,
                       const std::string& want, bool want_stop) {
  for (size_t piece = 1; piece <= text.size(); ++piece) {
    StopMatcher matcher(stops, include);
    std::string out;
    bool stopped = false;
    for (size_t at = 0; at < text.size() && !stopped; at += piece) {
      stopped = matcher.push(text.substr(at, piece), out);
    }
    if (!stopped) matcher.flush(out);
    EXPECT_EQ(out, want) << "pieces of " << piece;
    EXPECT_EQ(stopped, want_stop);
  }
}

TEST(StopMatcher, MatchAcrossBorders_EndsTheTextBeforeIt) {
  expect_all_splits({"END"}, false, "abc EEND xyz", "abc E", true);
  expect_all_splits({"END"}, true, "abc EEND xyz", "abc EEND", true);
  expect_all_splits({"\n\n", "停止"}, false, "一二停停止三", "一二停", true);
}

TEST(StopMatcher, FirstMatchWins) {
  expect_all_splits({"cd", "bc"}, false, "abcd", "a", true);
  expect_all_splits({"aab"}, false, "aaab", "a", true);
}

TEST(StopMatcher, CompleteFirst_WinsHoweverTheTextIsCut) {
  expect_all_splits({"abcd", "bc"}, false, "xabcd", "xa", true);
  expect_all_splits({"c", "abc"}, false, "xabc", "x", true);
}

// A comparison at every position would take 10^9 steps here.
TEST(StopMatcher, LongRepetitiveStop_CostsOneStepPerByte) {
  const std::vector<std::string> stops = {std::string(16'000, 'a') + "b"};
  StopMatcher matcher(stops, false);
  std::string out;
  for (int i = 0; i < 200'000; ++i) ASSERT_FALSE(matcher.push("a", out));
  EXPECT_EQ(out.size(), 184'000u) << "as much as the string is long stays held";
  EXPECT_TRUE(matcher.push("b", out));
}

TEST(StopMatcher, NoMatch_GivesEverything) {
  expect_all_splits({"END", "ENOUGH"}, false, "EN ENO ENOUG", "EN ENO ENOUG", false);
  expect_all_splits({}, false, "text", "text", false);
  expect_all_splits({""}, false, "text", "text", false);
}

TEST(StopMatcher, PossibleBeginning_IsHeldBack) {
  const std::vector<std::string> stops = {"END"};
  StopMatcher matcher(stops, false);
  std::string out;
  EXPECT_FALSE(matcher.push("aEN", out));
  EXPECT_EQ(out, "a");
  EXPECT_FALSE(matcher.push("x", out));
  EXPECT_EQ(out, "aENx");
}

}  // namespace
}  // namespace sparrow

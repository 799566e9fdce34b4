#include "admission/degradation.h"

#include <gtest/gtest.h>

namespace sparrow {
namespace {

TimePoint at(double seconds) { return TimePoint{} + from_ms(seconds * 1000); }

LoadSnapshot busy() {
  LoadSnapshot load;
  load.num_running = 4;
  load.num_blocks_total = 100;
  load.num_blocks_live = 50;
  return load;
}

LoadSnapshot with_live(int live) {
  LoadSnapshot load = busy();
  load.num_blocks_live = live;
  return load;
}

RequestShape open_shape() { return {.thinks = true, .max_tokens = 8192, .temperature = 0.6}; }

// Highest level reached under a load that lasts.
int level_after_a_minute(DegradationLadder& ladder, const LoadSnapshot& load) {
  for (int second = 0; second <= 60; ++second) ladder.update(load, at(second));
  return ladder.level();
}

TEST(DegradationLadder, EachTrigger_LeadsAsFarAsItsSeverity) {
  const auto reached = [](auto&& change) {
    LoadSnapshot load = busy();
    change(load);
    DegradationLadder ladder{DegradationOptions{}};
    return level_after_a_minute(ladder, load);
  };
  EXPECT_EQ(reached([](LoadSnapshot&) {}), 0);
  EXPECT_EQ(reached([](LoadSnapshot& l) { l.num_blocks_live = 91; }), 2);
  EXPECT_EQ(reached([](LoadSnapshot& l) { l.num_blocks_live = 100; }), 2) << "full is not lost";
  EXPECT_EQ(reached([](LoadSnapshot& l) { l.num_blocks_cached = 50; }), 0) << "can be given up";
  EXPECT_EQ(reached([](LoadSnapshot& l) { l.foreign_memory_share = 0.5; }), 2);
  EXPECT_EQ(reached([](LoadSnapshot& l) { l.num_deadline_misses_in_a_row = 2; }), 0);
  EXPECT_EQ(reached([](LoadSnapshot& l) { l.num_deadline_misses_in_a_row = 3; }), 2);
  EXPECT_EQ(reached([](LoadSnapshot& l) { l.num_deadline_misses_in_a_row = 900; }), 2)
      << "one client with short deadlines does not stop the answers of all";
  EXPECT_EQ(reached([](LoadSnapshot& l) { l.oldest_wait_ms = 10'000; }), 2);
  EXPECT_EQ(reached([](LoadSnapshot& l) { l.oldest_wait_ms = 30'000; }), 3);
  EXPECT_EQ(reached([](LoadSnapshot& l) { l.oldest_wait_ms = 60'000; }), 4);
  EXPECT_EQ(reached([](LoadSnapshot& l) { l.step_ms_mean = 2000; }), 2);
  EXPECT_EQ(reached([](LoadSnapshot& l) {
              l.num_deadline_misses_in_a_row = 100;
              l.num_running = 0;
            }),
            0)
      << "missed by a load that is gone";
}

TEST(DegradationLadder, OffAndMaxLevel_AreKept) {
  LoadSnapshot load = busy();
  load.oldest_wait_ms = 1e6;
  DegradationLadder off{DegradationOptions{.profile = DegradeProfile::kOff}};
  EXPECT_EQ(level_after_a_minute(off, load), 0);
  DegradationLadder two{DegradationOptions{.max_level = 2}};
  EXPECT_EQ(level_after_a_minute(two, load), 2);
  DegradationLadder no_trigger{DegradationOptions{.queue_age_ms = 0}};
  EXPECT_EQ(level_after_a_minute(no_trigger, load), 0);
}

TEST(DegradationLadder, Severities_AreTheOperatorsChoice) {
  const auto reached = [](double wait_ms, DegradationOptions options) {
    LoadSnapshot load = busy();
    load.oldest_wait_ms = wait_ms;
    DegradationLadder ladder{options};
    return level_after_a_minute(ladder, load);
  };
  const DegradationOptions early{.message_severity = 1.5, .refuse_severity = 2};
  EXPECT_EQ(reached(14'900, early), 2);
  EXPECT_EQ(reached(15'000, early), 3);
  EXPECT_EQ(reached(20'000, early), 4);
  const DegradationOptions late{.message_severity = 50, .refuse_severity = 100};
  EXPECT_EQ(reached(400'000, late), 2);
  EXPECT_EQ(reached(500'000, late), 3);
  const DegradationOptions no_refusal{.refuse_severity = 0};
  EXPECT_EQ(reached(1e9, no_refusal), 3);
  const DegradationOptions neither{.message_severity = 0, .refuse_severity = 0};
  EXPECT_EQ(reached(1e9, neither), 2);
  const DegradationOptions no_message_to_three{.max_level = 3, .message_severity = 0};
  EXPECT_EQ(reached(1e9, no_message_to_three), 2);
  LoadSnapshot full = with_live(100);
  DegradationLadder ladder{DegradationOptions{.message_severity = 1, .refuse_severity = 1}};
  EXPECT_EQ(level_after_a_minute(ladder, full), 2) << "a full cache never leads further";
}

TEST(DegradationLadder, LeftOutMessage_IsSteppedOverBothWays) {
  DegradationLadder ladder{
      DegradationOptions{.message_severity = 0, .raise_ms = 1000, .lower_ms = 1000}};
  LoadSnapshot load = busy();
  load.oldest_wait_ms = 1e6;
  const auto levels = [&](double from) {
    std::vector<int> seen;
    for (double second = from; second < from + 5; ++second) {
      seen.push_back(ladder.update(load, at(second)));
    }
    return seen;
  };
  EXPECT_EQ(levels(0), (std::vector<int>{1, 2, 4, 4, 4}));
  load.oldest_wait_ms = 0;
  EXPECT_EQ(levels(10), (std::vector<int>{4, 2, 1, 0, 0}));
}

TEST(DegradationLadder, OneStepAtATime_UpFastDownSlow) {
  DegradationLadder ladder{DegradationOptions{.raise_ms = 2000, .lower_ms = 5000}};
  LoadSnapshot load = busy();
  EXPECT_EQ(ladder.update(load, at(0)), 0);
  load.oldest_wait_ms = 1e6;
  EXPECT_EQ(ladder.update(load, at(10)), 1);
  EXPECT_EQ(ladder.update(load, at(11.9)), 1);
  EXPECT_EQ(ladder.update(load, at(12)), 2);
  EXPECT_EQ(ladder.update(load, at(14)), 3);
  EXPECT_EQ(ladder.update(load, at(16)), 4);
  load.oldest_wait_ms = 0;
  EXPECT_EQ(ladder.update(load, at(20)), 4) << "calm begins";
  EXPECT_EQ(ladder.update(load, at(24.9)), 4);
  EXPECT_EQ(ladder.update(load, at(25)), 3);
  EXPECT_EQ(ladder.update(load, at(29.9)), 3);
  EXPECT_EQ(ladder.update(load, at(30)), 2);
  EXPECT_EQ(ladder.update(load, at(35)), 1);
  EXPECT_EQ(ladder.update(load, at(40)), 0);
}

TEST(DegradationLadder, LoadAroundTheThreshold_DoesNotMakeItFlap) {
  DegradationLadder ladder{DegradationOptions{}};
  int num_moves = 0;
  int last = 0;
  for (int i = 0; i < 6000; ++i) {  // ten minutes, 88 % and 92 % in turn
    const int level = ladder.update(with_live(i % 2 == 0 ? 92 : 88), at(i * 0.1));
    num_moves += level != last ? 1 : 0;
    last = level;
  }
  EXPECT_EQ(num_moves, 2) << "up to level 2, and there it stays";
  EXPECT_EQ(last, 2);
  // Half of the time really calm: still no faster than a step in five seconds down.
  num_moves = 0;
  for (int i = 6000; i < 12'000; ++i) {
    const int level = ladder.update(with_live(i / 20 % 2 == 0 ? 95 : 40), at(i * 0.1));
    num_moves += level != last ? 1 : 0;
    last = level;
  }
  EXPECT_EQ(num_moves, 0) << "two seconds of calm are none";
}

TEST(DegradationLadder, FullCacheAfterWorse_EndsTheMessagesAgain) {
  DegradationLadder ladder{DegradationOptions{}};
  LoadSnapshot load = with_live(95);
  load.oldest_wait_ms = 40'000;
  EXPECT_EQ(level_after_a_minute(ladder, load), 3);
  load.oldest_wait_ms = 0;
  for (int second = 61; second < 70; ++second) ladder.update(load, at(second));
  EXPECT_EQ(ladder.level(), 2) << "the cache is still full, but answers are computed again";
}

TEST(DegradationLadder, Gentle_ShortensOnlyWhatIsOpen) {
  DegradationLadder ladder{DegradationOptions{}};
  EXPECT_FALSE(ladder.shorten(open_shape()).any());
  ladder.update(with_live(95), at(0));
  ASSERT_EQ(ladder.level(), 1);
  Shortening one = ladder.shorten(open_shape());
  EXPECT_EQ(one.thinking_budget, 1024);
  EXPECT_FALSE(one.max_tokens);
  EXPECT_EQ(one.answer_reserve, 0);
  EXPECT_FALSE(one.temperature);

  ladder.update(with_live(95), at(3));
  ASSERT_EQ(ladder.level(), 2);
  Shortening two = ladder.shorten(open_shape());
  EXPECT_EQ(two.max_tokens, 512);
  EXPECT_EQ(two.answer_reserve, 256) << "512 tokens may all be thought";
  EXPECT_FALSE(two.temperature);
  RequestShape written = open_shape();
  written.max_tokens_open = false;
  written.thinking_budget = 4000;
  EXPECT_FALSE(ladder.shorten(written).any());
  RequestShape budget = open_shape();
  budget.thinking_budget = 2000;
  EXPECT_EQ(ladder.shorten(budget).max_tokens, 2256) << "what was asked for still fits";
  EXPECT_FALSE(ladder.shorten(budget).thinking_budget);
  budget.thinking_budget = -1;
  EXPECT_FALSE(ladder.shorten(budget).any()) << "asked for thinking without bound";
  RequestShape plain = open_shape();
  plain.thinks = false;
  EXPECT_EQ(ladder.shorten(plain).max_tokens, 512);
  EXPECT_FALSE(ladder.shorten(plain).shortens_thinking());
  plain.max_tokens = 300;
  EXPECT_FALSE(ladder.shorten(plain).any()) << "short already";
}

TEST(DegradationLadder, GentleWithATemperature_LeavesWrittenOnesAlone) {
  DegradationLadder ladder{DegradationOptions{.temperature = 0.5}};
  ladder.update(with_live(95), at(0));
  EXPECT_EQ(ladder.shorten(open_shape()).temperature, 0.5);
  RequestShape written = open_shape();
  written.temperature_open = false;
  EXPECT_FALSE(ladder.shorten(written).temperature);
  RequestShape colder = open_shape();
  colder.temperature = 0;
  EXPECT_FALSE(ladder.shorten(colder).temperature) << "never made warmer";
}

TEST(DegradationLadder, Article_CapsEverybody) {
  DegradationLadder ladder{DegradationOptions{.profile = DegradeProfile::kArticle}};
  RequestShape written = open_shape();
  written.max_tokens_open = false;
  written.temperature_open = false;
  written.thinking_budget = 4000;
  EXPECT_FALSE(ladder.shorten(written).any()) << "without pressure nothing";
  ladder.update(with_live(95), at(0));
  const Shortening all = ladder.shorten(written);
  EXPECT_EQ(all.max_tokens, 512);
  EXPECT_EQ(all.answer_reserve, 256);
  EXPECT_EQ(all.temperature, 0.3);
}

}  // namespace
}  // namespace sparrow

#include "store/answer_store.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <atomic>
#include <thread>
#include <vector>

#include "store/test_support.h"

namespace sparrow {
namespace {

constexpr int64_t kNow = 1'700'000'000;

int64_t file_bytes(const std::string& path) {
  std::error_code error;
  const auto size = std::filesystem::file_size(path, error);
  return error ? 0 : static_cast<int64_t>(size);
}

TEST(AnswerStore, Answers_SurviveReopening_AndOnlyEqualKeysAreFound) {
  TestDirectory directory;
  const std::string path = directory.file("answers.db");
  {
    AnswerStore store({.path = path});
    ASSERT_TRUE(store.open(kNow).ok());
    EXPECT_EQ(store.find(test_key(1), kNow), std::nullopt);
    EXPECT_TRUE(store.put(test_entry(1), kNow).stored);
    EXPECT_EQ(store.find(test_key(1), kNow), test_value(test_key(1)));
  }
  struct stat info {};
  ASSERT_EQ(::stat(path.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777u, 0600u) << "answers are private";
  AnswerStore store({.path = path});
  ASSERT_TRUE(store.open(kNow).ok());
  EXPECT_EQ(store.find(test_key(1), kNow), test_value(test_key(1)));
  EXPECT_EQ(store.find(test_key(1) + "x", kNow), std::nullopt);
  EXPECT_EQ(store.find("", kNow), std::nullopt);
  const auto stats = store.stats();
  ASSERT_TRUE(stats.ok());
  EXPECT_EQ(stats->num_answers, 1);
  EXPECT_EQ(stats->num_listed, 0);
  EXPECT_EQ(stats->oldest_s, kNow);
}

TEST(AnswerStore, PutAgain_ReplacesTheValueAndCountsOnce) {
  TestDirectory directory;
  AnswerStore store({.path = directory.file("a")});
  AnswerEntry entry = test_entry(1);
  ASSERT_TRUE(store.put(entry, kNow).stored) << "put() opens by itself";
  const int64_t bytes = store.stats()->bytes;
  entry.value = std::string(200, 'n');
  ASSERT_TRUE(store.put(entry, kNow + 1).stored);
  EXPECT_EQ(store.find(entry.key, kNow + 1), entry.value);
  EXPECT_EQ(store.stats()->num_answers, 1);
  EXPECT_EQ(store.stats()->bytes, bytes);
}

TEST(AnswerStore, CollidingHashes_NeverGiveAnotherKeysText) {
  TestDirectory directory;
  AnswerStore store({.path = directory.file("a"), .hash_bits = 3});
  int num_found = 0;
  for (uint64_t number = 0; number < 200; ++number) {
    ASSERT_TRUE(store.put(test_entry(number), kNow).stored);
    for (uint64_t earlier = 0; earlier <= number; ++earlier) {
      const auto value = store.find(test_key(earlier), kNow);
      if (!value) continue;
      ++num_found;
      ASSERT_EQ(*value, test_value(test_key(earlier)));
    }
    ASSERT_TRUE(store.find(test_key(number), kNow).has_value()) << "the latest stays";
  }
  EXPECT_GT(num_found, 200);
  EXPECT_LE(store.stats()->num_answers, 8);
}

TEST(AnswerStore, TimeToLive_EndsAnswers_AndALaterPutRemovesThem) {
  TestDirectory directory;
  AnswerStore store({.path = directory.file("a"), .ttl_s = 100});
  ASSERT_TRUE(store.put(test_entry(1), kNow).stored);
  EXPECT_TRUE(store.find(test_key(1), kNow + 99).has_value());
  EXPECT_FALSE(store.find(test_key(1), kNow + 100).has_value());
  EXPECT_TRUE(store.find(test_key(1), kNow - 3600).has_value()) << "a clock set back is no harm";
  ASSERT_TRUE(store.put(test_entry(2), kNow + 100).stored);
  EXPECT_EQ(store.stats()->num_answers, 1);

  AnswerStore forever({.path = directory.file("b"), .ttl_s = 0});
  ASSERT_TRUE(forever.put(test_entry(1), kNow).stored);
  EXPECT_TRUE(forever.find(test_key(1), kNow + 1'000'000'000).has_value());
}

TEST(AnswerStore, LeastRecentlyUsed_GoesFirst) {
  TestDirectory directory;
  AnswerStore store({.path = directory.file("a"), .max_bytes = 64 << 10});
  uint64_t number = 0;
  while (true) {  // until the first one has to go; number 0 is used all the time
    ASSERT_TRUE(number == 0 || store.find(test_key(0), kNow).has_value());
    if (store.put(test_entry(number++, "a", 3000), kNow).num_evicted > 0) break;
    ASSERT_LT(number, 100u);
  }
  ASSERT_GT(number, 5u);
  EXPECT_TRUE(store.find(test_key(0), kNow).has_value());
  EXPECT_FALSE(store.find(test_key(1), kNow).has_value());
  EXPECT_TRUE(store.find(test_key(2), kNow).has_value());
}

// Class 3 of the public bugs: one tenant's flood of unique keys.
TEST(AnswerStore, HundredThousandUniqueKeys_StayWithinTheBudget_AndSpareTheOtherTenant) {
  TestDirectory directory;
  const std::string path = directory.file("a");
  constexpr int64_t kMaxBytes = 2 << 20;
  AnswerStore store({.path = path, .max_bytes = kMaxBytes});
  for (uint64_t number = 0; number < 50; ++number) {
    ASSERT_TRUE(store.put(test_entry(number, "quiet"), kNow).stored);
    AnswerEntry listed = test_entry(1'000'000 + number, "");
    listed.listed = true;
    ASSERT_TRUE(store.put(listed, kNow).stored);
  }
  int64_t num_evicted = 0;
  for (uint64_t number = 0; number < 100'000; ++number) {
    const size_t bytes = 50 + random_bits(7, number, 0) % 3000;
    const PutOutcome outcome = store.put(test_entry(1000 + number, "loud", bytes), kNow);
    ASSERT_TRUE(outcome.stored) << number;
    num_evicted += outcome.num_evicted;
    if (number % 10'000 == 0) {
      ASSERT_LE(store.stats()->bytes, kMaxBytes);
    }
  }
  EXPECT_GT(num_evicted, 90'000);
  for (uint64_t number = 0; number < 50; ++number) {
    EXPECT_TRUE(store.find(test_key(number), kNow).has_value()) << number;
    EXPECT_TRUE(store.find(test_key(1'000'000 + number), kNow).has_value()) << number;
  }
  const auto stats = store.stats();
  ASSERT_TRUE(stats.ok());
  EXPECT_LE(stats->bytes, kMaxBytes);
  EXPECT_GT(stats->bytes, kMaxBytes * 9 / 10) << "the room is used";
  EXPECT_EQ(stats->num_listed, 50);
  // The bound is about the disk, too: the file itself and what waits to be written into it.
  EXPECT_LE(file_bytes(path), kMaxBytes * 5 / 4);
  EXPECT_LE(file_bytes(path + "-wal"), 10 << 20);
}

TEST(AnswerStore, ListedAnswers_GiveWayOnlyToTheList) {
  TestDirectory directory;
  AnswerStore store({.path = directory.file("a"), .max_bytes = 100 << 10});
  const auto listed = [](uint64_t number) {
    AnswerEntry entry = test_entry(number, "", 3000);
    entry.listed = true;
    return entry;
  };
  uint64_t num_listed = 0;
  while (store.put(listed(num_listed), kNow).num_evicted == 0) ASSERT_LT(++num_listed, 1000u);
  const PutOutcome refused = store.put(test_entry(5000, "a", 3000), kNow);
  EXPECT_FALSE(refused.stored) << "the list fills the budget";
  EXPECT_EQ(refused.num_evicted, 0);
  EXPECT_EQ(store.stats()->num_listed, static_cast<int64_t>(num_listed));
}

TEST(AnswerStore, TooLongAnswers_AreNotStored) {
  TestDirectory directory;
  AnswerStore store({.path = directory.file("a"), .max_bytes = 1 << 20, .max_entry_bytes = 1000});
  EXPECT_FALSE(store.put(test_entry(1, "a", 1000), kNow).stored);
  EXPECT_TRUE(store.put(test_entry(2, "a", 900), kNow).stored);
  AnswerStore tiny({.path = directory.file("b"), .max_bytes = 5000});
  EXPECT_FALSE(tiny.put(test_entry(1, "a", 6000), kNow).stored) << "longer than the whole budget";
}

TEST(AnswerStore, ListAndClear_ForTheOperator) {
  TestDirectory directory;
  const std::string path = directory.file("a");
  AnswerStore store({.path = path});
  AnswerEntry listed = test_entry(1, "");
  listed.listed = true;
  listed.label = "What is 1 + 1?";
  ASSERT_TRUE(store.put(listed, kNow).stored);
  for (uint64_t number = 2; number < 500; ++number) {
    ASSERT_TRUE(store.put(test_entry(number, "a", 2000), kNow + 5).stored);
  }
  std::vector<AnswerRow> rows;
  ASSERT_TRUE(store.list(1000, [&](const AnswerRow& row) { rows.push_back(row); }).ok());
  ASSERT_EQ(rows.size(), 499u);
  EXPECT_EQ(rows.back().label, "What is 1 + 1?");
  EXPECT_TRUE(rows.back().listed);
  EXPECT_EQ(rows.front().owner, "a");
  AnswerStore second({.path = path});  // another process sees the same, at the same time
  ASSERT_TRUE(second.open(kNow).ok());
  EXPECT_TRUE(second.find(test_key(2), kNow).has_value());
  ASSERT_TRUE(second.clear().ok());
  EXPECT_FALSE(store.find(test_key(2), kNow).has_value());
  EXPECT_EQ(store.stats()->num_answers, 0);
  EXPECT_EQ(store.stats()->bytes, 0);
  EXPECT_LT(file_bytes(path), 100 << 10);
  EXPECT_TRUE(store.put(test_entry(2), kNow).stored);
}

TEST(AnswerStore, ManyThreads_SeeWholeAnswersOnly) {
  TestDirectory directory;
  AnswerStore store({.path = directory.file("a"), .max_bytes = 200 << 10});
  ASSERT_TRUE(store.open(kNow).ok());
  std::atomic<int> num_wrong{0};
  std::vector<std::thread> threads;
  for (uint64_t thread = 0; thread < 4; ++thread) {
    threads.emplace_back([&, thread] {
      for (uint64_t i = 0; i < 400; ++i) {
        const uint64_t number = random_bits(thread, i, 1) % 200;
        if (thread % 2 == 0) {
          store.put(test_entry(number, thread == 0 ? "a" : "b", 1500), kNow);
        } else if (const auto value = store.find(test_key(number), kNow)) {
          num_wrong += *value != test_value(test_key(number), 1500);
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(num_wrong, 0);
  EXPECT_GT(store.stats()->num_answers, 0);
}

}  // namespace
}  // namespace sparrow

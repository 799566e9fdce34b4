#include "cmd/replica_share.h"

#include <gtest/gtest.h>

namespace sparrow {
namespace {

TEST(ReplicaShare, Threads_AreAllGivenOutOnce) {
  for (int num_threads = 1; num_threads <= 20; ++num_threads) {
    ComputeThreads all{.count = num_threads, .pinned_cpus = {}};
    for (int cpu = 0; cpu < num_threads; ++cpu) all.pinned_cpus.push_back(100 + cpu);
    for (int count = 1; count <= num_threads; ++count) {
      std::vector<int> given;
      for (int i = 0; i < count; ++i) {
        const ComputeThreads own = threads_of({.index = i, .count = count}, all);
        EXPECT_GE(own.count, num_threads / count);
        EXPECT_LE(own.count, num_threads / count + 1);
        ASSERT_EQ(own.pinned_cpus.size(), static_cast<size_t>(own.count));
        given.insert(given.end(), own.pinned_cpus.begin(), own.pinned_cpus.end());
      }
      EXPECT_EQ(given, all.pinned_cpus) << num_threads << " threads, " << count << " replicas";
    }
  }
}

TEST(ReplicaShare, ThreadsThatAreNotPinned_StayUnpinned) {
  const ComputeThreads own =
      threads_of({.index = 1, .count = 2}, ComputeThreads{.count = 5, .pinned_cpus = {}});
  EXPECT_EQ(own.count, 2);
  EXPECT_TRUE(own.pinned_cpus.empty());
}

TEST(ReplicaShare, TooFewThreadsOrCards_AreNamed) {
  EXPECT_TRUE(check_threads_for(4, 4).ok());
  EXPECT_EQ(check_threads_for(3, 2).message(),
            "--data-parallel-size 3: each replica needs a compute thread of its own, there are 2. "
            "Lower it, or raise --threads");
  EXPECT_TRUE(check_cards_for(2, 2).ok());
  EXPECT_EQ(check_cards_for(4, 2).message(), "--data-parallel-size 4: this machine has 2 GPUs");
  EXPECT_EQ(check_cards_for(2, 1).message(), "--data-parallel-size 2: this machine has 1 GPU");
}

}  // namespace
}  // namespace sparrow

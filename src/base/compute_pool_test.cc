#include "base/compute_pool.h"

#include <gtest/gtest.h>

#include <sched.h>

#include <atomic>
#include <chrono>
#include <new>
#include <thread>
#include <vector>

#include "base/cpu_topology.h"
#include "base/task_pool.h"

namespace sparrow {
namespace {

TEST(ComputePool, Run_CallsEveryWorkerOnce) {
  for (const int num_threads : {1, 2, 5}) {
    ComputePool pool(num_threads);
    for (int round = 0; round < 200; ++round) {
      std::vector<std::atomic<int>> calls(static_cast<size_t>(num_threads));
      pool.run([&](int worker) { calls[static_cast<size_t>(worker)]++; });
      for (const auto& count : calls) ASSERT_EQ(count.load(), 1);
    }
  }
}

TEST(ComputePool, ParallelFor_VisitsEveryIndexOnce) {
  ComputePool pool(3);
  for (const int64_t count : {0, 1, 2, 3, 7, 1000}) {
    std::vector<std::atomic<int>> visits(static_cast<size_t>(count));
    pool.parallel_for(count, [&](int64_t index, int worker) {
      ASSERT_LT(worker, pool.num_threads());
      visits[static_cast<size_t>(index)]++;
    });
    for (const auto& visit : visits) ASSERT_EQ(visit.load(), 1);
  }
}

// The caller finishes long before its workers: it must sleep and be woken, every time.
TEST(ComputePool, Run_WaitsForWorkersThatAreLate) {
  ComputePool pool(4);
  for (int round = 0; round < 30; ++round) {
    std::atomic<int> done{0};
    pool.run([&](int worker) {
      const auto end = std::chrono::steady_clock::now() + std::chrono::microseconds(300 * worker);
      while (std::chrono::steady_clock::now() < end) std::this_thread::yield();
      done++;
    });
    ASSERT_EQ(done.load(), 4);
  }
}

TEST(ComputePool, ThrowingBody_ComesOutOfRunAndLeavesThePoolUsable) {
  for (const int num_threads : {1, 2, 5}) {
    ComputePool pool(num_threads);
    for (int thrower = 0; thrower < num_threads; ++thrower) {
      std::atomic<int> num_others{0};
      EXPECT_THROW(pool.run([&](int worker) {
        if (worker == thrower) throw std::bad_alloc();
        num_others++;
      }),
                   std::bad_alloc);
      EXPECT_EQ(num_others.load(), num_threads - 1) << "run() returned before all were done";
    }
    EXPECT_THROW(pool.run([](int worker) { throw worker; }), int) << "one of many";
    std::atomic<int64_t> sum{0};
    pool.parallel_for(1000, [&](int64_t index, int) { sum += index; });
    EXPECT_EQ(sum.load(), 999 * 1000 / 2);
  }
}

TEST(ComputePool, Pinned_WorkersRunWhereTold) {
  const int cpu = read_cpu_topology().cpus.back().id;
  ComputePool pool(3, {cpu, cpu, cpu});
  std::thread([&] {  // pinning stays with this thread
    pool.pin_caller();
    std::atomic<int> elsewhere{0};
    pool.run([&](int) { elsewhere += sched_getcpu() != cpu; });
    EXPECT_EQ(elsewhere.load(), 0);
  })
      .join();
}

TEST(TaskPool, Destructor_FinishesWhatWasAccepted) {
  std::atomic<int> done{0};
  int accepted = 0;
  {
    TaskPool pool(2, 8);
    for (int i = 0; i < 100; ++i) accepted += pool.try_submit([&] { done++; }) ? 1 : 0;
  }
  EXPECT_EQ(done.load(), accepted);
  EXPECT_GE(accepted, 8);
}

TEST(BoundedQueue, Full_RefusesAndLeavesTheItem) {
  BoundedQueue<std::string> queue(1);
  std::string first = "first", second = "second";
  EXPECT_TRUE(queue.try_push(std::move(first)));
  EXPECT_FALSE(queue.try_push(std::move(second)));
  EXPECT_EQ(second, "second");
  queue.close();
  EXPECT_EQ(queue.pop(), "first");
  EXPECT_EQ(queue.pop(), std::nullopt);
}

}  // namespace
}  // namespace sparrow

#include "base/task_pool.h"

#include <gtest/gtest.h>

#include <future>
#include <stdexcept>

namespace sparrow {
namespace {

TEST(TaskPool, TaskThatThrows_LeavesItsThreadToTheOthers) {
  TaskPool pool(1, 8);
  ASSERT_TRUE(pool.try_submit([] { throw std::runtime_error("one request's own trouble"); }));
  ASSERT_TRUE(pool.try_submit([] { throw 7; }));
  std::promise<int> answer;
  ASSERT_TRUE(pool.try_submit([&] { answer.set_value(42); }));
  std::future<int> future = answer.get_future();
  ASSERT_EQ(future.wait_for(std::chrono::seconds(20)), std::future_status::ready);
  EXPECT_EQ(future.get(), 42);
}

}  // namespace
}  // namespace sparrow

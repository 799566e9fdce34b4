#include "base/task_pool.h"

#include <exception>

#include "base/log.h"

namespace sparrow {
namespace {

// One task's exception (bad_alloc among them) must not end the others.
void run(const std::function<void()>& task) {
  try {
    task();
  } catch (const std::exception& error) {
    log_error("a background task failed: {}", error.what());
  } catch (...) {
    log_error("a background task failed: an unknown exception");
  }
}

}  // namespace

TaskPool::TaskPool(size_t num_threads, size_t queue_capacity) : queue_(queue_capacity) {
  for (size_t i = 0; i < num_threads; ++i) {
    threads_.emplace_back([this] {
      while (auto task = queue_.pop()) run(*task);
    });
  }
}

TaskPool::~TaskPool() {
  queue_.close();
  for (std::thread& thread : threads_) thread.join();
}

}  // namespace sparrow

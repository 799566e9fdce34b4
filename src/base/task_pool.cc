#include "base/task_pool.h"

namespace sparrow {

TaskPool::TaskPool(size_t num_threads, size_t queue_capacity) : queue_(queue_capacity) {
  for (size_t i = 0; i < num_threads; ++i) {
    threads_.emplace_back([this] {
      while (auto task = queue_.pop()) (*task)();
    });
  }
}

TaskPool::~TaskPool() {
  queue_.close();
  for (std::thread& thread : threads_) thread.join();
}

}  // namespace sparrow

#pragma once
// TaskPool: a few threads that run independent tasks from one bounded queue (request preparation,
// background work). Not for numeric loops: those use base/compute_pool.h.
// Thread-safe. The destructor finishes what was accepted.

#include <functional>
#include <thread>
#include <vector>

#include "base/bounded_queue.h"

namespace sparrow {

class TaskPool {
 public:
  TaskPool(size_t num_threads, size_t queue_capacity);
  ~TaskPool();
  TaskPool(const TaskPool&) = delete;
  TaskPool& operator=(const TaskPool&) = delete;

  // False when the queue is full or the pool stops; the task has then not been taken.
  bool try_submit(std::function<void()> task) { return queue_.try_push(std::move(task)); }
  size_t num_queued() const { return queue_.size(); }

 private:
  BoundedQueue<std::function<void()>> queue_;
  std::vector<std::thread> threads_;
};

}  // namespace sparrow

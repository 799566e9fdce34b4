#pragma once
// AsioLoop: one io_context, one thread, and a queue of tasks from other threads. The queue is
// swapped out whole once per wake, so that a step of the engine that posts for many streams costs
// one eventfd write (asio::post from a foreign thread allocates and locks per call).
// Internal to http/: the only headers here that name Asio are this one and connection.h.

#include <atomic>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "base/status.h"
#include "http/http_types.h"

namespace sparrow::http {

// What co_spawn is given instead of `detached`, which would swallow the exception.
void log_if_failed(std::exception_ptr exception);

class AsioLoop final : public IoLoop {
 public:
  explicit AsioLoop(int index) : index_(index) {}
  ~AsioLoop() override;

  Status start();
  // From any thread. Returns at once.
  void request_stop();
  void join_thread();
  // After join_thread() and after every socket is closed: drops queued tasks and handlers.
  void destroy();

  int index() const override { return index_; }
  // After destroy() the task is destroyed unrun.
  void post(std::function<void()> task) override;
  bool on_this_thread() const { return std::this_thread::get_id() == thread_id_.load(); }
  boost::asio::io_context& context() { return *context_; }

 private:
  boost::asio::awaitable<void> wake_loop();
  void run_posted();

  const int index_;
  // Not a plain member: destroying it breaks the cycle handler -> connection -> loop.
  std::optional<boost::asio::io_context> context_{std::in_place, 1};
  std::optional<boost::asio::posix::stream_descriptor> wake_;
  std::thread thread_;
  // Written by the thread itself, which may run before thread_ is assigned.
  std::atomic<std::thread::id> thread_id_;
  std::mutex mutex_;
  // Guarded by mutex_.
  std::vector<std::function<void()>> posted_;
  int wake_fd_ = -1;
  bool stopped_ = false;
  // Owned by the loop's thread.
  std::vector<std::function<void()>> running_;
};

}  // namespace sparrow::http

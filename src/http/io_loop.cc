#include "http/io_loop.h"

#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <cerrno>

#include "base/check.h"
#include "base/log.h"

namespace sparrow::http {

namespace asio = boost::asio;

void log_if_failed(std::exception_ptr exception) {
  if (!exception) return;
  try {
    std::rethrow_exception(exception);
  } catch (const std::exception& error) {
    log_error("http: a coroutine ended with: {}", error.what());
  } catch (...) {
    log_error("http: a coroutine ended with an unknown exception");
  }
}

AsioLoop::~AsioLoop() {
  request_stop();
  join_thread();
  destroy();
}

Status AsioLoop::start() {
  const int fd = ::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  if (fd < 0) return resource_exhausted("no file descriptor left for the IO thread's eventfd");
  wake_.emplace(*context_, fd);
  {
    std::lock_guard lock(mutex_);
    wake_fd_ = fd;
  }
  asio::co_spawn(*context_, wake_loop(), log_if_failed);
  // SIGTERM and friends belong to the thread that waits for them, never to an IO thread.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  thread_ = std::thread([this] {
    thread_id_.store(std::this_thread::get_id());
    while (true) {  // what one handler throws must not end the others' connections
      try {
        context_->run();
        return;
      } catch (const std::exception& error) {
        log_error("http: IO loop {}: {}", index_, error.what());
      } catch (...) {
        log_error("http: IO loop {}: an unknown exception", index_);
      }
    }
  });
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return ok_status();
}

void AsioLoop::request_stop() {
  if (context_) context_->stop();
}

void AsioLoop::join_thread() {
  if (!thread_.joinable()) return;
  CHECK(!on_this_thread());
  thread_.join();
}

void AsioLoop::destroy() {
  std::vector<std::function<void()>> never_run;
  {
    std::lock_guard lock(mutex_);
    stopped_ = true;
    wake_fd_ = -1;
    never_run.swap(posted_);
  }
  never_run.clear();  // may drop responders, which post again and find stopped_
  wake_.reset();
  context_.reset();
}

void AsioLoop::post(std::function<void()> task) {
  std::lock_guard lock(mutex_);
  if (stopped_) return;
  posted_.push_back(std::move(task));
  if (posted_.size() > 1 || wake_fd_ < 0) return;  // a wake-up is already on its way
  const uint64_t one = 1;
  // Fails only when the counter is full, and then the loop is awake anyway.
  [[maybe_unused]] const ssize_t written = ::write(wake_fd_, &one, sizeof one);
}

asio::awaitable<void> AsioLoop::wake_loop() {
  // Tasks posted before start() found no eventfd.
  run_posted();
  for (;;) {
    auto [error] = co_await wake_->async_wait(asio::posix::descriptor_base::wait_read,
                                              asio::as_tuple(asio::use_awaitable));
    if (error) co_return;
    uint64_t count = 0;
    [[maybe_unused]] const ssize_t got = ::read(wake_->native_handle(), &count, sizeof count);
    run_posted();
  }
}

void AsioLoop::run_posted() {
  {
    std::lock_guard lock(mutex_);
    running_.swap(posted_);
  }
  for (auto& task : running_) {
    try {
      task();
    } catch (const std::exception& error) {
      log_error("http: a posted task threw: {}", error.what());
    } catch (...) {
      log_error("http: a posted task threw an unknown exception");
    }
    task = nullptr;  // what it holds is released in order, on this thread
  }
  constexpr size_t kKeptCapacity = 4096;
  running_.clear();
  if (running_.capacity() > kKeptCapacity) running_.shrink_to_fit();
}

}  // namespace sparrow::http

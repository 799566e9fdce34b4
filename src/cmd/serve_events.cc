#include "cmd/serve_events.h"

#include <fmt/format.h>
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstring>

namespace sparrow {

ServeEvents::ServeEvents(bool takes_hangup) : takes_hangup_(takes_hangup) {
  sigemptyset(&stop_signals_);
  sigaddset(&stop_signals_, SIGINT);
  sigaddset(&stop_signals_, SIGTERM);
}

ServeEvents::~ServeEvents() {
  if (signal_fd_ >= 0) ::close(signal_fd_);
  if (drain_fd_ >= 0) ::close(drain_fd_);
}

Status ServeEvents::start() {
  sigset_t all = stop_signals_;
  if (takes_hangup_) sigaddset(&all, SIGHUP);
  pthread_sigmask(SIG_BLOCK, &all, nullptr);
  signal(SIGPIPE, SIG_IGN);
  signal(SIGXFSZ, SIG_IGN);  // a file at its limit is an error of write(), like a full disk
  signal_fd_ = ::signalfd(-1, &all, SFD_NONBLOCK | SFD_CLOEXEC);
  drain_fd_ = ::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  if (signal_fd_ >= 0 && drain_fd_ >= 0) return ok_status();
  return resource_exhausted(
      fmt::format("no file descriptor for signals: {}", std::strerror(errno)));
}

void ServeEvents::let_signals_kill(bool kill) {
  pthread_sigmask(kill ? SIG_UNBLOCK : SIG_BLOCK, &stop_signals_, nullptr);
}

ServeEvents::Event ServeEvents::wait(std::optional<Duration> timeout) {
  const int timeout_ms = timeout ? static_cast<int>(to_ms(*timeout)) : -1;
  pollfd files[] = {{signal_fd_, POLLIN, 0}, {drain_fd_, POLLIN, 0}};
  while (true) {
    const int ready = ::poll(files, 2, timeout_ms);
    if (ready < 0 && errno == EINTR) continue;
    if (ready <= 0) return Event::kTimeout;
    signalfd_siginfo info{};
    if (::read(signal_fd_, &info, sizeof info) == static_cast<ssize_t>(sizeof info)) {
      return info.ssi_signo == SIGHUP ? Event::kReload : Event::kStop;
    }
    uint64_t count = 0;
    if (::read(drain_fd_, &count, sizeof count) == static_cast<ssize_t>(sizeof count)) {
      return Event::kDrain;
    }
  }
}

void ServeEvents::request_drain() {
  const uint64_t one = 1;
  // Fails only when the counter is full, and then the wish is known.
  [[maybe_unused]] const ssize_t written = ::write(drain_fd_, &one, sizeof one);
}

}  // namespace sparrow

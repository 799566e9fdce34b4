#pragma once
// ServeEvents: what the main thread of `sparrow serve` waits for: SIGINT and SIGTERM, SIGHUP, and
// the server's own wish to end. Signals are read from a descriptor, never taken by a handler.
// Made on the main thread before any other thread starts; request_drain() is for every thread.

#include <signal.h>

#include <optional>

#include "base/clock.h"
#include "base/status.h"

namespace sparrow {

class ServeEvents {
 public:
  enum class Event { kStop, kReload, kDrain, kTimeout };

  // Without `takes_hangup`, SIGHUP ends the process as it does by default.
  explicit ServeEvents(bool takes_hangup);
  ~ServeEvents();
  ServeEvents(const ServeEvents&) = delete;
  ServeEvents& operator=(const ServeEvents&) = delete;

  // Opens the descriptors and blocks the signals; SIGPIPE is ignored.
  Status start();
  // For as long as nothing is served, SIGINT and SIGTERM end the process at once.
  void let_signals_kill(bool kill);
  // kTimeout after that long; absent: never.
  Event wait(std::optional<Duration> timeout);
  void request_drain();

 private:
  sigset_t stop_signals_;
  const bool takes_hangup_;
  int signal_fd_ = -1;
  int drain_fd_ = -1;
};

}  // namespace sparrow

#pragma once
// The end of a server's engines, which may not wait for ever: a step that hangs (a driver, a file
// system) cannot be ended from outside, and a process that ignores signals needs a kill -9 that
// says nothing about why.

#include <span>

#include "base/clock.h"
#include "cmd/serve_events.h"
#include "engine/engine_thread.h"

namespace sparrow {

// The exit code of a server that left a hanging step behind.
inline constexpr int kExitHung = 3;
// How long a step may take to come back, beyond what it was predicted to take.
inline constexpr Duration kStopPatience = std::chrono::seconds(5);

struct EngineOnThread {
  EngineThread* thread = nullptr;
  const Engine* engine = nullptr;
};

// Ends what runs with kCancelled, in all at once, and joins. If an engine has not come back within
// `patience` beyond its predicted step, or another signal comes while the step is late, the log
// says where it is and the process ends with kExitHung.
void stop_engines(std::span<const EngineOnThread> engines, ServeEvents& events, Duration patience);

}  // namespace sparrow

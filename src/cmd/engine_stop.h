#pragma once
// The end of a server's engine, which may not wait for ever: a step that hangs (a driver, a file
// system) cannot be ended from outside, and a process that ignores signals needs a kill -9 that
// says nothing about why.

#include "base/clock.h"
#include "cmd/serve_events.h"
#include "engine/engine_thread.h"

namespace sparrow {

// The exit code of a server that left a hanging step behind.
inline constexpr int kExitHung = 3;
// How long a step may take to come back, beyond what it was predicted to take.
inline constexpr Duration kStopPatience = std::chrono::seconds(5);

// Ends what runs with kCancelled and joins. If the engine has not come back within `patience`
// beyond the predicted step, or another signal comes while the step is late, the log says where it
// is and the process ends with kExitHung.
void stop_engine(EngineThread& thread, const Engine& engine, ServeEvents& events,
                 Duration patience);

}  // namespace sparrow

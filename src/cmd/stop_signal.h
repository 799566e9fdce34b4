#pragma once
// Ctrl-C for commands that work through something long and keep what is done: the first SIGINT or
// SIGTERM sets a flag, a second one ends the process at once. serve has its own (serve_events.h).

#include <atomic>

namespace sparrow {

// Installs the handlers, and makes a closed pipe and a file at its limit errors of write() instead
// of the end. Returns the flag, of the whole process.
const std::atomic<bool>& catch_stop_signals();

}  // namespace sparrow

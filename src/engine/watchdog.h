#pragma once
// Watchdog: says once in the log that the engine has not come back, and where it is, and once that
// it goes on. Called now and then by one thread that is not the engine's; health endpoints ask
// stuck_for() themselves.

#include <string>

#include "engine/heartbeat.h"

namespace sparrow {

class Watchdog {
 public:
  explicit Watchdog(Duration timeout) : timeout_(timeout) {}
  void check(const Beat& beat, TimePoint now);

 private:
  const Duration timeout_;
  bool is_stuck_ = false;
  TimePoint began_{};  // the step that hangs
  std::string name_;   // of the engine it is in
};

}  // namespace sparrow

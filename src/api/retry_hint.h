#pragma once
// How long a refused client should wait: the time the queue needs to drain, guessed from the last
// step. Stateless, thread-safe.

#include <algorithm>
#include <cstdint>

#include "engine/engine.h"

namespace sparrow::api {

// Waiting requests get in as running ones leave; an answer is taken for 256 steps.
inline int64_t retry_after_ms(const EngineSnapshot& snapshot) {
  constexpr double kStepsPerAnswer = 256;
  const double rounds = 1.0 + static_cast<double>(snapshot.num_waiting) /
                                  static_cast<double>(std::max(snapshot.num_running, 1));
  const double wait_ms = rounds * kStepsPerAnswer * snapshot.step_ms_mean;
  return static_cast<int64_t>(std::clamp(wait_ms, 1000.0, 60000.0));
}

}  // namespace sparrow::api

#pragma once
// Heartbeat: what the engine is doing, told by atomics alone, so that health is answered while a
// step hangs. The engine's thread writes it twice a step; anybody reads it without a lock.
//
// An engine that is served beats at least twice a second, also when idle (EngineThread). It is
// stuck when the last beat is older than the timeout and what the step was predicted to take.

#include <array>
#include <atomic>
#include <cstdint>
#include <optional>
#include <string>

#include "base/clock.h"

namespace sparrow {

struct Beat {
  bool has_begun = false;  // the engine has stepped at all
  bool failed = false;     // it has given up; nothing is served
  TimePoint began{};       // the last step
  // Of the plan with the executor; no rows: the step is elsewhere, or over.
  uint64_t step = 0;
  int num_spans = 0;
  int num_rows = 0;
  double predicted_ms = 0;  // 0: nothing known yet
  int engine = -1;          // which of several; -1: the only one
};

// When the next beat is expected.
TimePoint due(const Beat& beat);

// How long the engine has not come back, if that is too long.
std::optional<Duration> stuck_for(const Beat& beat, Duration timeout, TimePoint now);
// "step 12 (3 spans, 130 rows, predicted 0.21 s)": where it is.
std::string where_stuck(const Beat& beat);
// "engine", "engine 1": who.
std::string engine_name(const Beat& beat);

class Heartbeat {
 public:
  // Engine thread.
  void begin_step(TimePoint now);
  void begin_compute(uint64_t step, int num_spans, int num_rows, double predicted_ms);
  void end_compute() { begin_compute(0, 0, 0, 0); }
  // Any thread.
  Beat read() const;

 private:
  struct Slot {
    std::atomic<Duration::rep> began_ns{0};
    std::atomic<uint64_t> step{0};
    std::atomic<int> num_spans{0};
    std::atomic<int> num_rows{0};
    std::atomic<double> predicted_ms{0};
  };
  void publish();

  Beat now_;  // engine thread
  // The last beat is in slots_[num_beats_ % 2]; the next one is written beside it, so that a writer
  // that stands still leaves a whole beat. All sequentially consistent: a few stores a step.
  std::array<Slot, 2> slots_;
  std::atomic<uint64_t> num_beats_{0};
};

}  // namespace sparrow

#pragma once
// LoadSnapshot: how busy one engine is, as it says after every step; of several engines, how busy
// the one that a newcomer goes to. Admission decides on it, in the server as in simulation and
// planner. A plain value; what belongs together in time may be one step apart.

#include <cstdint>

#include "admission/circuit_breaker.h"
#include "base/clock.h"

namespace sparrow {

struct LoadSnapshot {
  uint64_t num_steps = 0;
  // Alike, with this one, that share what comes: what is let in goes to one of them.
  int num_engines = 1;
  bool failed = false;  // the executor goes on failing, its probes too: a restart is due
  BreakerState breaker = BreakerState::kClosed;  // nothing is served unless closed
  TimePoint breaker_retry_at{};                  // when an open breaker lets its next probe in

  int num_running = 0;
  int num_waiting = 0;
  int num_deferred = 0;     // of those, waiting for a prefix that others compute
  int max_num_running = 0;  // places in a step
  // Not computed yet, of waiting and running sequences; of the former as many as their prompts will
  // probably need.
  int64_t num_waiting_prompt_tokens = 0;
  double cached_prompt_share = 0;  // of prompt tokens, found computed: moving average
  double oldest_wait_ms = 0;       // of the sequence longest in the queue; 0: none waits
  double mean_output_tokens = 0;   // moving average over finished sequences; 0: none yet

  int num_blocks_total = 0;
  int num_blocks_live = 0;    // held by sequences
  int num_blocks_cached = 0;  // kept for later prompts, given up when somebody needs them
  // Share of the device's memory that others hold beyond what was planned for them; 0 on a CPU.
  double foreign_memory_share = 0;

  // Duration of a step of n rows: step_fixed_ms + n * step_row_ms, learned while serving.
  bool has_step_cost = false;
  double step_fixed_ms = 0;
  double step_row_ms = 0;
  double step_ms_mean = 0;               // moving average of the executor's time
  double prefill_tokens_per_second = 0;  // moving average
  double last_step_ms = 0;
  double max_step_ms = 0;  // what a step may take: longer prompts are cut
  int max_step_rows = 0;   // and the rows it may have

  // Requests that finished for a passed deadline, none in time between, since the engine was idle.
  int num_deadline_misses_in_a_row = 0;
};

}  // namespace sparrow

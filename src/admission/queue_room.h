#pragma once
// How many sequences an engine takes: those of a step and those of the queue behind it. The door
// (AdmissionControl) and the engine decide by this one rule, so that what the door lets in the
// engine does not refuse. Stateless.

#include <algorithm>

namespace sparrow {

struct QueueRoom {
  int max_num_queued = 0;   // --max-num-queued-reqs
  int max_num_running = 0;  // places in a step

  // `num_new` more, beside those that wait and those that run.
  bool has_place_for(int num_new, int num_waiting, int num_running) const {
    return num_waiting + num_new <= max_num_queued + std::max(0, max_num_running - num_running);
  }
  // More at once never fit, however idle the engine is.
  int most_at_once() const { return max_num_queued + max_num_running; }
};

}  // namespace sparrow

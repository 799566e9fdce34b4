#pragma once
// EngineWork: what an engine did in some time, and how that compares with the machine's limit; and
// how such long work tells of its progress.

#include <cstdint>
#include <functional>
#include <string>

#include "base/clock.h"
#include "tools/bench/metered_executor.h"

namespace sparrow {

struct EngineWork {
  double seconds = 0;
  int64_t output_tokens = 0;
  double tokens_per_s = 0;  // output tokens, as all such benchmarks count
  int64_t steps = 0;
  double mean_batch = 0;  // sequences of a step
  double step_s = 0;      // mean, with everything around it
  double beside_s = 0;    // of a step: what is not the executor's (planning, text), mean
  double bytes_per_s = 0;
  double ops_per_s = 0;
  double share_of_limit = 0;      // the limits of all steps, summed, over the seconds
  double share_at_bandwidth = 0;  // of the limit: in steps where memory is the slower one
};

EngineWork engine_work(const MeteredExecutor::Totals& totals, double seconds,
                       int64_t output_tokens);

// Called a few times a second with the share that is done, in [0, 1], and a line to show; false:
// stop.
using WorkloadProgress = std::function<bool(double share, const std::string& text)>;

// Passes the first call on, then at most one each 200 ms of the clock.
class PacedProgress {
 public:
  PacedProgress(const WorkloadProgress& progress, const Clock& clock)
      : progress_(progress), clock_(clock) {}

  bool is_due();
  bool show(double share, const std::string& text) { return progress_(share, text); }

 private:
  const WorkloadProgress& progress_;
  const Clock& clock_;
  bool has_shown_ = false;
  TimePoint last_{};
};

}  // namespace sparrow

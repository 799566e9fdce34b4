#pragma once
// Offline run of a workload: all of its requests are there at once and the engine computes them as
// fast as it can, as offline benchmarks of other engines do. One short request warms up; then each
// run begins with an empty engine. One thread calls.

#include <string>
#include <vector>

#include "base/clock.h"
#include "base/status.h"
#include "model/executor.h"
#include "tokenizer/tokenizer.h"
#include "tools/bench/engine_work.h"
#include "tools/bench/offline_engine.h"
#include "tools/bench/step_work.h"
#include "tools/bench/workload.h"

namespace sparrow {

struct WorkloadOptions {
  OfflineEngineOptions engine;
  int repeat = 1;
};

struct WorkloadRow {
  int run = 0;            // from 1
  bool is_whole = false;  // false: stopped; the work is what was done until then
  int num_ended = 0;      // requests
  EngineWork work;
};

struct WorkloadReport {
  std::vector<WorkloadRow> rows;
  bool stopped = false;
};

// Errors: a request that the executor can never hold, a step that fails.
Result<WorkloadReport> run_workload(Executor& executor, const Tokenizer& tokenizer,
                                    const Workload& workload, const BenchCost& cost,
                                    const MachineLimits& limits, const WorkloadOptions& options,
                                    const Clock& clock, const WorkloadProgress& progress);

}  // namespace sparrow

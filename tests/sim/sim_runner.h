#pragma once
// SimRunner: many simulations on several processes. A process of its own per worker keeps a failed
// CHECK, a crash or a hang from taking the report with it; the failing run is then made smaller
// (fewer requests, fewer kinds of faults) as long as it still fails. Called from one thread.

#include <cstdint>
#include <string>

#include "simulation.h"

namespace sparrow {

struct SimRunnerOptions {
  SimulationOptions simulation;  // its seed is the first
  uint64_t num_seeds = 1;        // 0: until enough faults
  uint64_t num_faults = 0;       // used when num_seeds is 0
  int num_jobs = 1;
  bool shrinks = true;
};

struct SimRunnerReport {
  SimulationCounts counts;
  std::string failure;  // of the first worker that found one; empty: none
  double seconds = 0;   // on the wall
};

// Every hundredth seed runs twice and must give the same trace. Workers take turns with the seeds.
SimRunnerReport run_simulations(const SimRunnerOptions& options);

}  // namespace sparrow

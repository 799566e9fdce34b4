#pragma once
// Workload: what one seed means: a machine, options, requests with their arrivals. Each request has
// random numbers of its own, so that a run may be cut to its first requests.

#include <string>
#include <vector>

#include "admission/admission_control.h"
#include "arrivals.h"
#include "engine/engine.h"
#include "faults.h"
#include "model/fake_executor.h"
#include "sim_masker.h"

namespace sparrow {

// The number of a request in its run, as the executor can see it: in the upper bits of the seed.
inline constexpr int kTagShift = 8;
inline size_t tag_of(const SamplingParams& params) { return params.seed >> kTagShift; }

struct Arrival {
  TimePoint at{};
  Request request;  // its masker is made when it is submitted
  MaskRules mask;
  bool is_refused = false;        // submit() must say kInvalidArgument
  int reads_bytes_per_step = -1;  // of the stream; -1: all at once
  RequestShape shape;             // what it leaves open, as the API would say
};

// What stands before the engine.
struct DoorOptions {
  bool is_there = false;  // else requests go straight to the engine
  AdmissionOptions admission;
  size_t prep_capacity = 0;
  int num_prepared_per_step = 0;
};

struct Workload {
  FakeExecutorOptions executor;
  EngineOptions engine;
  DoorOptions door;
  std::vector<Arrival> arrivals;  // in order of time
};

// At most max_requests requests. Faults of requests are part of them.
Workload make_workload(uint64_t seed, const FaultPlan& faults, int max_requests,
                       const std::vector<TraceRow>& trace);

// Positions a sequence can ever hold on this machine.
int longest_context(const ExecutorLimits& limits);

}  // namespace sparrow

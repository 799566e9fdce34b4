#pragma once
// What `sparrow bench --workload` prints of sets of requests and of users: tables of at most 120
// columns, or one JSON array. The keys are listed in docs/benchmarks/README.md and stay.

#include "cmd/bench/bench_options.h"
#include "cmd/bench_output.h"
#include "tools/bench/users_run.h"
#include "tools/bench/workload_run.h"

namespace sparrow {

void print_workload(const WorkloadReport& report, const Workload& workload,
                    const WorkloadOptions& options, const BenchedModel& model, bool as_json);

// What a computed time needs.
struct UsersLimit {
  BenchCost cost;
  MachineLimits limits;  // of this machine
  UsersTarget target;
};

void print_users(const UsersReport& report, const UsersOptions& options, const UsersLimit& limit,
                 const BenchedModel& model, bool as_json);

}  // namespace sparrow

#pragma once
// Which CPUs the compute threads get, from --threads, --cpu-list, --numa, OMP_NUM_THREADS and what
// the machine is (base/cpu_topology.h).

#include <vector>

#include "base/options.h"
#include "base/status.h"

namespace sparrow {

struct ComputeThreads {
  int count = 0;                 // at least 1
  std::vector<int> pinned_cpus;  // one CPU a thread, or empty: the kernel places them
};

// Logs one line for what is unusual (a quota, cores of two kinds, several nodes, more threads than
// cores) and for variables of other programs that have no effect here. Error: a CPU that is unknown
// or not allowed, names --cpu-list and what is allowed.
Result<ComputeThreads> choose_compute_threads(const OptionValues& values);

}  // namespace sparrow

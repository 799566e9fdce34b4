#pragma once
// CpuTopology: the CPUs this process may use, how they share cores, kinds and NUMA nodes, and how
// much of them its cgroup grants; and the choice of CPUs for compute threads.
//
// Facts come from Linux: affinity mask, /sys/devices/system/{cpu,node}, /sys/devices/cpu_atom (the
// small cores of a hybrid x86), cpu_capacity (big.LITTLE), cgroup v2 and v1 quotas. What is missing
// there is taken as "one node, all cores alike". Stateless; reads files, no caching.

#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace sparrow {

struct LogicalCpu {
  int id = 0;
  int package = 0;
  int core = 0;         // within the package; hyper-threads of one core share it
  int node = 0;         // NUMA
  int capacity = 1024;  // relative speed; the fastest kind of the machine has the largest
};

struct CpuTopology {
  std::vector<LogicalCpu> cpus;  // those in the affinity mask, by id; never empty
  double quota_cpus = 0;         // CPU time granted by the cgroup; 0: no limit

  int num_cores() const;  // physical
  int num_nodes() const;
  bool hybrid() const;  // cores of different speed
  // One thread per physical core, at most the whole CPUs of the quota, at least 1.
  int default_threads() const;
};

// `root` is put before /sys and /proc (for tests); `affinity` names the allowed CPUs, empty for the
// mask of this process.
CpuTopology read_cpu_topology(const std::string& root = "", std::vector<int> affinity = {});

// Ids of num_threads CPUs in the order workers should get them: one per physical core, fast kinds
// first, then further hyper-threads; neighbours in the list share a node. More threads than CPUs:
// the list starts over.
std::vector<int> choose_cpus(const CpuTopology& topology, int num_threads);

// "0-3,8,10-11" (also what the kernel writes). Errors name the part that is wrong; ids up to 8191.
Result<std::vector<int>> parse_cpu_list(std::string_view text);

}  // namespace sparrow

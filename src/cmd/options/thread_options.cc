#include "cmd/options/thread_options.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "base/compute_pool.h"
#include "base/cpu_topology.h"
#include "base/env.h"
#include "base/log.h"

namespace sparrow {
namespace {

Result<std::vector<int>> allowed_list(const std::string& text, const CpuTopology& topology) {
  Result<std::vector<int>> ids = parse_cpu_list(text);
  if (!ids.ok()) return invalid_argument("--cpu-list: " + ids.message());
  std::vector<int> allowed;
  for (const LogicalCpu& cpu : topology.cpus) allowed.push_back(cpu.id);
  for (const int id : *ids) {
    if (std::find(allowed.begin(), allowed.end(), id) == allowed.end()) {
      return invalid_argument(
          fmt::format("--cpu-list {}: this process may not use CPU {}; it may use {}", text, id,
                      fmt::join(allowed, ",")));
    }
  }
  return ids;
}

// Variables that people set for other programs.
void log_foreign_variables() {
  for (const char* name : {"OV_NUM_THREADS", "OMP_PROC_BIND", "OMP_PLACES", "GOMP_CPU_AFFINITY"}) {
    if (!env_string(name)) continue;
    const bool counts = std::string_view(name) == "OV_NUM_THREADS";
    log_info("{} has no effect on Sparrow: use {}", name,
             counts ? "--threads N" : "--cpu-list 0-3 (or --numa auto)");
  }
}

void log_machine(const CpuTopology& topology, const ComputeThreads& threads) {
  const int num_cores = topology.num_cores();
  if (topology.quota_cpus > 0) {
    log_info("The control group grants {:.1f} CPUs", topology.quota_cpus);
  }
  if (topology.hybrid()) {
    log_info("Cores of different speed: fast ones are used first, work is shared as they finish");
  }
  if (threads.count > num_cores) {
    log_warning(
        "{} compute threads on {} cores: more threads than cores make it slower (--threads {})",
        threads.count, num_cores, topology.default_threads());
  }
  if (!threads.pinned_cpus.empty()) {
    log_info("Compute threads stay on CPUs {}", fmt::join(threads.pinned_cpus, ","));
  }
}

}  // namespace

Result<ComputeThreads> choose_compute_threads(const OptionValues& values) {
  const CpuTopology topology = read_cpu_topology();
  ComputeThreads threads;
  threads.count = static_cast<int>(values.integer("threads"));
  const std::string& list = values.text("cpu-list");
  if (!list.empty()) {
    ASSIGN_OR_RETURN(threads.pinned_cpus, allowed_list(list, topology));
    const auto listed = static_cast<int>(threads.pinned_cpus.size());
    if (threads.count > listed) {
      return invalid_argument(fmt::format("--threads {} is more than the {} CPUs of --cpu-list {}",
                                          threads.count, listed, list));
    }
    if (threads.count < 1) threads.count = listed;
    threads.pinned_cpus.resize(static_cast<size_t>(threads.count));
  } else {
    if (threads.count < 1) threads.count = ComputePool::default_num_threads();
    if (values.text("numa") == "auto" && topology.num_nodes() > 1) {
      threads.pinned_cpus = choose_cpus(topology, threads.count);
    }
  }
  log_foreign_variables();
  log_machine(topology, threads);
  return threads;
}

}  // namespace sparrow

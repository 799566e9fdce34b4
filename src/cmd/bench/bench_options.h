#pragma once
// The options of `sparrow bench` beside those of the model, and what they mean for each kind of
// measurement. Errors name the option and what is allowed.

#include <string>
#include <vector>

#include "base/options.h"
#include "base/status.h"
#include "tools/bench/bench.h"
#include "tools/bench/card.h"
#include "tools/bench/users_run.h"
#include "tools/bench/workload_run.h"

namespace sparrow {

std::vector<OptionSpec> bench_option_specs();

// The kinds of --workload.
enum class WorkloadKind {
  kNone,     // prompts and generation in batches, from the other options
  kLatency,  // the same, with the defaults of a latency table
  kUsers,
  kSet,  // a set of requests: nano-vllm, or a file
};
WorkloadKind workload_kind(const OptionValues& values);
// Options that say nothing to this kind of measurement are an error.
Status check_bench_options(const OptionValues& values);

// One for each length in --prompt-tokens.
Result<std::vector<BenchOptions>> batch_options(const OptionValues& values);
// The longest of --prompt-tokens.
Result<int> longest_prompt(const OptionValues& values);

// The set of --workload, or its first --sequences.
Result<Workload> chosen_workload(const OptionValues& values);
WorkloadOptions workload_options(const OptionValues& values, const Workload& workload);

Result<UsersOptions> users_options(const OptionValues& values);
// What --card and --target-s ask about.
struct UsersTarget {
  const KnownGpu* card = nullptr;  // null: none was named
  double target_s = 0;             // 0: none
};
UsersTarget users_target(const OptionValues& values);

}  // namespace sparrow

#pragma once
// `sparrow bench --workload`: requests through the server's own engine, without HTTP.

#include "base/options.h"
#include "base/status.h"

namespace sparrow {

// Both print their rows and give the exit code.
Result<int> bench_workload_set(const OptionValues& values);
Result<int> bench_workload_users(const OptionValues& values);

}  // namespace sparrow

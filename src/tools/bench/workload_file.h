#pragma once
// The file of `sparrow bench --workload FILE`: JSON Lines, an object each, with the whole numbers
// "prompt_tokens" and "output_tokens". Other keys are ignored.

#include <string>

#include "base/status.h"
#include "tools/bench/workload.h"

namespace sparrow {

inline constexpr int kMaxWorkloadItems = 100000;
inline constexpr int kMaxWorkloadTokens = 1 << 20;  // of one prompt, and of one answer

// Errors name the file and the line.
Result<Workload> read_workload_file(const std::string& path);

}  // namespace sparrow

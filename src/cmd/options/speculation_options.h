#pragma once
// The options of speculation, as serve and run share them: our own, and vLLM's
// --speculative-config, of which the n-gram method is what we do.

#include <vector>

#include "base/options.h"
#include "base/status.h"
#include "scheduler/speculation.h"

namespace sparrow {

// Appends the options to a command's own.
std::vector<OptionSpec> with_speculation_options(std::vector<OptionSpec> own);

// Errors name the option, the key and what is allowed.
Result<SpeculationOptions> speculation_options(const OptionValues& values);

}  // namespace sparrow

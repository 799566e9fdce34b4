#pragma once
// The options that every command which runs a model shares: which model, in what form, with how
// much memory and how many threads.

#include <vector>

#include "base/options.h"

namespace sparrow {

// Appends the shared options to a command's own.
std::vector<OptionSpec> with_model_options(std::vector<OptionSpec> own);

}  // namespace sparrow

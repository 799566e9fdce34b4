#pragma once
// The options of admission, as serve takes them: how long anybody may wait, what one key may use,
// and what is given up under load.

#include <vector>

#include "admission/admission_control.h"
#include "base/options.h"

namespace sparrow {

// Appends the options to a command's own.
std::vector<OptionSpec> with_admission_options(std::vector<OptionSpec> own);

// Reads --max-step-ms and --max-num-queued-reqs, too.
AdmissionOptions admission_options(const OptionValues& values);
// What the table cannot say by itself: lengths, and values that must fit each other.
Status check_admission_options(const OptionValues& values);

}  // namespace sparrow

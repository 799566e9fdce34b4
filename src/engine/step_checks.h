#pragma once
// What an executor says is checked before anybody builds on it: a driver that answers for another
// step, or with numbers outside its own tables, costs the step and not the server. No allocation.

#include "core/batch_plan.h"
#include "core/step_result.h"

namespace sparrow {

// What is wrong with the result, as half a sentence; nullptr if it fits the plan.
const char* contradiction_in(const BatchPlan& plan, const StepResult& result, int vocab_size);

}  // namespace sparrow

#pragma once
// What an executor takes for granted of a plan. It comes from our scheduler: a contradiction is a
// defect of ours and ends the program.

#include "core/batch_plan.h"
#include "model/executor.h"

namespace sparrow {

// Spans within the limits and within the plan's arrays, rows in plan order, blocks that exist.
void check_plan(const BatchPlan& plan, const ExecutorLimits& limits);

}  // namespace sparrow

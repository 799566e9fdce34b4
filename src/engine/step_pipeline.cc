#include "engine/step_pipeline.h"

#include <algorithm>

#include "base/check.h"
#include "engine/failure.h"
#include "engine/step_checks.h"

namespace sparrow {

StepPipeline::StepPipeline(Executor& executor)
    : executor_(executor),
      vocab_size_(executor.limits().vocab_size),
      max_steps_(static_cast<size_t>(std::clamp(executor.limits().max_steps_in_flight, 1, 2))),
      masks_(vocab_size_),
      slot_is_begun_(static_cast<size_t>(executor.limits().num_slots), false) {
  failed_result_.failed = true;
}

bool StepPipeline::has_room_ahead() const {
  return num_steps_ == 1 && max_steps_ > 1 && steps_[0].is_running && !steps_[0].is_worthless;
}

void StepPipeline::start(Scheduler& scheduler, const BatchPlan& plan) noexcept {
  CHECK(empty());
  Step& step = steps_[num_steps_++];
  step = {.plan = &plan};
  try {
    masks_.assign(scheduler, plan);
    step.ticket = executor_.begin(plan);
    for (const SlotStart& start : plan.slot_starts) {
      slot_is_begun_[static_cast<size_t>(start.slot)] = true;
    }
    masks_.fill(scheduler, plan);
    executor_.sample(step.ticket, masks_.view());
    step.is_running = true;
  } catch (...) {
    step.no_memory = reason_of_exception("a step") == FinishReason::kNoMemory;
  }
}

void StepPipeline::start_ahead(const BatchPlan& plan) noexcept {
  CHECK(has_room_ahead() && plan.slot_starts.empty());
  Step& step = steps_[num_steps_++];
  step = {.plan = &plan, .is_ahead = true};
  try {
    step.ticket = executor_.begin(plan);
    executor_.sample(step.ticket, {});
    step.is_running = true;
  } catch (...) {
    step.no_memory = reason_of_exception("a step") == FinishReason::kNoMemory;
  }
}

FinishedStep StepPipeline::finish_oldest() noexcept {
  CHECK(!empty());
  const Step step = steps_[0];
  const StepResult& result = result_of(step);
  steps_[0] = steps_[1];
  --num_steps_;
  if (result.failed && num_steps_ > 0) steps_[0].is_worthless = true;
  return {.result = result, .was_ahead = step.is_ahead, .is_worthless = step.is_worthless};
}

void StepPipeline::finish_all() noexcept {
  while (!empty()) finish_oldest();
}

const StepResult& StepPipeline::failed(bool no_memory) {
  failed_result_.no_memory = no_memory;
  return failed_result_;
}

const StepResult& StepPipeline::result_of(const Step& step) noexcept {
  if (!step.is_running) return failed(step.no_memory);
  try {
    const StepResult& result = executor_.wait(step.ticket);
    if (step.is_worthless) return failed(false);
    const char* contradiction = contradiction_in(*step.plan, result, vocab_size_);
    if (contradiction == nullptr) return result;
    log_failure("a step", contradiction);
    return failed(false);
  } catch (...) {
    return failed(reason_of_exception("a step") == FinishReason::kNoMemory);
  }
}

void StepPipeline::release(SlotId slot) {
  const auto index = static_cast<size_t>(slot);
  if (slot_is_begun_[index]) executor_.release(slot);
  slot_is_begun_[index] = false;
}

}  // namespace sparrow

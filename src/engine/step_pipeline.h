#pragma once
// StepPipeline: the steps between the engine and its executor: one, or where the executor takes
// two, a second behind it that was planned ahead. It makes sure that whatever an executor throws or
// says, every step that started comes back once, in order, with a result that fits its plan or a
// failed one, and that the executor hears of a slot's end only if it knew of its beginning.
//
//   pipeline.start(scheduler, plan);
//   pipeline.start_ahead(next_plan);     // while has_room()
//   const FinishedStep step = pipeline.finish_oldest();
//
// Engine thread only.

#include <array>
#include <cstddef>
#include <vector>

#include "core/batch_plan.h"
#include "engine/step_masks.h"
#include "model/executor.h"
#include "scheduler/scheduler.h"

namespace sparrow {

struct FinishedStep {
  const StepResult& result;  // until the next start
  bool was_ahead = false;    // it began before the step before it was over
  // The step before it failed while it was on its way: it failed with that one, and says nothing
  // itself of how the executor is.
  bool is_worthless = false;
};

class StepPipeline {
 public:
  // The executor is loaded and outlives this object.
  explicit StepPipeline(Executor& executor);

  bool empty() const { return num_steps_ == 0; }
  // A step behind the one on its way may start: the executor takes two, and that one is well so
  // far.
  bool has_room_ahead() const;
  // The oldest step on its way.
  const BatchPlan& oldest() const { return *steps_[0].plan; }

  // The plan is the scheduler's last and stays unchanged until the step has finished.
  void start(Scheduler& scheduler, const BatchPlan& plan) noexcept;
  // A plan without masks.
  void start_ahead(const BatchPlan& plan) noexcept;
  FinishedStep finish_oldest() noexcept;
  // For the end of the engine: nothing is on its way any more.
  void finish_all() noexcept;

  // A sequence left the slot, which may never have come to the executor.
  void release(SlotId slot);

 private:
  struct Step {
    const BatchPlan* plan = nullptr;
    Ticket ticket = 0;
    bool is_running = false;  // the executor has it; else it failed as it started
    bool no_memory = false;   // that was why
    bool is_ahead = false;
    bool is_worthless = false;
  };

  const StepResult& result_of(const Step& step) noexcept;
  const StepResult& failed(bool no_memory);

  Executor& executor_;
  const int vocab_size_;
  const size_t max_steps_;
  StepMasks masks_;
  std::vector<bool> slot_is_begun_;  // the executor knows the slot's sequence
  std::array<Step, 2> steps_;        // the oldest first
  size_t num_steps_ = 0;
  StepResult failed_result_;
};

}  // namespace sparrow

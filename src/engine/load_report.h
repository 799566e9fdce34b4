#pragma once
// What the engine's snapshot says of its scheduler. Engine thread.

#include "admission/load_snapshot.h"
#include "scheduler/scheduler.h"

namespace sparrow {

// Moving average over started sequences of the share of their prompts that was cached. By tokens: a
// long prompt counts more.
class CachedPromptShare {
 public:
  void on_start(int num_prompt_tokens, int num_cached) {
    constexpr double kWeight = 0.1;
    prompt_ += kWeight * (num_prompt_tokens - prompt_);
    cached_ += kWeight * (num_cached - cached_);
  }
  double value() const { return prompt_ > 0 ? cached_ / prompt_ : 0; }

 private:
  double prompt_ = 0;
  double cached_ = 0;
};

void report_scheduler(const Scheduler& scheduler, double cached_prompt_share, TimePoint now,
                      LoadSnapshot& load);

}  // namespace sparrow

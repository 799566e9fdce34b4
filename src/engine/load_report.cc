#include "engine/load_report.h"

#include "admission/predicted_wait.h"

namespace sparrow {

void report_scheduler(const Scheduler& scheduler, double cached_prompt_share, TimePoint now,
                      LoadSnapshot& load) {
  load.num_running = scheduler.num_running();
  load.num_waiting = scheduler.num_waiting();
  load.num_deferred = scheduler.num_deferred();
  load.cached_prompt_share = cached_prompt_share;
  load.num_waiting_prompt_tokens =
      scheduler.num_uncomputed_prompt_tokens() +
      expected_prompt_tokens(cached_prompt_share, scheduler.num_waiting_prompt_tokens());
  load.oldest_wait_ms = to_ms(scheduler.oldest_wait(now));
  load.num_blocks_live = scheduler.blocks().num_used();
  load.num_blocks_cached = scheduler.blocks().num_cached();
  const StepCost& cost = scheduler.step_cost();
  load.has_step_cost = cost.has_line();
  load.step_fixed_ms = cost.fixed_ms();
  load.step_row_ms = cost.row_ms();
}

}  // namespace sparrow

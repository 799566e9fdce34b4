#include "tools/bench/workload_run.h"

#include <fmt/format.h>

#include <algorithm>

namespace sparrow {
namespace {

// As short as nano-vllm's: caches and pages are warm, and clocks are up.
constexpr WorkloadItem kWarmUp{.prompt_tokens = 4, .output_tokens = 64};

Status check_fits(const Workload& workload, const ExecutorLimits& limits) {
  if (workload.items.empty()) return invalid_argument("the workload has no requests");
  for (const WorkloadItem& item : workload.items) {
    if (item.prompt_tokens < 1 || item.output_tokens < 1) {
      return invalid_argument("a request of the workload has no prompt or no output tokens");
    }
  }
  const int64_t held = int64_t{limits.num_blocks} * limits.block_tokens;
  const int64_t most = std::min<int64_t>(limits.max_context_tokens, held);
  if (workload.longest() <= most) return ok_status();
  return invalid_argument(
      fmt::format("{}: a request of {} tokens, prompt and output together; at most {} fit here",
                  workload.name, workload.longest(), most));
}

class WorkloadRun {
 public:
  WorkloadRun(Executor& executor, const Tokenizer& tokenizer, const Workload& workload,
              const BenchCost& cost, const MachineLimits& limits, const WorkloadOptions& options,
              const Clock& clock, const WorkloadProgress& progress)
      : metered_(executor, cost, limits),
        tokenizer_(tokenizer),
        workload_(workload),
        options_(options),
        clock_(clock),
        progress_(progress, clock) {}

  Status run(WorkloadReport& report) {
    RETURN_IF_ERROR(warm_up());
    for (int run = 1; run <= options_.repeat && !report.stopped; ++run) {
      WorkloadRow row{.run = run, .is_whole = false, .num_ended = 0, .work = {}};
      RETURN_IF_ERROR(time_run(row));
      report.stopped = !row.is_whole;
      if (row.work.output_tokens > 0) report.rows.push_back(row);
    }
    return ok_status();
  }

 private:
  Status warm_up() {
    const int half = metered_.limits().max_context_tokens / 2;
    OfflineEngine engine(metered_, tokenizer_, options_.engine, clock_);
    RETURN_IF_ERROR(engine.submit({.prompt_tokens = std::clamp(half, 1, kWarmUp.prompt_tokens),
                                   .output_tokens = std::clamp(half, 1, kWarmUp.output_tokens)}));
    while (!engine.idle()) RETURN_IF_ERROR(engine.step());
    return ok_status();
  }

  Status time_run(WorkloadRow& row) {
    OfflineEngine engine(metered_, tokenizer_, options_.engine, clock_);
    metered_.reset_totals();
    const TimePoint begin = clock_.now();
    size_t num_submitted = 0;
    const auto total = static_cast<double>(workload_.output_tokens());
    row.is_whole = true;
    for (;;) {
      RETURN_IF_ERROR(top_up(engine, num_submitted));
      if (engine.idle()) break;
      if (progress_.is_due() &&
          !progress_.show(static_cast<double>(engine.num_output_tokens()) / total,
                          progress_text(engine, row.run))) {
        row.is_whole = false;
        break;
      }
      RETURN_IF_ERROR(engine.step());
      row.num_ended += static_cast<int>(engine.take_answers().size());
    }
    row.work = engine_work(metered_.totals(), to_seconds(clock_.now() - begin),
                           engine.num_output_tokens());
    return ok_status();
  }

  // As if all were there: as many wait as one step could take, and no more tokens than those of
  // twice as many requests as run at once are held.
  Status top_up(OfflineEngine& engine, size_t& num_submitted) {
    while (num_submitted < workload_.items.size() &&
           engine.num_unfinished() < 2 * engine.max_running()) {
      RETURN_IF_ERROR(engine.submit(workload_.items[num_submitted++]));
    }
    return ok_status();
  }

  std::string progress_text(const OfflineEngine& engine, int run) const {
    const std::string text =
        fmt::format("{} of {} tokens", engine.num_output_tokens(), workload_.output_tokens());
    return options_.repeat == 1 ? text : fmt::format("run {}, {}", run, text);
  }

  MeteredExecutor metered_;
  const Tokenizer& tokenizer_;
  const Workload& workload_;
  const WorkloadOptions& options_;
  const Clock& clock_;
  PacedProgress progress_;
};

}  // namespace

Result<WorkloadReport> run_workload(Executor& executor, const Tokenizer& tokenizer,
                                    const Workload& workload, const BenchCost& cost,
                                    const MachineLimits& limits, const WorkloadOptions& options,
                                    const Clock& clock, const WorkloadProgress& progress) {
  RETURN_IF_ERROR(check_fits(workload, executor.limits()));
  WorkloadRun run(executor, tokenizer, workload, cost, limits, options, clock, progress);
  WorkloadReport report;
  RETURN_IF_ERROR(run.run(report));
  return report;
}

}  // namespace sparrow

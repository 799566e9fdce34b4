#include "tools/bench/users_run.h"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

namespace sparrow {
namespace {

// Of the step that computes the prompts, and of the one that adds a token to contexts that hold
// `context` tokens with it.
StepWork prompts_work(const BenchCost& cost, double users, double prompt) {
  return {.tokens = users * prompt,
          .bytes = cost.weight_bytes_per_step + users * prompt * cost.kv_bytes_per_token,
          .ops = users * (prompt * cost.ops_per_token + cost.ops_per_logit_row),
          .attention_ops = users * cost.attention_ops_per_context * prompt * (prompt + 1) / 2};
}

StepWork token_work(const BenchCost& cost, double users, double context) {
  return {.tokens = users,
          .bytes = cost.weight_bytes_per_step + users * context * cost.kv_bytes_per_token,
          .ops = users * (cost.ops_per_token + cost.ops_per_logit_row),
          .attention_ops = users * cost.attention_ops_per_context * context};
}

Status check_options(const UsersOptions& options, const ExecutorLimits& limits) {
  const WorkloadItem& request = options.request;
  if (options.num_users < 1 || options.rounds < 1 || request.prompt_tokens < 1 ||
      request.output_tokens < 1) {
    return invalid_argument("users, rounds, prompt and output tokens must be at least 1");
  }
  const int length = request.prompt_tokens + request.output_tokens;
  const int64_t held = int64_t{limits.num_blocks} * limits.block_tokens;
  const int64_t most = std::min<int64_t>(limits.max_context_tokens, held);
  if (length <= most) return ok_status();
  return invalid_argument(fmt::format(
      "a request of {} tokens, prompt and output together; at most {} fit here", length, most));
}

class UsersRun {
 public:
  UsersRun(Executor& executor, const Tokenizer& tokenizer, const BenchCost& cost,
           const MachineLimits& limits, const UsersOptions& options, const Clock& clock,
           const WorkloadProgress& progress)
      : metered_(executor, cost, limits),
        options_(options),
        clock_(clock),
        progress_(progress, clock),
        engine_(metered_, tokenizer, options.engine, clock) {}

  Status run(UsersReport& report) {
    bool goes_on = true;
    RETURN_IF_ERROR(run_rounds(1, goes_on));
    if (!goes_on) {
      report.stopped = true;
      return ok_status();
    }
    answers_.clear();
    engine_.take_gaps();
    metered_.reset_totals();
    const TimePoint begin = clock_.now();
    const int64_t tokens_before = engine_.num_output_tokens();
    RETURN_IF_ERROR(run_rounds(options_.rounds, goes_on));
    report.work = engine_work(metered_.totals(), to_seconds(clock_.now() - begin),
                              engine_.num_output_tokens() - tokens_before);
    report.stopped = !goes_on;
    summarize(report);
    return ok_status();
  }

 private:
  Status run_rounds(int rounds, bool& goes_on) {
    const int num_wanted = options_.num_users * rounds;
    const size_t num_before = answers_.size();
    int num_asked = 0;
    while (num_asked < options_.num_users) RETURN_IF_ERROR(ask(num_asked));
    while (!engine_.idle()) {
      const auto num_answers = static_cast<int>(answers_.size() - num_before);
      if (progress_.is_due() &&
          !progress_.show(static_cast<double>(num_answers) / num_wanted,
                          fmt::format("{} of {} answers", num_answers, num_wanted))) {
        goes_on = false;
        return ok_status();
      }
      RETURN_IF_ERROR(engine_.step());
      // Who has an answer asks again.
      for (const OfflineAnswer& answer : engine_.take_answers()) {
        answers_.push_back(answer);
        if (num_asked < num_wanted) RETURN_IF_ERROR(ask(num_asked));
      }
    }
    return ok_status();
  }

  Status ask(int& num_asked) {
    ++num_asked;
    return engine_.submit(options_.request);
  }

  void summarize(UsersReport& report) {
    std::vector<double> answers, first_tokens;
    for (const OfflineAnswer& answer : answers_) {
      answers.push_back(answer.answer_s);
      first_tokens.push_back(answer.first_token_s);
    }
    report.num_answers = static_cast<int>(answers_.size());
    report.answer_s = percentiles_of(std::move(answers));
    report.first_token_s = percentiles_of(std::move(first_tokens));
    report.gap_s = percentiles_of(engine_.take_gaps());
  }

  MeteredExecutor metered_;
  const UsersOptions& options_;
  const Clock& clock_;
  PacedProgress progress_;
  OfflineEngine engine_;
  std::vector<OfflineAnswer> answers_;
};

}  // namespace

Result<UsersReport> run_users(Executor& executor, const Tokenizer& tokenizer, const BenchCost& cost,
                              const MachineLimits& limits, const UsersOptions& options,
                              const Clock& clock, const WorkloadProgress& progress) {
  RETURN_IF_ERROR(check_options(options, executor.limits()));
  UsersOptions with_gaps = options;
  with_gaps.engine.keeps_gaps = true;
  UsersRun run(executor, tokenizer, cost, limits, with_gaps, clock, progress);
  UsersReport report;
  RETURN_IF_ERROR(run.run(report));
  return report;
}

double users_limit_seconds(const BenchCost& cost, const MachineLimits& limits, int num_users,
                           const WorkloadItem& request) {
  double seconds = limit_seconds(prompts_work(cost, num_users, request.prompt_tokens), limits);
  for (int token = 1; token < request.output_tokens; ++token) {
    seconds += limit_seconds(token_work(cost, num_users, request.prompt_tokens + token), limits);
  }
  return seconds;
}

double share_of_limit_needed(const BenchCost& cost, const MachineLimits& limits, int num_users,
                             const WorkloadItem& request, double target_s) {
  return users_limit_seconds(cost, limits, num_users, request) / target_s;
}

}  // namespace sparrow

#include "cmd/bench/workload_output.h"

#include <fmt/format.h>

#include <cstdio>
#include <string>

#include "cmd/bench/bench_json.h"

namespace sparrow {
namespace {

void append_work(std::string& out, const EngineWork& work) {
  append_number(out, "seconds", work.seconds);
  append_number(out, "tokens_per_s", work.tokens_per_s);
  append_number(out, "steps", static_cast<double>(work.steps));
  append_number(out, "mean_batch", work.mean_batch);
  append_number(out, "step_ms", work.step_s * 1e3);
  append_number(out, "beside_ms", work.beside_s * 1e3);
  append_number(out, "gb_per_s", work.bytes_per_s * 1e-9);
  append_number(out, "gops", work.ops_per_s * 1e-9);
  append_number(out, "share_of_limit", work.share_of_limit);
  append_number(out, "share_at_bandwidth", work.share_at_bandwidth);
}

std::string workload_json(const WorkloadRow& row, const Workload& workload,
                          const WorkloadOptions& options, const BenchedModel& model) {
  std::string out = "{\"test\":\"workload\"";
  append_text(out, "workload", workload.name);
  append_number(out, "run", row.run);
  append_flag(out, "whole", row.is_whole);
  append_number(out, "sequences", static_cast<double>(workload.items.size()));
  append_number(out, "sequences_in_full", workload.num_in_full);
  append_number(out, "sequences_ended", row.num_ended);
  append_number(out, "prompt_tokens", static_cast<double>(workload.prompt_tokens()));
  append_number(out, "output_tokens", static_cast<double>(row.work.output_tokens));
  append_number(out, "temperature", options.engine.temperature);
  append_number(out, "max_num_seqs", options.engine.max_num_seqs);
  append_number(out, "max_num_batched_tokens", options.engine.max_num_batched_tokens);
  append_work(out, row.work);
  append_run(out, model);
  return out;
}

void print_workload_table(const WorkloadReport& report, const Workload& workload,
                          const WorkloadOptions& options, const BenchedModel& model) {
  print_model(model);
  const size_t count = workload.items.size();
  std::printf(
      "%s: %zu requests, %lld tokens in, %lld out; temperature %.1f, no end of sequence, "
      "no prefix cache\n",
      workload.name.c_str(), count, static_cast<long long>(workload.prompt_tokens()),
      static_cast<long long>(workload.output_tokens()), options.engine.temperature);
  if (static_cast<int>(count) < workload.num_in_full) {
    std::printf("a part of it: the first %zu of %d requests, not to be compared with the whole\n",
                count, workload.num_in_full);
  }
  std::printf("\n%-4s %9s %8s %10s %8s %7s %8s %9s %8s %8s  %s\n", "run", "tokens", "s", "tok/s",
              "steps", "batch", "ms/step", "beside", "GB/s", "GOPS", "share of limit");
  for (const WorkloadRow& row : report.rows) {
    const EngineWork& work = row.work;
    std::printf("%-4d %9lld %8.2f %10.2f %8lld %7.1f %8.2f %9.3f %8.2f %8.1f  %5.1f %%%s\n",
                row.run, static_cast<long long>(work.output_tokens), work.seconds,
                work.tokens_per_s, static_cast<long long>(work.steps), work.mean_batch,
                work.step_s * 1e3, work.beside_s * 1e3, work.bytes_per_s * 1e-9,
                work.ops_per_s * 1e-9, work.share_of_limit * 100, row.is_whole ? "" : ", stopped");
  }
}

void append_percentiles(std::string& out, const std::string& name, const std::string& unit,
                        const Percentiles& seconds, double scale) {
  append_number(out, (name + "_p50_" + unit).c_str(), seconds.p50 * scale);
  append_number(out, (name + "_p95_" + unit).c_str(), seconds.p95 * scale);
  append_number(out, (name + "_max_" + unit).c_str(), seconds.max * scale);
}

double limit_s(const UsersLimit& limit, const MachineLimits& limits, const UsersOptions& options) {
  return users_limit_seconds(limit.cost, limits, options.num_users, options.request);
}

std::string users_json(const UsersReport& report, const UsersOptions& options,
                       const UsersLimit& limit, const BenchedModel& model) {
  std::string out = "{\"test\":\"users\"";
  append_number(out, "users", options.num_users);
  append_number(out, "rounds", options.rounds);
  append_number(out, "answers", report.num_answers);
  append_flag(out, "whole", !report.stopped);
  append_number(out, "prompt_tokens", options.request.prompt_tokens);
  append_number(out, "gen_tokens", options.request.output_tokens);
  if (report.num_answers > 0) {
    append_percentiles(out, "answer", "s", report.answer_s, 1);
    append_percentiles(out, "first_token", "ms", report.first_token_s, 1e3);
  }
  append_percentiles(out, "gap", "ms", report.gap_s, 1e3);
  append_work(out, report.work);
  append_number(out, "answer_limit_s", limit_s(limit, limit.limits, options));
  const UsersTarget& target = limit.target;
  const auto needed = [&](const MachineLimits& limits) {
    return share_of_limit_needed(limit.cost, limits, options.num_users, options.request,
                                 target.target_s);
  };
  if (target.target_s > 0) {
    append_number(out, "target_s", target.target_s);
    append_number(out, "share_needed", needed(limit.limits));
  }
  if (target.card != nullptr) {
    const MachineLimits card = limits_of(*target.card);
    append_text(out, "card", std::string(target.card->id));
    append_number(out, "card_answer_limit_s", limit_s(limit, card, options));
    if (target.target_s > 0) append_number(out, "card_share_needed", needed(card));
  }
  append_run(out, model);
  return out;
}

void print_percentiles(const char* name, const Percentiles& seconds, const char* unit,
                       double scale) {
  std::printf("%-20s %10.2f %10.2f %10.2f  %s\n", name, seconds.p50 * scale, seconds.p95 * scale,
              seconds.max * scale, unit);
}

// One sentence of figures that are computed.
void print_limit(const std::string& who, double least_s, double target_s) {
  std::string text = fmt::format("computed: {} takes {:.3g} s at least", who, least_s);
  if (target_s > 0) {
    const double share = least_s / target_s;
    text += fmt::format("; {} s need {:.1f} % of its limit{}", target_s, share * 100,
                        share > 1 ? ": no engine can" : "");
  }
  std::printf("%s\n", text.c_str());
}

void print_users_table(const UsersReport& report, const UsersOptions& options,
                       const UsersLimit& limit, const BenchedModel& model) {
  print_model(model);
  std::printf(
      "%d users, %d tokens in and %d out each, %d of %d answers; temperature %.1f, no end "
      "of sequence, no prefix cache\n\n",
      options.num_users, options.request.prompt_tokens, options.request.output_tokens,
      report.num_answers, options.num_users * options.rounds, options.engine.temperature);
  if (report.num_answers > 0) {
    std::printf("%-20s %10s %10s %10s\n", "", "P50", "P95", "max");
    print_percentiles("answer", report.answer_s, "s", 1);
    print_percentiles("first token", report.first_token_s, "ms", 1e3);
  }
  print_percentiles("between tokens", report.gap_s, "ms", 1e3);
  const EngineWork& work = report.work;
  std::printf(
      "\n%.2f tokens/s together, %lld steps of %.2f ms (%.3f of them beside the executor), "
      "%.1f sequences each\n%.1f %% of the limit of these steps\n\n",
      work.tokens_per_s, static_cast<long long>(work.steps), work.step_s * 1e3, work.beside_s * 1e3,
      work.mean_batch, work.share_of_limit * 100);
  const UsersTarget& target = limit.target;
  if (target.target_s > 0 && report.num_answers > 0) {
    std::printf("measured: P95 of the answers is %s the target of %g s\n",
                report.answer_s.p95 <= target.target_s ? "within" : "above", target.target_s);
  }
  print_limit("this machine", limit_s(limit, limit.limits, options), target.target_s);
  if (target.card == nullptr) return;
  const KnownGpu& card = *target.card;
  print_limit(fmt::format("card {} ({:.0f} GB/s, {:.1f} TFLOP/s) with these weights", card.name,
                          card.bandwidth_gb_per_s, card.peak_tflops),
              limit_s(limit, limits_of(card), options), target.target_s);
}

}  // namespace

void print_workload(const WorkloadReport& report, const Workload& workload,
                    const WorkloadOptions& options, const BenchedModel& model, bool as_json) {
  if (!as_json) return print_workload_table(report, workload, options, model);
  std::vector<std::string> rows;
  for (const WorkloadRow& row : report.rows) {
    rows.push_back(workload_json(row, workload, options, model));
  }
  print_json_array(rows);
}

void print_users(const UsersReport& report, const UsersOptions& options, const UsersLimit& limit,
                 const BenchedModel& model, bool as_json) {
  if (!as_json) return print_users_table(report, options, limit, model);
  print_json_array({users_json(report, options, limit, model)});
}

}  // namespace sparrow

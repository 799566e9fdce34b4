#include "cmd/bench/workload_command.h"

#include <cstdio>
#include <utility>

#include "base/clock.h"
#include "cmd/bench/bench_options.h"
#include "cmd/bench/bench_setup.h"
#include "cmd/bench/workload_output.h"

namespace sparrow {
namespace {

int exit_code(bool stopped, const char* what) {
  if (!stopped) return 0;
  std::fprintf(stderr, "sparrow: stopped; %s\n", what);
  return kBenchInterrupted;
}

Result<ModelSession> open_for_engine(const OptionValues& values, const OfflineEngineOptions& engine,
                                     int longest) {
  SessionNeeds needs;
  needs.num_slots = engine.max_num_seqs;
  needs.max_context = longest;
  return open_for_bench(values, needs);
}

}  // namespace

Result<int> bench_workload_set(const OptionValues& values) {
  ASSIGN_OR_RETURN(const Workload workload, chosen_workload(values));
  const WorkloadOptions options = workload_options(values, workload);
  ASSIGN_OR_RETURN(const ModelSession session,
                   open_for_engine(values, options.engine, workload.longest()));
  BenchedModel model{
      .session = session, .kv_type = kv_type_name(values), .before = {}, .after = {}};
  ASSIGN_OR_RETURN(const auto probe, MachineProbe::create(*session.executor, values));
  model.before = probe->measure();
  watch_bench_signals();
  Progress progress("bench");
  const RealClock clock;
  const Result<WorkloadReport> report = run_workload(
      *session.executor, *session.tokenizer, workload, cost_of(session.config, *session.executor),
      machine_limits(session, model.before), options, clock,
      [&](double share, const std::string& text) { return show_bench(progress, share, text); });
  progress.clear();
  RETURN_IF_ERROR(report.status());
  // Who stops it wants no more waiting.
  model.after = report->stopped ? model.before : probe->measure();
  print_workload(*report, workload, options, model, values.flag("json"));
  return exit_code(report->stopped, "the last run is not whole");
}

Result<int> bench_workload_users(const OptionValues& values) {
  ASSIGN_OR_RETURN(const UsersOptions options, users_options(values));
  ASSIGN_OR_RETURN(const ModelSession session,
                   open_for_engine(values, options.engine,
                                   options.request.prompt_tokens + options.request.output_tokens));
  BenchedModel model{
      .session = session, .kv_type = kv_type_name(values), .before = {}, .after = {}};
  ASSIGN_OR_RETURN(const auto probe, MachineProbe::create(*session.executor, values));
  model.before = probe->measure();
  const BenchCost cost = cost_of(session.config, *session.executor);
  const MachineLimits limits = machine_limits(session, model.before);
  watch_bench_signals();
  Progress progress("bench");
  const RealClock clock;
  const Result<UsersReport> report = run_users(
      *session.executor, *session.tokenizer, cost, limits, options, clock,
      [&](double share, const std::string& text) { return show_bench(progress, share, text); });
  progress.clear();
  RETURN_IF_ERROR(report.status());
  model.after = report->stopped ? model.before : probe->measure();
  print_users(*report, options, {cost, limits, users_target(values)}, model, values.flag("json"));
  return exit_code(report->stopped, "the answers that were there are counted");
}

}  // namespace sparrow

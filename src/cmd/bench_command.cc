// sparrow bench: speed of the engine's executor, with its share of the machine's limit.

#include <algorithm>
#include <cstdio>
#include <vector>

#include "base/log.h"
#include "cmd/bench/bench_options.h"
#include "cmd/bench/bench_setup.h"
#include "cmd/bench/workload_command.h"
#include "cmd/bench_output.h"
#include "cmd/command.h"
#include "cmd/options/model_options.h"
#include "cmd/options/speculation_options.h"
#include "tools/bench/replay_file.h"

namespace sparrow {
namespace {

constexpr const char* kExamples =
    "  sparrow bench --model r1-q8_0.gguf\n"
    "  sparrow bench --model DIR --prompt-tokens 512 --gen-tokens 64 --batch 1,4,8,12 --threads 2 "
    "--repeat 3\n"
    "  sparrow bench -m r1.gguf --depth 0,4K,16K --kv-cache-dtype int8\n"
    "  sparrow bench -m r1.gguf --batch 1 --verify 1,3,7      what guessed tokens cost\n"
    "  sparrow bench -m r1.gguf --replay chats.jsonl --gen-tokens 128\n"
    "  sparrow bench -m r1.gguf --prompt-tokens 512,4K --batch 1      time to the first token\n"
    "  sparrow bench -m r1.gguf --workload latency --batch 1,8,64\n"
    "  sparrow bench -m r1.gguf --workload nano-vllm --sequences 16\n"
    "  sparrow bench -m r1.gguf --workload lengths.jsonl --max-num-seqs 32 --json\n"
    "  sparrow bench -m r1.gguf --workload users --users 12 --target-s 3.5 --card a40\n"
    "  sparrow synth --config r1-distill-qwen-1.5b --type q8_0 --out r1.gguf && sparrow bench -m "
    "r1.gguf --json\n";

// Until someone interrupts.
bool show(Progress& progress, const std::string& text) { return show_bench(progress, -1, text); }

// Both give the exit code.
Result<int> bench_speed(const OptionValues& values) {
  ASSIGN_OR_RETURN(const std::vector<BenchOptions> all, batch_options(values));
  SessionNeeds needs;
  needs.tokenizer = false;
  for (const BenchOptions& options : all) {
    needs.num_slots = std::max(needs.num_slots, bench_num_slots(options));
    needs.num_blocks = std::max(needs.num_blocks, static_cast<int>(bench_num_blocks(options, 16)));
    needs.max_context = std::max(needs.max_context, bench_num_positions(options));
  }
  ASSIGN_OR_RETURN(ModelSession session, open_for_bench(values, needs));
  BenchedModel model{
      .session = session, .kv_type = kv_type_name(values), .before = {}, .after = {}};
  ASSIGN_OR_RETURN(const auto probe, MachineProbe::create(*session.executor, values));
  model.before = probe->measure();
  MachineLimits limits = machine_limits(session, model.before);
  limits.read_pass = [&probe] { return probe->read_pass(); };
  watch_bench_signals();
  Progress progress("bench");
  const BenchCost cost = cost_of(session.config, *session.executor);
  BenchReport report;
  for (const BenchOptions& options : all) {
    ASSIGN_OR_RETURN(BenchReport part,
                     run_bench(*session.executor, cost, limits, options,
                               [&](const std::string& text) { return show(progress, text); }));
    report.rows.insert(report.rows.end(), part.rows.begin(), part.rows.end());
    report.stopped = part.stopped;
    if (report.stopped) break;
  }
  progress.clear();
  // Who stops it wants no more waiting.
  model.after = report.stopped ? model.before : probe->measure();
  print_rows(report.rows, model, values.flag("json"));
  if (report.stopped) std::fputs("sparrow: stopped; these rows were measured\n", stderr);
  return report.stopped ? kBenchInterrupted : 0;
}

Result<int> bench_replay(const OptionValues& values) {
  ReplayOptions options;
  options.num_rounds = static_cast<int>(values.integer("repeat"));
  ASSIGN_OR_RETURN(options.speculation, speculation_options(values));
  ASSIGN_OR_RETURN(const int max_prompt, longest_prompt(values));
  const ReplayLimits limits{.max_texts = static_cast<int>(values.integer("replay-texts")),
                            .max_prompt = max_prompt,
                            .max_output = static_cast<int>(values.integer("gen-tokens"))};
  const std::vector<ReplayText> longest(
      static_cast<size_t>(limits.max_texts),
      {std::vector<TokenId>(static_cast<size_t>(limits.max_prompt)),
       std::vector<TokenId>(static_cast<size_t>(limits.max_output))});
  SessionNeeds needs;
  needs.num_slots = 1;
  needs.num_blocks = static_cast<int>(replay_num_blocks(longest, 16));
  needs.max_context = replay_num_positions(longest);
  ASSIGN_OR_RETURN(ModelSession session, open_for_bench(values, needs));
  ASSIGN_OR_RETURN(const std::vector<ReplayText> texts,
                   read_replay_file(values.text("replay"), *session.tokenizer, limits));
  BenchedModel model{
      .session = session, .kv_type = kv_type_name(values), .before = {}, .after = {}};
  ASSIGN_OR_RETURN(const auto probe, MachineProbe::create(*session.executor, values));
  model.before = probe->measure();
  watch_bench_signals();
  Progress progress("bench");
  const Result<ReplayReport> report =
      run_replay(*session.executor, texts, options,
                 [&](const std::string& text) { return show(progress, text); });
  progress.clear();
  RETURN_IF_ERROR(report.status());
  model.after = report->stopped ? model.before : probe->measure();
  print_rows(report->rows, model, values.flag("json"));
  if (report->stopped) std::fputs("sparrow: stopped; these rounds were measured\n", stderr);
  return report->stopped ? kBenchInterrupted : 0;
}

Result<int> measure(const OptionValues& values) {
  RETURN_IF_ERROR(check_bench_options(values));
  if (!values.text("replay").empty()) return bench_replay(values);
  switch (workload_kind(values)) {
    case WorkloadKind::kSet:
      return bench_workload_set(values);
    case WorkloadKind::kUsers:
      return bench_workload_users(values);
    case WorkloadKind::kLatency:
    case WorkloadKind::kNone:
      break;
  }
  return bench_speed(values);
}

}  // namespace

const CommandSpec& bench_spec() {
  static const std::vector<OptionSpec> kOptions =
      with_speculation_options(with_model_options(bench_option_specs()));
  static const CommandSpec kSpec{
      .name = "bench",
      .summary = "Measure prompt and generation speed against the machine's limit",
      .positional = "[MODEL]",
      .options = kOptions,
      .examples = kExamples};
  return kSpec;
}

int run_bench(const OptionValues& values) {
  const Status log = configure_log({.level = LogLevel::kWarning, .file = {}});
  if (!log.ok()) return fail(log);
  const Result<int> code = measure(values);
  return code.ok() ? *code : fail(code.status());
}

}  // namespace sparrow

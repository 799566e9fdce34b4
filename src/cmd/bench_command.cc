// sparrow bench: speed of the engine's executor, with its share of the machine's limit.

#include <fmt/format.h>

#include <cstdio>

#include "base/json.h"
#include "base/log.h"
#include "cmd/command.h"
#include "cmd/model_options.h"
#include "cmd/model_session.h"
#include "cmd/progress.h"
#include "kernels/cpu_features.h"
#include "tools/bench/bench.h"
#include "tools/bench/machine_probe.h"

namespace sparrow {
namespace {

constexpr const char* kBench = "Measurement";

constexpr const char* kExamples =
    "  sparrow bench --model r1-q8_0.gguf\n"
    "  sparrow bench --model DIR --prompt-tokens 512 --gen-tokens 64 --batch 1,4,8,12 --threads 2 "
    "--repeat 3\n"
    "  sparrow synth --config r1-distill-qwen-1.5b --type q8_0 --out r1.gguf && sparrow bench -m "
    "r1.gguf --json\n";

std::vector<OptionSpec> own_options() {
  return {
      {.name = "prompt-tokens",
       .type = OptionType::kSize,
       .default_text = "512",
       .help = "Tokens of each prompt",
       .unit = "tokens",
       .min = 1,
       .max = 131072,
       .group = kBench},
      {.name = "gen-tokens",
       .type = OptionType::kSize,
       .default_text = "64",
       .help = "Tokens generated per sequence",
       .unit = "tokens",
       .min = 1,
       .max = 131072,
       .group = kBench},
      {.name = "batch",
       .type = OptionType::kList,
       .default_text = "1,4,8,12",
       .help = "Numbers of sequences computed together",
       .group = kBench},
      {.name = "repeat",
       .type = OptionType::kInt,
       .default_text = "3",
       .help = "Timed runs of each row, after one to warm up",
       .min = 1,
       .max = 1000,
       .aliases = "-r",
       .group = kBench},
      {.name = "probe-mb",
       .type = OptionType::kInt,
       .default_text = "1024",
       .help = "Buffer of the bandwidth probe",
       .unit = "MiB",
       .min = 16,
       .max = 65536,
       .group = kBench},
      {.name = "json",
       .type = OptionType::kFlag,
       .default_text = "false",
       .help = "Print one JSON array, a row each",
       .group = kBench},
  };
}

Result<BenchOptions> bench_options(const OptionValues& values) {
  BenchOptions options;
  options.prompt_tokens = static_cast<int>(values.integer("prompt-tokens"));
  options.gen_tokens = static_cast<int>(values.integer("gen-tokens"));
  options.repeat = static_cast<int>(values.integer("repeat"));
  options.batches.clear();
  for (const std::string& text : values.list("batch")) {
    const Result<int64_t> batch = parse_size(text);
    if (!batch.ok() || *batch < 1 || *batch > 4096) {
      return invalid_argument(
          fmt::format("--batch must hold numbers from 1 to 4096, got '{}'", text));
    }
    options.batches.push_back(static_cast<int>(*batch));
  }
  if (options.batches.empty()) return invalid_argument("--batch must name at least one number");
  return options;
}

BenchCost cost_of(const ModelConfig& config, const CpuExecutor& executor) {
  const double layer =
      static_cast<double>(config.hidden_size) * (config.q_size() * 2.0 + config.kv_size() * 2.0) +
      3.0 * config.hidden_size * config.intermediate_size;
  BenchCost cost;
  cost.weight_bytes_per_step = static_cast<double>(executor.weights_bytes_per_token());
  cost.kv_bytes_per_token = static_cast<double>(executor.kv_bytes_per_token());
  cost.ops_per_token = 2.0 * layer * config.num_layers;
  cost.ops_per_logit_row = 2.0 * static_cast<double>(config.hidden_size) * config.vocab_size;
  cost.attention_ops_per_context = 4.0 * config.q_size() * config.num_layers;
  return cost;
}

// Both kinds of limit, measured with the threads the executor uses.
struct Probe {
  double bandwidth = 0;
  double int8_peak = 0;
};

Result<Probe> probe_machine(const CpuExecutor& executor, size_t bytes) {
  ComputePool pool(executor.num_threads());
  ASSIGN_OR_RETURN(const Kernels* kernels, select_kernels(executor.isa()));
  Probe probe;
  ASSIGN_OR_RETURN(probe.bandwidth, probe_read_bandwidth(*kernels, pool, bytes));
  probe.int8_peak = probe_int8_peak(*kernels, pool);
  return probe;
}

std::string json_row(const BenchRow& row, const ModelSession& session, const Probe& before,
                     const Probe& after) {
  std::string out = fmt::format("{{\"test\":\"{}\",\"batch\":{}", row.test, row.batch);
  const auto number = [&](const char* name, double value) {
    out += fmt::format(",\"{}\":", name);
    append_json_number(out, value);
  };
  number("tokens_per_s", row.tokens_per_s);
  number("tokens_per_s_min", row.tokens_per_s_min);
  number("tokens_per_s_max", row.tokens_per_s_max);
  number("gb_per_s", row.bytes_per_s * 1e-9);
  number("gops", row.ops_per_s * 1e-9);
  number("share_of_limit", row.share_of_limit);
  out += fmt::format(",\"limit\":\"{}\"", row.limit);
  number("read_gb_per_s_before", before.bandwidth * 1e-9);
  number("read_gb_per_s_after", after.bandwidth * 1e-9);
  number("int8_gops", std::max(before.int8_peak, after.int8_peak) * 1e-9);
  out += ",\"model\":";
  append_json_string(out, session.location.names.size() > 1 ? session.location.names[1]
                                                            : session.location.names[0]);
  out += ",\"format\":";
  append_json_string(out, session.format_name);
  out += ",\"cpu\":";
  append_json_string(out, cpu_features().model_name);
  out += fmt::format(",\"isa\":\"{}\",\"threads\":{}}}", session.executor->isa(),
                     session.executor->num_threads());
  return out;
}

void print_table(const std::vector<BenchRow>& rows, const ModelSession& session,
                 const Probe& before, const Probe& after) {
  std::printf("%s, %s, %s, %d threads\n", session.location.path.c_str(),
              session.format_name.c_str(), session.executor->isa(),
              session.executor->num_threads());
  std::printf("measured limits: read %.1f GB/s before, %.1f after; int8 %.0f GOPS\n\n",
              before.bandwidth * 1e-9, after.bandwidth * 1e-9,
              std::max(before.int8_peak, after.int8_peak) * 1e-9);
  std::printf("%-8s %5s %10s %10s %10s %8s %8s  %s\n", "test", "batch", "tok/s", "min", "max",
              "GB/s", "GOPS", "share of limit");
  for (const BenchRow& row : rows) {
    std::printf("%-8s %5d %10.2f %10.2f %10.2f %8.2f %8.1f  %5.1f %% of %s\n", row.test.c_str(),
                row.batch, row.tokens_per_s, row.tokens_per_s_min, row.tokens_per_s_max,
                row.bytes_per_s * 1e-9, row.ops_per_s * 1e-9, row.share_of_limit * 100,
                row.limit.c_str());
  }
}

Status bench(const OptionValues& values) {
  ASSIGN_OR_RETURN(const BenchOptions options, bench_options(values));
  SessionNeeds needs;
  needs.tokenizer = false;
  needs.num_slots = bench_num_slots(options);
  needs.num_blocks = static_cast<int>(bench_num_blocks(options, 16));
  needs.max_context = options.prompt_tokens + options.gen_tokens;
  needs.max_batch_tokens = std::max<int>(
      bench_num_slots(options), static_cast<int>(values.integer("max-num-batched-tokens")));
  const std::string positional = values.positional().empty() ? "" : values.positional()[0];
  ASSIGN_OR_RETURN(ModelSession session, open_session(values, positional, needs));
  const size_t probe_bytes = static_cast<size_t>(values.integer("probe-mb")) << 20;
  ASSIGN_OR_RETURN(const Probe before, probe_machine(*session.executor, probe_bytes));
  // int8 formats multiply int8; for the others no compute peak is probed and bandwidth is the
  // limit.
  const bool is_int8 = session.format_name.find("Q8_0") != std::string::npos ||
                       session.format_name.find("Q4_0") != std::string::npos;
  const MachineLimits limits{before.bandwidth, is_int8 ? before.int8_peak : 0};
  Progress progress("bench");
  Result<std::vector<BenchRow>> rows =
      run_bench(*session.executor, cost_of(session.config, *session.executor), limits, options,
                [&](const std::string& text) { progress.show(-1, text); });
  progress.clear();
  if (!rows.ok()) return rows.status();
  ASSIGN_OR_RETURN(const Probe after, probe_machine(*session.executor, probe_bytes));
  if (!values.flag("json")) {
    print_table(*rows, session, before, after);
    return ok_status();
  }
  for (size_t i = 0; i < rows->size(); ++i) {
    std::printf("%s%s\n", i == 0 ? "[" : ",", json_row((*rows)[i], session, before, after).c_str());
  }
  std::printf("]\n");
  return ok_status();
}

}  // namespace

const CommandSpec& bench_spec() {
  static const std::vector<OptionSpec> kOptions = with_model_options(own_options());
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
  const Status status = bench(values);
  return status.ok() ? 0 : fail(status);
}

}  // namespace sparrow

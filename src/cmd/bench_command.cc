// sparrow bench: speed of the engine's executor, with its share of the machine's limit.

#include <fmt/format.h>
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <memory>
#include <utility>

#include "base/log.h"
#include "cmd/bench_output.h"
#include "cmd/command.h"
#include "cmd/model_session.h"
#include "cmd/options/model_options.h"
#include "cmd/options/speculation_options.h"
#include "cmd/progress.h"
#include "kernels/cpu_features.h"
#include "tools/bench/bench.h"
#include "tools/bench/machine_probe.h"
#include "tools/bench/replay_file.h"

namespace sparrow {
namespace {

constexpr const char* kBench = "Measurement";
constexpr int kInterrupted = 130;  // what shells give for SIGINT
// A vector register holds a quarter as many floats, which attention multiplies, as int8.
constexpr double kFloatShareOfInt8 = 0.25;

constexpr const char* kExamples =
    "  sparrow bench --model r1-q8_0.gguf\n"
    "  sparrow bench --model DIR --prompt-tokens 512 --gen-tokens 64 --batch 1,4,8,12 --threads 2 "
    "--repeat 3\n"
    "  sparrow bench -m r1.gguf --depth 0,4K,16K --kv-cache-dtype int8\n"
    "  sparrow bench -m r1.gguf --batch 1 --verify 1,3,7      what guessed tokens cost\n"
    "  sparrow bench -m r1.gguf --replay chats.jsonl --gen-tokens 128\n"
    "  sparrow synth --config r1-distill-qwen-1.5b --type q8_0 --out r1.gguf && sparrow bench -m "
    "r1.gguf --json\n";

// What is measured beside prompts and generation.
std::vector<OptionSpec> more_options() {
  return {
      {.name = "depth",
       .type = OptionType::kList,
       .default_text = "",
       .help = "Measure with so many tokens in the KV cache already, such as 0,4K,16K",
       .unit = "tokens",
       .aliases = "-d",
       .group = kBench},
      {.name = "verify",
       .type = OptionType::kList,
       .default_text = "",
       .help = "Measure steps that check so many guessed tokens of one sequence, such as 1,3,7",
       .unit = "tokens",
       .group = kBench},
      {.name = "replay",
       .type = OptionType::kString,
       .default_text = "",
       .help = "Measure what speculation brings on the texts of this file instead: JSON Lines with "
               "prompt and output",
       .group = kBench},
      {.name = "replay-texts",
       .type = OptionType::kSize,
       .default_text = "8",
       .help = "Texts of that file, from its beginning, whose prompts have at most --prompt-tokens",
       .min = 1,
       .max = 100000,
       .group = kBench},
  };
}

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
       .help = "Numbers of sequences computed together; with --depth the default is 1",
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

std::vector<OptionSpec> all_options() {
  std::vector<OptionSpec> options = own_options();
  const std::vector<OptionSpec> more = more_options();
  options.insert(options.end(), more.begin(), more.end());
  return options;
}

Result<std::vector<int>> numbers(const OptionValues& values, const char* name, int low, int high) {
  std::vector<int> found;
  for (const std::string& text : values.list(name)) {
    const Result<int64_t> number = parse_size(text);
    if (!number.ok() || *number < low || *number > high) {
      return invalid_argument(
          fmt::format("--{} must hold numbers from {} to {}, got '{}'", name, low, high, text));
    }
    found.push_back(static_cast<int>(*number));
  }
  return found;
}

Result<BenchOptions> bench_options(const OptionValues& values) {
  BenchOptions options;
  options.prompt_tokens = static_cast<int>(values.integer("prompt-tokens"));
  options.gen_tokens = static_cast<int>(values.integer("gen-tokens"));
  options.repeat = static_cast<int>(values.integer("repeat"));
  ASSIGN_OR_RETURN(options.batches, numbers(values, "batch", 1, 4096));
  ASSIGN_OR_RETURN(options.depths, numbers(values, "depth", 0, 1 << 20));
  ASSIGN_OR_RETURN(options.guesses, numbers(values, "verify", 0, kMaxDraftTokens));
  if (options.batches.empty()) return invalid_argument("--batch must name at least one number");
  if (!options.depths.empty() && !values.given("batch")) options.batches = {1};
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

// Measures the machine with as many threads as the executor has.
class MachineProbe {
 public:
  static Result<std::unique_ptr<MachineProbe>> create(const CpuExecutor& executor, size_t bytes) {
    auto pool = std::make_unique<ComputePool>(executor.num_threads());
    ASSIGN_OR_RETURN(const Kernels* kernels, select_kernels(executor.isa()));
    ASSIGN_OR_RETURN(ReadProbe reads, ReadProbe::create(*kernels, *pool, bytes));
    return std::unique_ptr<MachineProbe>(
        new MachineProbe(std::move(pool), kernels, std::move(reads)));
  }

  Probe measure() { return {reads_.best_of_five(), probe_int8_peak(*kernels_, *pool_)}; }
  double read_pass() { return reads_.pass(); }

 private:
  MachineProbe(std::unique_ptr<ComputePool> pool, const Kernels* kernels, ReadProbe reads)
      : pool_(std::move(pool)), kernels_(kernels), reads_(std::move(reads)) {}

  std::unique_ptr<ComputePool> pool_;
  const Kernels* kernels_;
  ReadProbe reads_;
};

std::atomic<int> num_interrupts{0};
static_assert(std::atomic<int>::is_always_lock_free);

// The first SIGINT or SIGTERM ends the measurement and prints what is there; a third one ends the
// program at once (`timeout` sends two).
void on_interrupt(int) {
  if (num_interrupts.fetch_add(1, std::memory_order_relaxed) >= 2) ::_exit(kInterrupted);
}

void watch_signals() {
  struct sigaction action {};
  action.sa_handler = on_interrupt;
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
}

const char* kv_type_name(const OptionValues& values) {
  const std::string& wanted = values.text("kv-cache-dtype");
  if (wanted == "int8") return "int8";
  return wanted == "f32" || wanted == "float32" ? "f32" : "bf16";
}

Result<ModelSession> open_for(const OptionValues& values, SessionNeeds needs) {
  needs.max_batch_tokens = static_cast<int>(std::max<int64_t>(
      {needs.num_slots, kMaxDraftTokens + 1, values.integer("max-num-batched-tokens")}));
  const std::string positional = values.positional().empty() ? "" : values.positional()[0];
  return open_session(values, positional, needs);
}

size_t probe_bytes(const OptionValues& values) {
  return static_cast<size_t>(values.integer("probe-mb")) << 20;
}

// Until someone interrupts.
bool show(Progress& progress, const std::string& text) {
  progress.show(-1, text);
  return num_interrupts.load(std::memory_order_relaxed) == 0;
}

// Both give the exit code.
Result<int> bench_speed(const OptionValues& values) {
  ASSIGN_OR_RETURN(const BenchOptions options, bench_options(values));
  SessionNeeds needs;
  needs.tokenizer = false;
  needs.num_slots = bench_num_slots(options);
  needs.num_blocks = static_cast<int>(bench_num_blocks(options, 16));
  needs.max_context = bench_num_positions(options);
  ASSIGN_OR_RETURN(ModelSession session, open_for(values, needs));
  BenchedModel model{
      .session = session, .kv_type = kv_type_name(values), .before = {}, .after = {}};
  ASSIGN_OR_RETURN(const auto probe, MachineProbe::create(*session.executor, probe_bytes(values)));
  model.before = probe->measure();
  // Blocks and integers multiply int8; for plain weights no compute peak is probed and bandwidth is
  // the limit. Names end in what most of the weights are held as.
  const bool is_int8 =
      !session.format_name.ends_with("F16") && !session.format_name.ends_with("F32");
  const MachineLimits limits{.read_bytes_per_s = model.before.bandwidth,
                             .ops_per_s = is_int8 ? model.before.int8_peak : 0,
                             .attention_ops_per_s = model.before.int8_peak * kFloatShareOfInt8,
                             .read_pass = [&probe] { return probe->read_pass(); }};
  watch_signals();
  Progress progress("bench");
  const BenchCost cost = cost_of(session.config, *session.executor);
  const Result<BenchReport> report =
      run_bench(*session.executor, cost, limits, options,
                [&](const std::string& text) { return show(progress, text); });
  progress.clear();
  RETURN_IF_ERROR(report.status());
  // Who stops it wants no more waiting.
  model.after = report->stopped ? model.before : probe->measure();
  print_rows(report->rows, model, values.flag("json"));
  if (report->stopped) std::fputs("sparrow: stopped; these rows were measured\n", stderr);
  return report->stopped ? kInterrupted : 0;
}

Result<int> bench_replay(const OptionValues& values) {
  ReplayOptions options;
  options.num_rounds = static_cast<int>(values.integer("repeat"));
  ASSIGN_OR_RETURN(options.speculation, speculation_options(values));
  const ReplayLimits limits{.max_texts = static_cast<int>(values.integer("replay-texts")),
                            .max_prompt = static_cast<int>(values.integer("prompt-tokens")),
                            .max_output = static_cast<int>(values.integer("gen-tokens"))};
  const std::vector<ReplayText> longest(
      static_cast<size_t>(limits.max_texts),
      {std::vector<TokenId>(static_cast<size_t>(limits.max_prompt)),
       std::vector<TokenId>(static_cast<size_t>(limits.max_output))});
  SessionNeeds needs;
  needs.num_slots = 1;
  needs.num_blocks = static_cast<int>(replay_num_blocks(longest, 16));
  needs.max_context = replay_num_positions(longest);
  ASSIGN_OR_RETURN(ModelSession session, open_for(values, needs));
  ASSIGN_OR_RETURN(const std::vector<ReplayText> texts,
                   read_replay_file(values.text("replay"), *session.tokenizer, limits));
  BenchedModel model{
      .session = session, .kv_type = kv_type_name(values), .before = {}, .after = {}};
  ASSIGN_OR_RETURN(const auto probe, MachineProbe::create(*session.executor, probe_bytes(values)));
  model.before = probe->measure();
  watch_signals();
  Progress progress("bench");
  const Result<ReplayReport> report =
      run_replay(*session.executor, texts, options,
                 [&](const std::string& text) { return show(progress, text); });
  progress.clear();
  RETURN_IF_ERROR(report.status());
  model.after = report->stopped ? model.before : probe->measure();
  print_rows(report->rows, model, values.flag("json"));
  if (report->stopped) std::fputs("sparrow: stopped; these rounds were measured\n", stderr);
  return report->stopped ? kInterrupted : 0;
}

}  // namespace

const CommandSpec& bench_spec() {
  static const std::vector<OptionSpec> kOptions =
      with_speculation_options(with_model_options(all_options()));
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
  const bool replays = !values.text("replay").empty();
  const Result<int> code = replays ? bench_replay(values) : bench_speed(values);
  return code.ok() ? *code : fail(code.status());
}

}  // namespace sparrow

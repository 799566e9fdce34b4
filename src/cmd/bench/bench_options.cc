#include "cmd/bench/bench_options.h"

#include <fmt/format.h>

#include <algorithm>

#include "cmd/options/gpu_defaults.h"
#include "scheduler/speculation.h"
#include "tools/bench/workload_file.h"

namespace sparrow {
namespace {

constexpr const char* kBench = "Measurement";
constexpr const char* kWorkload = "Workload";
constexpr int kMostTokens = 131072;  // of a prompt, and of an answer
constexpr int kMostBatch = 4096;
// All that --workload latency and users set, unless the option is given.
constexpr int kLatencyPrompt = 32, kLatencyTokens = 128, kLatencyBatch = 256;
constexpr int kUsersPrompt = 256, kUsersTokens = 512;
constexpr int kSetSeats = 256;        // sequences in one step
constexpr double kUsersStepMs = 200;  // the server's, on a CPU
constexpr double kSetStepMs = 1e6;    // nobody waits for a token: no bound

constexpr OptionSpec kBatchOptions[] = {
    {.name = "prompt-tokens",
     .type = OptionType::kList,
     .default_text = "512",
     .help = "Tokens of each prompt; several lengths, such as 512,4K, are measured in turn",
     .unit = "tokens",
     .group = kBench},
    {.name = "gen-tokens",
     .type = OptionType::kSize,
     .default_text = "64",
     .help = "Tokens generated per sequence",
     .unit = "tokens",
     .min = 1,
     .max = kMostTokens,
     .group = kBench},
    {.name = "batch",
     .type = OptionType::kList,
     .default_text = "1,4,8,12",
     .help = "Numbers of sequences computed together; with --depth the default is 1",
     .group = kBench},
    {.name = "repeat",
     .type = OptionType::kInt,
     .default_text = "3",
     .help =
         "Timed runs of each row, after one to warm up; of a set of --workload the default is 1",
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
    {.name = "gpu-leave-out",
     .type = OptionType::kList,
     .default_text = "",
     .help = "To measure a GPU's decode steps without some of their parts: merge, cut, norm, rope, "
             "overlap",
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

constexpr OptionSpec kWorkloadOptions[] = {
    {.name = "workload",
     .type = OptionType::kString,
     .default_text = "",
     .help = "Measure this instead: nano-vllm (its 256 requests of 100-1,024 tokens in and out), a "
             "file of requests (JSON Lines with prompt_tokens and output_tokens), users (who ask, "
             "wait and ask again), or latency (batches 1, 2, 4 to 256 with 32 tokens in and 128 "
             "out)",
     .group = kWorkload},
    {.name = "sequences",
     .type = OptionType::kSize,
     .default_text = "",
     .help = "Only the first so many requests of the set; default: all",
     .min = 1,
     .max = kMaxWorkloadItems,
     .group = kWorkload},
    {.name = "users",
     .type = OptionType::kSize,
     .default_text = "12",
     .help = "Users of --workload users; each asks with --prompt-tokens (256) for --gen-tokens "
             "(512)",
     .min = 1,
     .max = kMostBatch,
     .group = kWorkload},
    {.name = "rounds",
     .type = OptionType::kInt,
     .default_text = "3",
     .help = "Answers of each of these users, after one to warm up",
     .min = 1,
     .max = 10000,
     .group = kWorkload},
    {.name = "target-s",
     .type = OptionType::kNumber,
     .default_text = "",
     .help = "Also say what share of its limit a machine needs to answer all of these users in "
             "this time",
     .unit = "seconds",
     .min = 0.001,
     .max = 1e6,
     .group = kWorkload},
    {.name = "card",
     .type = OptionType::kString,
     .default_text = "",
     .help = "And compute it for this GPU, from its data sheet",
     .choices = "a10g|a40|a100|h100|h200|l4|rtx3060|rtx3060-6gb|t4",
     .group = kWorkload},
    {.name = "max-step-ms",
     .type = OptionType::kNumber,
     .default_text = "",
     .help =
         "Predicted duration one step of a workload may take: long prompts are cut to fit; "
         "default: 200 (on a GPU 30) for users, as the server, and no bound for a set of requests",
     .unit = "ms",
     .min = 1,
     .max = 60000,
     .group = kWorkload},
};

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

Result<std::vector<int>> prompt_lengths(const OptionValues& values) {
  ASSIGN_OR_RETURN(std::vector<int> lengths, numbers(values, "prompt-tokens", 1, kMostTokens));
  if (lengths.empty()) return invalid_argument("--prompt-tokens must name at least one number");
  return lengths;
}

std::vector<int> powers_of_two(int last) {
  std::vector<int> powers;
  for (int power = 1; power <= last; power *= 2) powers.push_back(power);
  return powers;
}

// Where --device auto ends is not known here: the executor's own limit cuts what is too many rows.
bool wants_gpu(const OptionValues& values) { return values.text("device") == "cuda"; }

// Of the engine's steps: as many places as there are requests, at most `seats` unless the option
// says so, and steps of `step_ms` unless another option does.
OfflineEngineOptions engine_options(const OptionValues& values, int seats, int num_requests,
                                    double step_ms) {
  OfflineEngineOptions options;
  if (values.given("max-num-seqs")) seats = static_cast<int>(values.integer("max-num-seqs"));
  options.max_num_seqs = std::min(seats, num_requests);
  const bool has_gpu_default = wants_gpu(values) && !values.given("max-num-batched-tokens");
  const int64_t batch_tokens =
      has_gpu_default ? kGpuBatchTokens : values.integer("max-num-batched-tokens");
  options.max_num_batched_tokens = std::max(static_cast<int>(batch_tokens), options.max_num_seqs);
  options.max_step_ms = values.given("max-step-ms") ? values.number("max-step-ms") : step_ms;
  return options;
}

}  // namespace

std::vector<OptionSpec> bench_option_specs() {
  std::vector<OptionSpec> options(std::begin(kBatchOptions), std::end(kBatchOptions));
  options.insert(options.end(), std::begin(kWorkloadOptions), std::end(kWorkloadOptions));
  return options;
}

WorkloadKind workload_kind(const OptionValues& values) {
  const std::string& name = values.text("workload");
  if (name.empty()) return WorkloadKind::kNone;
  if (name == "latency") return WorkloadKind::kLatency;
  return name == "users" ? WorkloadKind::kUsers : WorkloadKind::kSet;
}

Status check_bench_options(const OptionValues& values) {
  const WorkloadKind kind = workload_kind(values);
  const bool replays = !values.text("replay").empty();
  if (replays && kind != WorkloadKind::kNone) {
    return invalid_argument("--replay and --workload are two measurements: give one of them");
  }
  const bool in_batches = kind == WorkloadKind::kNone || kind == WorkloadKind::kLatency;
  struct Rule {
    const char* option;
    bool is_of_use;
    const char* belongs_to;
  };
  const Rule rules[] = {
      {"batch", in_batches, "measurements in batches"},
      {"depth", in_batches, "measurements in batches"},
      {"verify", in_batches, "measurements in batches"},
      {"prompt-tokens", kind != WorkloadKind::kSet, "workloads without lengths of their own"},
      {"gen-tokens", kind != WorkloadKind::kSet, "workloads without lengths of their own"},
      {"repeat", kind != WorkloadKind::kUsers, "other workloads (users have --rounds)"},
      {"sequences", kind == WorkloadKind::kSet, "--workload nano-vllm or a file"},
      {"users", kind == WorkloadKind::kUsers, "--workload users"},
      {"rounds", kind == WorkloadKind::kUsers, "--workload users"},
      {"target-s", kind == WorkloadKind::kUsers, "--workload users"},
      {"card", kind == WorkloadKind::kUsers, "--workload users"},
      {"max-step-ms", !in_batches, "--workload nano-vllm, a file or users"},
  };
  for (const Rule& rule : rules) {
    if (rule.is_of_use || !values.given(rule.option)) continue;
    return invalid_argument(
        fmt::format("--{} has no effect here: it belongs to {}", rule.option, rule.belongs_to));
  }
  return ok_status();
}

Result<std::vector<BenchOptions>> batch_options(const OptionValues& values) {
  BenchOptions options;
  options.gen_tokens = static_cast<int>(values.integer("gen-tokens"));
  options.repeat = static_cast<int>(values.integer("repeat"));
  ASSIGN_OR_RETURN(options.batches, numbers(values, "batch", 1, kMostBatch));
  ASSIGN_OR_RETURN(options.depths, numbers(values, "depth", 0, 1 << 20));
  ASSIGN_OR_RETURN(options.guesses, numbers(values, "verify", 0, kMaxDraftTokens));
  ASSIGN_OR_RETURN(std::vector<int> lengths, prompt_lengths(values));
  if (options.batches.empty()) return invalid_argument("--batch must name at least one number");
  if (!options.depths.empty() && !values.given("batch")) options.batches = {1};
  if (workload_kind(values) == WorkloadKind::kLatency) {
    if (!values.given("batch")) options.batches = powers_of_two(kLatencyBatch);
    if (!values.given("gen-tokens")) options.gen_tokens = kLatencyTokens;
    if (!values.given("prompt-tokens")) lengths = {kLatencyPrompt};
  }
  std::vector<BenchOptions> all;
  for (const int length : lengths) {
    options.prompt_tokens = length;
    all.push_back(options);
  }
  return all;
}

Result<int> longest_prompt(const OptionValues& values) {
  ASSIGN_OR_RETURN(const std::vector<int> lengths, prompt_lengths(values));
  return *std::max_element(lengths.begin(), lengths.end());
}

Result<Workload> chosen_workload(const OptionValues& values) {
  const std::string& name = values.text("workload");
  Workload workload;
  if (name == "nano-vllm") {
    workload = nano_vllm_workload();
  } else {
    Result<Workload> read = read_workload_file(name);
    if (!read.ok()) {
      return Status(read.status().code(),
                    fmt::format("--workload: {} (or nano-vllm, users, latency)", read.message()));
    }
    workload = std::move(read).value();
  }
  if (!values.given("sequences")) return workload;
  return first_items(std::move(workload), static_cast<int>(values.integer("sequences")));
}

WorkloadOptions workload_options(const OptionValues& values, const Workload& workload) {
  WorkloadOptions options;
  options.engine =
      engine_options(values, kSetSeats, static_cast<int>(workload.items.size()), kSetStepMs);
  options.repeat = values.given("repeat") ? static_cast<int>(values.integer("repeat")) : 1;
  return options;
}

Result<UsersOptions> users_options(const OptionValues& values) {
  UsersOptions options;
  options.num_users = static_cast<int>(values.integer("users"));
  options.rounds = static_cast<int>(values.integer("rounds"));
  options.request = {.prompt_tokens = kUsersPrompt, .output_tokens = kUsersTokens};
  if (values.given("prompt-tokens")) {
    ASSIGN_OR_RETURN(const std::vector<int> lengths, prompt_lengths(values));
    if (lengths.size() > 1) {
      return invalid_argument("--prompt-tokens: users have prompts of one length");
    }
    options.request.prompt_tokens = lengths[0];
  }
  if (values.given("gen-tokens")) {
    options.request.output_tokens = static_cast<int>(values.integer("gen-tokens"));
  }
  options.engine = engine_options(values, options.num_users, options.num_users,
                                  wants_gpu(values) ? kGpuMaxStepMs : kUsersStepMs);
  return options;
}

UsersTarget users_target(const OptionValues& values) {
  return {.card = find_known_gpu(values.text("card")),
          .target_s = values.given("target-s") ? values.number("target-s") : 0};
}

}  // namespace sparrow

// sparrow quantize: a model in another type, with what that costs.

#include <fmt/format.h>
#include <signal.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <optional>

#include "base/file.h"
#include "base/log.h"
#include "cmd/command.h"
#include "cmd/options/tensor_format.h"
#include "cmd/progress.h"
#include "model/model_locator.h"
#include "tools/quantize/calibrate_channels.h"
#include "tools/quantize/compare_models.h"
#include "tools/quantize/memory_fit.h"
#include "tools/quantize/out_path.h"
#include "tools/quantize/quantize_model.h"

namespace sparrow {
namespace {

constexpr const char* kWhat = "Conversion";
constexpr const char* kOut = "Report";
constexpr const char* kCalibration = "Calibration";
constexpr const char* kEvaluation = "Evaluation";
constexpr int kInterrupted = 130;  // what shells give for SIGINT

constexpr OptionSpec kOptions[] = {
    {.name = "type",
     .type = OptionType::kString,
     .default_text = "q8_0",
     .help =
         "What the weights become. Only as .gguf file: q*. Only as directory (compressed-tensors): "
         "w8, w4",
     .choices = "f32|bf16|f16|q8_0|q6_k|q5_k_m|q4_k_m|q4_0|w8|w4",
     .group = kWhat},
    {.name = "group-size",
     .type = OptionType::kInt,
     .default_text = "128",
     .help = "Inputs that share a scale in w4: 32 or 128",
     .min = 32,
     .max = 128,
     .group = kWhat},
    {.name = "fit",
     .type = OptionType::kSize,
     .default_text = "",
     .help = "Choose the best type that is served within this memory, and show all of them",
     .unit = "bytes",
     .min = 1,
     .group = kWhat},
    {.name = "max-model-len",
     .type = OptionType::kSize,
     .default_text = "4096",
     .help = "Tokens of context that --fit leaves room for",
     .unit = "tokens",
     .min = 16,
     .max = 1048576,
     .group = kWhat},
    {.name = "force",
     .type = OptionType::kFlag,
     .default_text = "false",
     .help = "Replace DST if it exists (a directory only if a model is in it)",
     .aliases = "-f",
     .group = kWhat},
    {.name = "dry-run",
     .type = OptionType::kFlag,
     .default_text = "false",
     .help = "Show the types and their sizes, write nothing",
     .group = kWhat},
    {.name = "threads",
     .type = OptionType::kInt,
     .default_text = "",
     .help = "Threads; default: OMP_NUM_THREADS, else one per core this process may use",
     .min = 1,
     .max = 1024,
     .aliases = "-t",
     .group = kWhat},
    {.name = "verbose",
     .type = OptionType::kFlag,
     .default_text = "false",
     .help = "A line for every tensor: type, bits, errors, outliers",
     .aliases = "-v",
     .group = kOut},
    {.name = "report",
     .type = OptionType::kString,
     .default_text = "",
     .help = "Write the whole report to this file, as JSON if its name ends in .json",
     .group = kOut},
    {.name = "json",
     .type = OptionType::kFlag,
     .default_text = "false",
     .help = "Print one JSON object",
     .group = kOut},
    {.name = "calibrate",
     .type = OptionType::kString,
     .default_text = "",
     .help = "Text file like what the model will be used for: w8 and w4 scale channels by what it "
             "activates (AWQ, SmoothQuant) and lose less",
     .group = kCalibration},
    {.name = "calibrate-tokens",
     .type = OptionType::kSize,
     .default_text = "8K",
     .help = "Tokens of the calibration text that are used, from its beginning",
     .unit = "tokens",
     .min = 256,
     .max = 65536,
     .group = kCalibration},
    {.name = "evaluate",
     .type = OptionType::kString,
     .default_text = "",
     .help = "Text file: compare perplexity and next-token distributions of SRC and DST on it",
     .group = kEvaluation},
    {.name = "evaluate-tokens",
     .type = OptionType::kSize,
     .default_text = "16K",
     .help = "Tokens of the text that are used, from its beginning; 0: all",
     .unit = "tokens",
     .min = 0,
     .group = kEvaluation},
    {.name = "evaluate-window",
     .type = OptionType::kSize,
     .default_text = "512",
     .help = "The text is scored in windows of this length, each without memory of the last",
     .unit = "tokens",
     .min = 2,
     .max = 1048576,
     .group = kEvaluation},
    {.name = "output-tensor-type",
     .type = OptionType::kString,
     .default_text = "auto",
     .help =
         "DST is evaluated as sparrow serve runs it with this option: type of the head in memory",
     .choices = kTensorTypes,
     .group = kEvaluation},
    {.name = "token-embedding-type",
     .type = OptionType::kString,
     .default_text = "auto",
     .help = "The same for the embedding",
     .choices = kTensorTypes,
     .group = kEvaluation},
};

constexpr const char* kExamples =
    "  sparrow quantize DeepSeek-R1-Distill-Qwen-1.5B r1-q8_0.gguf\n"
    "  sparrow quantize DeepSeek-R1-Distill-Qwen-1.5B r1-q4_k_m.gguf --type q4_k_m -v\n"
    "  sparrow quantize r1-bf16.gguf r1.gguf --fit 2GiB --max-model-len 8K\n"
    "  sparrow quantize r1-bf16.gguf --fit 2GiB --dry-run\n"
    "  sparrow quantize DIR out.gguf --type q4_0 --evaluate book.txt --report report.json\n"
    "  sparrow quantize DIR r1-w4 --type w4 --group-size 32     compressed-tensors, for vLLM too\n"
    "  sparrow quantize DIR r1-w8 --type w8 --calibrate questions.txt --evaluate book.txt\n"
    "  sparrow quantize r1-q8_0.gguf r1-f16 --type f16          back to a Hugging Face directory\n";

std::atomic<bool> interrupted{false};
static_assert(std::atomic<bool>::is_always_lock_free);

// The first SIGINT or SIGTERM ends the work in order (the staged file is removed), a second one at
// once.
void watch_signals() {
  struct sigaction action {};
  action.sa_handler = [](int) { interrupted.store(true, std::memory_order_relaxed); };
  action.sa_flags = static_cast<int>(SA_RESETHAND);
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
}

void show_text(const OptionValues& values, const std::string& text) {
  if (!values.flag("json")) std::fputs(text.c_str(), stdout);
}

// What calibration or evaluation needs, made before an hour of work shows that it is missing.
struct OptionText {
  std::vector<TokenId> tokens;  // none: the option is not given
  int64_t total = 0;
  TokenId bos = -1;
};

// `option` names the file, "OPTION-tokens" how much of it counts.
Result<OptionText> read_option_text(const OptionValues& values, const std::string& option,
                                    const ModelFiles& source) {
  OptionText text;
  if (values.text(option).empty()) return text;
  if (!source.has_tokenizer) {
    return invalid_argument(
        fmt::format("--{}: {} has no tokenizer to read the text with", option, source.path));
  }
  ASSIGN_OR_RETURN(const auto tokenizer, Tokenizer::create(source.tokenizer));
  ASSIGN_OR_RETURN(text.tokens, read_text_tokens(values.text(option), *tokenizer,
                                                 values.integer(option + "-tokens"), &text.total));
  if (source.tokenizer.add_bos) text.bos = source.tokenizer.bos_token_id;
  return text;
}

Result<OptionText> prepare_evaluation(const OptionValues& values, const ModelFiles& source) {
  const int64_t window = values.integer("evaluate-window");
  if (!values.text("evaluate").empty() && window > source.config.max_position) {
    return invalid_argument(fmt::format("--evaluate-window {}: the model's positions end at {}",
                                        window, source.config.max_position));
  }
  return read_option_text(values, "evaluate", source);
}

Result<OptionText> prepare_calibration(const OptionValues& values, const ModelFiles& source) {
  ASSIGN_OR_RETURN(OptionText text, read_option_text(values, "calibrate", source));
  const auto count = static_cast<int64_t>(text.tokens.size());
  if (values.text("calibrate").empty() || count >= kMinCalibrationTokens) return text;
  return invalid_argument(fmt::format("--calibrate {}: found {} tokens, expected {} or more",
                                      values.text("calibrate"), count, kMinCalibrationTokens));
}

// --calibrate; without it nothing.
Result<std::optional<ChannelScales>> calibrate(const OptionValues& values, const ModelFiles& source,
                                               const std::string& out_path, QuantMix mix) {
  if (values.text("calibrate").empty()) return std::optional<ChannelScales>();
  if (is_plain_mix(mix) || !fits_directory(mix)) {
    return invalid_argument(
        fmt::format("--calibrate is for --type w8 and w4, got --type {}", quant_mix_name(mix)));
  }
  ASSIGN_OR_RETURN(const OptionText text, prepare_calibration(values, source));
  // What would refuse the result must not wait for minutes of calibration.
  RETURN_IF_ERROR(OutPath::check(source.path, out_path, values.flag("force")).status());
  CalibrateOptions options;
  options.mix = mix;
  ASSIGN_OR_RETURN(options.plain, plain_type_beside_integers(*source.weights));
  options.bos = text.bos;
  options.num_threads = static_cast<int>(values.integer("threads"));
  options.cancelled = &interrupted;
  Progress progress("calibrate");
  ASSIGN_OR_RETURN(
      ChannelScales scales,
      calibrate_channels(*source.weights, text.tokens, options, [&](const CalibrateProgress& now) {
        progress.show(now.share, fmt::format("layer {} of {}", now.layer + 1, now.num_layers));
      }));
  progress.clear();
  return std::optional<ChannelScales>(std::move(scales));
}

Result<ModelComparison> evaluate(const OptionValues& values, const std::string& source,
                                 const std::string& result, const OptionText& text) {
  ScoringOptions options;
  options.window_tokens = static_cast<int>(values.integer("evaluate-window"));
  options.num_threads = static_cast<int>(values.integer("threads"));
  options.cancelled = &interrupted;
  Progress progress("evaluate");
  progress.show(0, "loading the source");
  ASSIGN_OR_RETURN(const auto reference, ScoringModel::open(source, options));
  progress.show(0, "loading the result");
  options.formats.head = tensor_format_of(values.text("output-tensor-type"));
  options.formats.embedding = tensor_format_of(values.text("token-embedding-type"));
  ASSIGN_OR_RETURN(const auto candidate, ScoringModel::open(result, options));
  Result<ModelComparison> comparison = compare_models(
      *reference, *candidate, text.tokens, text.bos, options, [&](const CompareProgress& now) {
        progress.show(static_cast<double>(now.done_tokens) / static_cast<double>(now.total_tokens),
                      fmt::format("{} of {} tokens, perplexity {:.3f} -> {:.3f}, KL {:.5f}",
                                  now.done_tokens, now.total_tokens, now.reference_perplexity,
                                  now.candidate_perplexity, now.mean_kl));
      });
  progress.clear();
  return comparison;
}

Result<QuantizeReport> convert(const OptionValues& values, const ModelFiles& source,
                               const std::string& out_path, QuantMix mix,
                               const ChannelScales* scales) {
  QuantizeOptions options;
  options.channel_scales = scales;
  options.mix = mix;
  options.out_path = out_path;
  options.overwrite = values.flag("force");
  options.num_threads = static_cast<int>(values.integer("threads"));
  options.cancelled = &interrupted;
  Progress progress("quantize");
  Result<QuantizeReport> report = quantize_model(source, options, [&](const QuantizeProgress& now) {
    progress.show(static_cast<double>(now.done_values) / static_cast<double>(now.total_values),
                  fmt::format("{:.2f} GB written, {}",
                              static_cast<double>(now.written_bytes) * 1e-9, now.tensor));
  });
  progress.clear();
  return report;
}

Result<QuantMix> wanted_mix(const OptionValues& values) {
  const QuantMix mix = quant_mix_from_name(values.text("type")).value();
  const int64_t group = values.integer("group-size");
  if (group != 32 && group != 128) {
    return invalid_argument(fmt::format("--group-size must be 32 or 128, got {}", group));
  }
  if (mix == QuantMix::kW4) return group == 32 ? QuantMix::kW4G32 : mix;
  if (values.given("group-size")) {
    return invalid_argument(
        fmt::format("--group-size is for --type w4, got --type {}", values.text("type")));
  }
  return mix;
}

// --fit: shows the table, and chooses. Without it: --type.
Result<QuantMix> choose_mix(const OptionValues& values, const ModelFiles& source,
                            const std::string& out_path, std::string& fit) {
  ASSIGN_OR_RETURN(const QuantMix wanted, wanted_mix(values));
  if (!values.given("fit") && !values.flag("dry-run")) return wanted;
  if (values.given("fit") && values.given("type")) {
    return invalid_argument("--fit chooses the type: leave --type out, or --fit");
  }
  const bool gguf = out_path.empty() || out_path.ends_with(".gguf");
  const int64_t limit = values.given("fit") ? values.integer("fit") : available_memory_bytes();
  auto max_context = static_cast<int32_t>(values.integer("max-model-len"));
  // The default is no wish.
  if (!values.given("max-model-len")) {
    max_context = std::min(max_context, source.config.max_position);
  }
  ASSIGN_OR_RETURN(const FitTable table, fit_table(*source.weights, max_context, limit, gguf));
  show_text(values, fit_text(table));
  fit = fit_json(table);
  if (!values.given("fit")) return wanted;
  if (!table.best.has_value()) {
    return resource_exhausted(fmt::format(
        "--fit {}: no type of this model fits: lower --max-model-len{}, or take a smaller model",
        values.text("fit"), !gguf ? ", write a .gguf file (it has smaller types)" : ""));
  }
  return *table.best;
}

Status write_report(const OptionValues& values, const std::string& json, const std::string& text) {
  const std::string& path = values.text("report");
  if (path.empty()) return ok_status();
  return write_file_atomically(path, path.ends_with(".json") ? json + "\n" : text);
}

Status quantize(const OptionValues& values) {
  const std::vector<std::string>& paths = values.positional();
  const bool dry_run = values.flag("dry-run");
  if (paths.size() != 2 && !(dry_run && paths.size() == 1)) {
    return invalid_argument(
        fmt::format("expected SRC and DST, got {} (see: sparrow quantize --help)", paths.size()));
  }
  const std::string out_path = paths.size() == 2 ? paths[1] : std::string();
  ASSIGN_OR_RETURN(const ModelLocation location, locate_model(paths[0]));
  ASSIGN_OR_RETURN(const ModelFiles source, open_model(location.path));
  ASSIGN_OR_RETURN(const OptionText text, prepare_evaluation(values, source));
  std::string fit;
  ASSIGN_OR_RETURN(const QuantMix mix, choose_mix(values, source, out_path, fit));
  if (dry_run) {
    if (values.flag("json")) std::printf("%s\n", fit.c_str());
    return ok_status();
  }
  ASSIGN_OR_RETURN(const std::optional<ChannelScales> scales,
                   calibrate(values, source, out_path, mix));
  ASSIGN_OR_RETURN(const QuantizeReport report,
                   convert(values, source, out_path, mix, scales ? &*scales : nullptr));
  const std::string table = tensor_table(report);
  const std::string summary = summary_text(report) + (scales ? calibration_text(*scales) : "");
  show_text(values, values.flag("verbose") ? table + summary : summary);
  std::string evaluation_text, evaluation_json_text;
  if (!text.tokens.empty()) {
    const Result<ModelComparison> comparison = evaluate(values, location.path, out_path, text);
    if (!comparison.ok()) {
      return Status(comparison.status().code(),
                    fmt::format("{} is written, but its evaluation failed: {}", out_path,
                                comparison.message()));
    }
    evaluation_text = fmt::format("\n{}: {} of {} tokens\n{}", values.text("evaluate"),
                                  text.tokens.size(), text.total, comparison_text(*comparison));
    evaluation_json_text = comparison_json(*comparison);
    show_text(values, evaluation_text);
  }
  const std::string json =
      report_json(report, fit, scales ? calibration_json(*scales) : "", evaluation_json_text);
  if (values.flag("json")) std::printf("%s\n", json.c_str());
  return write_report(values, json, table + summary + evaluation_text);
}

}  // namespace

const CommandSpec& quantize_spec() {
  static const CommandSpec kSpec{.name = "quantize",
                                 .summary = "Write a model in another type, with what that costs",
                                 .positional = "SRC DST",
                                 .options = kOptions,
                                 .examples = kExamples};
  return kSpec;
}

int run_quantize(const OptionValues& values) {
  const Status log = configure_log({.level = LogLevel::kWarning, .file = {}});
  if (!log.ok()) return fail(log);
  watch_signals();
  const Status status = quantize(values);
  if (status.ok()) return 0;
  const int code = fail(status);
  return status.code() == StatusCode::kCancelled ? kInterrupted : code;
}

}  // namespace sparrow

#include "cmd/model_session.h"
#include "cmd/options/tensor_format.h"

#include <fmt/format.h>

#include <cmath>

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "cmd/options/thread_options.h"

namespace sparrow {
namespace {

Result<std::optional<WeightFormat>> weight_format_of(const std::string& dtype) {
  if (dtype == "auto") return std::optional<WeightFormat>();
  if (dtype == "bfloat16") return std::optional(WeightFormat::kBF16);
  if (dtype == "float16" || dtype == "half") return std::optional(WeightFormat::kF16);
  return std::optional(WeightFormat::kF32);
}

// The flag names a method the files must already have; ours are read from the files themselves.
// vLLM's names for its fast kernels mean the same files.
Status check_quantization(std::string wanted, const ModelFiles& files) {
  if (wanted == "awq_marlin" || wanted == "gptq_marlin") wanted.resize(wanted.find('_'));
  if (wanted.empty() || wanted == files.quantization) return ok_status();
  if (files.quantization.empty()) {
    return invalid_argument(fmt::format(
        "--quantization {}: {} has no quantization_config that says so ({}). Leave the flag out, "
        "or quantize the weights first with: sparrow quantize",
        wanted, files.path, files.weights->format_name()));
  }
  return invalid_argument(fmt::format(
      "--quantization {}: {} is {} ({}). Leave the flag out, or give --quantization {}", wanted,
      files.path, files.quantization, files.weights->format_name(), files.quantization));
}

Result<CpuExecutorOptions> executor_options(const OptionValues& values, const ModelConfig& config,
                                            const SessionNeeds& needs) {
  CpuExecutorOptions options;
  const std::string& kv = values.text("kv-cache-dtype");
  options.kv_type = kv == "int8"                     ? KvType::kInt8
                    : kv == "f32" || kv == "float32" ? KvType::kF32
                                                     : KvType::kBF16;
  ASSIGN_OR_RETURN(options.formats.plain, weight_format_of(values.text("dtype")));
  options.formats.head = tensor_format_of(values.text("output-tensor-type"));
  options.formats.embedding = tensor_format_of(values.text("token-embedding-type"));
  options.isa = values.text("force-isa");
  ASSIGN_OR_RETURN(ComputeThreads threads, choose_compute_threads(values));
  options.num_threads = threads.count;
  options.pinned_cpus = std::move(threads.pinned_cpus);
  options.num_slots = static_cast<int>(values.integer("max-num-seqs"));
  options.max_batch_tokens = static_cast<int>(
      std::max(values.integer("max-num-batched-tokens"), values.integer("max-num-seqs")));
  options.max_context = static_cast<int>(values.integer("max-model-len"));
  options.kv_cache_bytes = values.integer("kv-cache-memory-bytes");
  const auto share = values.number("gpu-memory-utilization");
  options.memory_limit_bytes =
      static_cast<int64_t>(std::floor(share * static_cast<double>(available_memory_bytes())));
  if (needs.num_slots > 0) options.num_slots = needs.num_slots;
  if (needs.num_blocks > 0) options.num_blocks = needs.num_blocks;
  if (needs.max_context > 0) options.max_context = needs.max_context;
  if (needs.max_batch_tokens > 0) options.max_batch_tokens = needs.max_batch_tokens;
  if (options.max_context > config.max_position) {
    return invalid_argument(fmt::format("--max-model-len {}: the model's positions end at {}",
                                        options.max_context, config.max_position));
  }
  return options;
}

Status open_text_side(const OptionValues& values, ModelFiles& files, ModelSession& session) {
  if (!files.has_tokenizer) {
    return not_found(
        fmt::format("{}: no tokenizer (tokenizer.json, or tokenizer.ggml.* in a GGUF "
                    "file) was found",
                    files.path));
  }
  ASSIGN_OR_RETURN(session.tokenizer, Tokenizer::create(std::move(files.tokenizer)));
  std::string source = files.chat_template;
  const bool has_option = values.has("chat-template") && !values.text("chat-template").empty();
  if (has_option) {
    ASSIGN_OR_RETURN(source, read_file(values.text("chat-template"), 1u << 20));
  }
  if (!source.empty()) {
    Result<std::shared_ptr<const ChatTemplate>> parsed = ChatTemplate::parse(source);
    if (!parsed.ok()) {
      return invalid_argument(fmt::format(
          "{}: {}", has_option ? values.text("chat-template") : files.path, parsed.message()));
    }
    session.chat_template = std::move(parsed).value();
  }
  return ok_status();
}

std::vector<TokenId> ids_without_token(const Tokenizer& tokenizer, int vocab_size) {
  std::vector<TokenId> ids;
  for (TokenId id = 0; id < vocab_size; ++id) {
    if (!tokenizer.has_token(id)) ids.push_back(id);
  }
  return ids;
}

void log_plan(const ModelSession& session, double seconds) {
  const CpuExecutor& executor = *session.executor;
  const MemoryPlan& plan = executor.memory_plan();
  log_info("Loaded model '{}' on CPU ({}, {} threads) in {:.1f} s, format: {}",
           session.location.path, executor.isa(), executor.num_threads(), seconds,
           session.format_name);
  log_info(
      "Memory plan: weights {}, KV cache {} ({} blocks of 16 tokens), workspace {}, of {} "
      "available",
      size_text(plan.weights_bytes), size_text(plan.kv_bytes), plan.num_blocks,
      size_text(plan.workspace_bytes), size_text(plan.available_bytes));
  log_info("Maximum sequence: {} tokens; {:.1f} sequences of that length fit at once",
           plan.max_context, plan.full_sequences());
}

void log_origin(const ModelLocation& location) {
  constexpr const char* kNext = "To get the real one: sparrow pull";
  if (location.origin == ModelOrigin::kStarter) {
    log_warning(
        "No model was given: this is the starter model, its weights and answers are random. {}",
        kNext);
  } else if (location.origin == ModelOrigin::kBundled) {
    log_warning("No model was given: using the small bundled model. {}", kNext);
  }
}

}  // namespace

std::string size_text(int64_t bytes) {
  const auto size = static_cast<double>(bytes);
  if (size >= 1e9) return fmt::format("{:.2f} GB", size * 1e-9);
  return fmt::format("{:.1f} MB", size * 1e-6);
}

Result<ModelSession> open_session(const OptionValues& values, const std::string& positional,
                                  const SessionNeeds& needs) {
  const RealClock clock;
  const TimePoint begin = clock.now();
  ModelSession session;
  const std::string& wanted = positional.empty() ? values.text("model") : positional;
  if (wanted.empty()) {
    ASSIGN_OR_RETURN(session.location, locate_default_model());
  } else {
    ASSIGN_OR_RETURN(session.location, locate_model(wanted));
  }
  log_origin(session.location);
  log_info("Loading {} ...", session.location.path);
  ASSIGN_OR_RETURN(ModelFiles files, open_model(session.location.path));
  RETURN_IF_ERROR(check_quantization(values.text("quantization"), files));
  session.config = files.config;
  session.format_name = files.weights->format_name();
  session.generation = files.generation;
  ASSIGN_OR_RETURN(CpuExecutorOptions options, executor_options(values, session.config, needs));
  if (needs.tokenizer) {
    RETURN_IF_ERROR(open_text_side(values, files, session));
    options.disallowed_tokens = ids_without_token(*session.tokenizer, session.config.vocab_size);
  }
  ASSIGN_OR_RETURN(session.executor, make_cpu_executor(session.config, options));
  RETURN_IF_ERROR(session.executor->load(*files.weights));
  log_plan(session, to_seconds(clock.now() - begin));
  return session;
}

}  // namespace sparrow

#include "cmd/model_session.h"
#include "cmd/executor_choice.h"

#include <fmt/format.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "model/cpu_executor.h"

namespace sparrow {
namespace {

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

void log_plan(const ModelSession& session, const ModelExecutor& executor, double seconds) {
  log_info("Loaded model '{}' on {} in {:.1f} s, format: {}", session.location.path,
           executor.device_text(), seconds, session.format_name);
  for (const std::string& line : executor.memory_lines()) log_info("{}", line);
}

// Cards have their own memory; what shares one machine's is added up.
void log_memory_of_all(const ModelSession& session) {
  if (session.more_executors.empty()) return;
  int64_t bytes = 0;
  for (const ModelExecutor* executor : session.executors()) {
    const auto* cpu = dynamic_cast<const CpuExecutor*>(executor);
    if (cpu == nullptr) return;
    bytes += cpu->memory_plan().total_bytes();
  }
  log_info("{} engines take {} of memory in all: each has its own copy of the weights",
           session.executors().size(), size_text(bytes));
}

// One after the other: each reads the whole model, and the log says how far it is.
Status load_executors(const OptionValues& values, TensorSource& source, const SessionNeeds& needs,
                      std::vector<TokenId> disallowed, TimePoint session_begin,
                      ModelSession& session) {
  const RealClock clock;
  ExecutorChoice choice(values, needs, std::move(disallowed));
  for (int i = 0; i < needs.num_replicas; ++i) {
    const TimePoint begin = i == 0 ? session_begin : clock.now();
    if (needs.num_replicas > 1) log_info("Engine {}, of {}:", i, needs.num_replicas);
    ASSIGN_OR_RETURN(ChosenExecutor chosen, choice.load_next(source));
    log_plan(session, *chosen.executor, to_seconds(clock.now() - begin));
    if (i > 0) {
      session.more_executors.push_back(std::move(chosen));
      continue;
    }
    session.executor = std::move(chosen.executor);
    session.gpu_pci_bus_id = std::move(chosen.gpu_pci_bus_id);
  }
  log_memory_of_all(session);
  return ok_status();
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

std::vector<ModelExecutor*> ModelSession::executors() const {
  std::vector<ModelExecutor*> all = {executor.get()};
  for (const ChosenExecutor& more : more_executors) all.push_back(more.executor.get());
  return all;
}

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
  std::vector<TokenId> disallowed;
  if (needs.tokenizer) {
    RETURN_IF_ERROR(open_text_side(values, files, session));
    disallowed = ids_without_token(*session.tokenizer, session.config.vocab_size);
  }
  RETURN_IF_ERROR(
      load_executors(values, *files.weights, needs, std::move(disallowed), begin, session));
  return session;
}

}  // namespace sparrow

#include "cmd/served_model_info.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "base/clock.h"
#include "cmd/device_health.h"
#include "cmd/version.h"

namespace sparrow {
namespace {

namespace fs = std::filesystem;

constexpr size_t kMaxFiles = 4096;  // of a model's folder

// Logs, readmes and the answer cache itself may lie beside the weights.
bool is_model_file(const fs::path& path) {
  constexpr std::string_view kEndings[] = {".safetensors", ".gguf", ".json", ".jinja", ".txt"};
  const std::string ending = path.extension().string();
  return std::find(std::begin(kEndings), std::end(kEndings), ending) != std::end(kEndings);
}

std::string file_line(const fs::path& path) {
  std::error_code error;
  const auto size = fs::file_size(path, error);
  if (error) return {};
  const auto time = fs::last_write_time(path, error).time_since_epoch().count();
  return fmt::format("{} {} {};", path.filename().string(), size, time);
}

// Changes whenever the same prompt could get other tokens: files by name, size and time (hashing
// gigabytes would delay every start), number formats, instruction set, version.
std::string fingerprint(const OptionValues& values, const ModelSession& session) {
  std::vector<std::string> lines;
  std::error_code error;
  if (fs::is_directory(session.location.path, error)) {
    for (fs::directory_iterator at(session.location.path, error), end; !error && at != end;
         at.increment(error)) {
      if (lines.size() < kMaxFiles && is_model_file(at->path())) {
        lines.push_back(file_line(at->path()));
      }
    }
  } else {
    lines.push_back(file_line(session.location.path));
  }
  std::sort(lines.begin(), lines.end());
  return fmt::format("{}{}|{}|{}|{}|{}|{}|{}", fmt::join(lines, ""), session.format_name,
                     values.text("dtype"), values.text("output-tensor-type"),
                     values.text("token-embedding-type"), values.text("kv-cache-dtype"),
                     session.executor->arithmetic(), kVersion);
}

}  // namespace

api::ModelInfo served_model_info(const OptionValues& values, const ModelSession& session) {
  api::ModelInfo info;
  if (values.has("served-model-name")) info.served_names = values.list("served-model-name");
  const std::vector<std::string>& names = session.location.names;
  // The path itself stays private where a shorter name exists: replies carry the first name.
  if (info.served_names.empty()) {
    const bool is_path = names.front().find('/') != std::string::npos && names.size() > 1;
    info.served_names = {is_path && session.location.origin == ModelOrigin::kGiven ? names[1]
                                                                                   : names.front()};
  }
  info.aliases = names;
  const bool is_ours = session.location.origin == ModelOrigin::kStarter ||
                       session.location.origin == ModelOrigin::kBundled;
  if (is_ours) info.aliases.push_back("sparrow");
  info.path = session.location.path;
  info.fingerprint = fingerprint(values, session);
  info.config = session.config;
  info.tokenizer = session.tokenizer;
  info.chat_template = session.chat_template;
  info.generation = session.generation;
  if (values.text("generation-config") == "vllm") {
    info.generation = {};
    info.generation.eos_token_ids = session.generation.eos_token_ids;
  }
  info.max_model_len = session.executor->limits().max_context_tokens;
  std::vector<api::ReadDeviceHealth> health = {device_health_reader(session.gpu_pci_bus_id)};
  for (const ChosenExecutor& more : session.more_executors) {
    health.push_back(device_health_reader(more.gpu_pci_bus_id));
  }
  info.device_health = worst_device_health(std::move(health));
  for (const ModelExecutor* executor : session.executors()) {
    info.max_model_len = std::min(info.max_model_len, executor->limits().max_context_tokens);
    info.memory_budget_bytes += executor->memory_budget_bytes();
  }
  info.created = unix_seconds();
  return info;
}

}  // namespace sparrow

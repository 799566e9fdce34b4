#include "model/model_locator.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <optional>

#include "base/env.h"
#include "base/file.h"

namespace sparrow {
namespace {

namespace fs = std::filesystem;

constexpr const char* kDefaultHubId = "deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B";
// Entries looked at in one cache directory: a bound, not a tuning.
constexpr int kMaxCacheEntries = 10000;

std::string lower(std::string text) {
  for (char& c : text) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return text;
}

bool is_there(const fs::path& path) {
  std::error_code ignored;
  return fs::exists(path, ignored);
}

std::string last_part(const std::string& path) {
  const size_t end = path.find_last_not_of('/');
  if (end == std::string::npos) return path;
  const size_t begin = path.find_last_of('/', end);
  return path.substr(begin == std::string::npos ? 0 : begin + 1,
                     end - (begin == std::string::npos ? 0 : begin + 1) + 1);
}

void add_name(std::vector<std::string>& names, const std::string& name) {
  if (name.empty() || std::find(names.begin(), names.end(), name) != names.end()) return;
  names.push_back(name);
}

bool is_model(const fs::path& path) { return is_there(path / "config.json"); }

// "models--org--name" -> "org/name"; nothing for other folders.
std::optional<std::string> hub_id_of_folder(const std::string& folder) {
  constexpr std::string_view kPrefix = "models--";
  if (!folder.starts_with(kPrefix)) return std::nullopt;
  const std::string_view rest = std::string_view(folder).substr(kPrefix.size());
  const size_t at = rest.find("--");
  if (at == std::string_view::npos) return std::nullopt;
  return fmt::format("{}/{}", rest.substr(0, at), rest.substr(at + 2));
}

// The snapshot that refs/main names, else any complete one.
std::optional<fs::path> snapshot_of(const fs::path& repository) {
  const Result<std::string> commit = read_file((repository / "refs" / "main").string(), 128);
  if (commit.ok()) {
    const std::string id = commit->substr(0, commit->find_last_not_of(" \r\n") + 1);
    const bool plain = !id.empty() && id.find_first_of("/.") == std::string::npos;
    if (plain && is_model(repository / "snapshots" / id)) return repository / "snapshots" / id;
  }
  std::error_code error;
  int seen = 0;
  for (const auto& entry : fs::directory_iterator(repository / "snapshots", error)) {
    if (++seen > kMaxCacheEntries) break;
    if (is_model(entry.path())) return entry.path();
  }
  return std::nullopt;
}

std::optional<ModelLocation> find_in_cache(const std::string& hub_id) {
  for (const std::string& directory : hub_cache_directories()) {
    std::error_code error;
    int seen = 0;
    for (const auto& entry : fs::directory_iterator(directory, error)) {
      if (++seen > kMaxCacheEntries) break;
      const auto id = hub_id_of_folder(entry.path().filename().string());
      if (!id || lower(*id) != lower(hub_id)) continue;
      if (const auto snapshot = snapshot_of(entry.path())) {
        ModelLocation location{snapshot->string(), ModelOrigin::kHubCache, {}};
        add_name(location.names, *id);
        add_name(location.names, last_part(*id));
        add_name(location.names, hub_id);
        return location;
      }
    }
  }
  return std::nullopt;
}

std::vector<fs::path> program_directories() {
  std::error_code error;
  const fs::path program = fs::read_symlink("/proc/self/exe", error);
  if (error) return {};
  return {program.parent_path()};
}

std::optional<ModelLocation> first_existing(const std::vector<fs::path>& paths,
                                            ModelOrigin origin) {
  for (const fs::path& path : paths) {
    if (!is_model(path)) continue;
    ModelLocation location{path.lexically_normal().string(), origin, {}};
    add_name(location.names, "sparrow-" + last_part(location.path));
    add_name(location.names, last_part(location.path));
    add_name(location.names, location.path);
    return location;
  }
  return std::nullopt;
}

}  // namespace

std::vector<std::string> hub_cache_directories() {
  std::vector<std::string> directories;
  if (const auto path = env_string("HF_HUB_CACHE")) add_name(directories, *path);
  if (const auto path = env_string("HUGGINGFACE_HUB_CACHE")) add_name(directories, *path);
  if (const auto path = env_string("HF_HOME")) add_name(directories, *path + "/hub");
  if (const auto path = env_string("XDG_CACHE_HOME"))
    add_name(directories, *path + "/huggingface/hub");
  if (const auto path = env_string("HOME"))
    add_name(directories, *path + "/.cache/huggingface/hub");
  return directories;
}

Result<ModelLocation> locate_model(const std::string& wanted) {
  if (is_there(wanted)) {
    ModelLocation location{wanted, ModelOrigin::kGiven, {}};
    add_name(location.names, wanted);
    add_name(location.names, last_part(wanted));
    if (lower(last_part(wanted)) == lower(last_part(kDefaultHubId)))
      add_name(location.names, kDefaultHubId);
    return location;
  }
  const bool may_be_id = std::count(wanted.begin(), wanted.end(), '/') == 1 &&
                         wanted.front() != '/' && wanted.front() != '.';
  if (may_be_id) {
    if (auto location = find_in_cache(wanted)) return *location;
    return not_found(fmt::format(
        "--model {}: neither a path nor in the Hugging Face cache (searched {}). Download it first "
        "(for example: huggingface-cli download {}), or give a directory or .gguf file",
        wanted, fmt::join(hub_cache_directories(), ", "), wanted));
  }
  return not_found(fmt::format(
      "--model {}: no such file or directory. Give a Hugging Face model directory, a .gguf file or "
      "an id such as {}",
      wanted, kDefaultHubId));
}

Result<ModelLocation> locate_default_model() {
  if (auto location = find_in_cache(kDefaultHubId)) return *location;
  std::vector<fs::path> bundled;
  std::vector<fs::path> starter;
  for (const fs::path& directory : program_directories()) {
    bundled.push_back(directory / ".." / ".." / "models" / "nano");
    bundled.push_back(directory / ".." / "share" / "sparrow" / "models" / "nano");
    starter.push_back(directory / "models" / "starter");
    starter.push_back(directory / ".." / "share" / "sparrow" / "models" / "starter");
  }
  if (auto location = first_existing(bundled, ModelOrigin::kBundled)) return *location;
  if (auto location = first_existing(starter, ModelOrigin::kStarter)) return *location;
  return not_found(
      "no model found: give one with --model (a Hugging Face directory, a .gguf file or a hub id), "
      "or set SPARROW_MODEL; 'make build' makes a small starter model beside the binary");
}

}  // namespace sparrow

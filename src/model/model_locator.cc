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

// *.gguf of a snapshot, in its top folder and the folders there; in order of their paths.
std::vector<fs::path> gguf_files(const fs::path& snapshot) {
  std::vector<fs::path> files;
  std::error_code error;
  int seen = 0;
  for (auto entry = fs::recursive_directory_iterator(snapshot, error);
       !error && entry != fs::recursive_directory_iterator(); entry.increment(error)) {
    if (++seen > kMaxCacheEntries) break;
    if (entry.depth() > 0) entry.disable_recursion_pending();
    if (entry->path().extension() == ".gguf" && is_there(entry->path())) files.push_back(*entry);
  }
  std::sort(files.begin(), files.end());
  return files;
}

bool is_snapshot(const fs::path& path) { return is_model(path) || !gguf_files(path).empty(); }

// The snapshot that refs/main names, else any complete one.
std::optional<fs::path> snapshot_of(const fs::path& repository) {
  const Result<std::string> commit = read_file((repository / "refs" / "main").string(), 128);
  if (commit.ok()) {
    const std::string id = commit->substr(0, commit->find_last_not_of(" \r\n") + 1);
    const bool plain = !id.empty() && id.find_first_of("/.") == std::string::npos;
    if (plain && is_snapshot(repository / "snapshots" / id)) return repository / "snapshots" / id;
  }
  std::error_code error;
  int seen = 0;
  for (const auto& entry : fs::directory_iterator(repository / "snapshots", error)) {
    if (++seen > kMaxCacheEntries) break;
    if (is_snapshot(entry.path())) return entry.path();
  }
  return std::nullopt;
}

// What of a snapshot is the model: the folder, the file asked for, or its only .gguf file.
Result<std::string> model_in(const fs::path& snapshot, const std::string& hub_id,
                             const std::string& gguf) {
  if (!gguf.empty()) {
    if (is_there(snapshot / gguf)) return (snapshot / gguf).string();
    return not_found(
        fmt::format("--model {0}/{1}: not in the cache ({2}). Get it: sparrow pull "
                    "{0} --file {1}",
                    hub_id, gguf, snapshot.string()));
  }
  if (is_model(snapshot)) return snapshot.string();
  const std::vector<fs::path> files = gguf_files(snapshot);
  if (files.size() == 1) return files.front().string();
  std::vector<std::string> names;
  for (const fs::path& file : files) {
    names.push_back(hub_id + "/" + file.lexically_relative(snapshot).string());
  }
  return invalid_argument(
      fmt::format("--model {}: the cache holds several files of it; name one: {}", hub_id,
                  fmt::join(names, ", ")));
}

// `gguf`: a file of the repository; empty: its model.
Result<std::optional<ModelLocation>> find_in_cache(const std::string& hub_id,
                                                   const std::string& gguf) {
  for (const std::string& directory : hub_cache_directories()) {
    std::error_code error;
    int seen = 0;
    for (const auto& entry : fs::directory_iterator(directory, error)) {
      if (++seen > kMaxCacheEntries) break;
      const auto id = hub_id_of_folder(entry.path().filename().string());
      if (!id || lower(*id) != lower(hub_id)) continue;
      if (const auto snapshot = snapshot_of(entry.path())) {
        ModelLocation location{{}, ModelOrigin::kHubCache, {}};
        ASSIGN_OR_RETURN(location.path, model_in(*snapshot, *id, gguf));
        add_name(location.names, *id);
        add_name(location.names, last_part(*id));
        add_name(location.names, hub_id);
        if (!gguf.empty()) add_name(location.names, hub_id + "/" + gguf);
        return std::optional(location);
      }
    }
  }
  return std::optional<ModelLocation>();
}

// "ORG/NAME" and "ORG/NAME/FILE.gguf" -> id and file; an empty id for anything else.
std::pair<std::string, std::string> split_hub_id(const std::string& wanted) {
  const size_t owner = wanted.find('/');
  if (owner == std::string::npos || owner == 0 || wanted.front() == '.') return {};
  const size_t name = wanted.find('/', owner + 1);
  if (name == std::string::npos) return {wanted, {}};
  const std::string file = wanted.substr(name + 1);
  if (!file.ends_with(".gguf") || file.find("..") != std::string::npos) return {};
  return {wanted.substr(0, name), file};
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
  const auto [hub_id, gguf] = split_hub_id(wanted);
  if (!hub_id.empty()) {
    ASSIGN_OR_RETURN(const auto location, find_in_cache(hub_id, gguf));
    if (location) return *location;
    return not_found(fmt::format(
        "--model {}: neither a path nor in the Hugging Face cache (searched {}). Download it first "
        "(sparrow pull {}{}{}), or give a directory or .gguf file",
        wanted, fmt::join(hub_cache_directories(), ", "), hub_id, gguf.empty() ? "" : " --file ",
        gguf));
  }
  return not_found(fmt::format(
      "--model {}: no such file or directory. Give a Hugging Face model directory, a .gguf file or "
      "an id such as {}",
      wanted, kDefaultHubId));
}

Result<ModelLocation> locate_default_model() {
  ASSIGN_OR_RETURN(const auto cached, find_in_cache(kDefaultHubId, ""));
  if (cached) return *cached;
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
      "no model found: get one with sparrow pull, or give one with --model (a Hugging Face "
      "directory, a .gguf file or a hub id); 'make build' makes a small starter model");
}

}  // namespace sparrow

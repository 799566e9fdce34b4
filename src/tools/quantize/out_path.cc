#include "tools/quantize/out_path.h"

#include <fmt/format.h>
#include <unistd.h>

#include <filesystem>

namespace sparrow {
namespace {

namespace fs = std::filesystem;

bool same_place(const std::string& a, const std::string& b) {
  std::error_code error;
  return fs::equivalent(a, b, error) && !error;
}

bool lies_inside(const std::string& path, const std::string& directory) {
  std::error_code error;
  const fs::path outer = fs::weakly_canonical(directory, error);
  for (fs::path inner = fs::weakly_canonical(path, error); inner.has_relative_path();
       inner = inner.parent_path()) {
    if (inner == outer) return true;
  }
  return false;
}

Status rename_path(const std::string& from, const std::string& to) {
  std::error_code error;
  fs::rename(from, to, error);
  if (!error) return ok_status();
  return failed_precondition(fmt::format("{}: cannot rename to {}: {}", from, to, error.message()));
}

}  // namespace

Result<OutPath> OutPath::check(const std::string& source, const std::string& wanted,
                               bool overwrite) {
  OutPath out;
  out.final_path_ = wanted;
  while (out.final_path_.size() > 1 && out.final_path_.back() == '/') out.final_path_.pop_back();
  if (out.final_path_.empty()) return invalid_argument("expected a path for the result");
  const std::string& path = out.final_path_;
  out.write_path_ = path;
  if (same_place(source, path)) {
    return invalid_argument(fmt::format(
        "{}: source and result are the same; write to another path and rename it later", path));
  }
  std::error_code error;
  const fs::path parent = fs::absolute(path, error).parent_path();
  if (!fs::is_directory(parent, error)) {
    return not_found(fmt::format("{}: the directory {} does not exist", path, parent.string()));
  }
  const fs::file_status status = fs::status(path, error);
  if (!fs::exists(status)) return out;
  const bool is_directory = fs::is_directory(status);
  if (is_directory && fs::is_empty(path, error) && !out.is_gguf()) return out;
  if (!overwrite) {
    return failed_precondition(
        fmt::format("{}: already exists; choose another path or allow it with --force", path));
  }
  if (out.is_gguf()) {
    if (fs::is_regular_file(status)) return out;
    return failed_precondition(fmt::format("{}: not a regular file", path));
  }
  if (!is_directory || !fs::exists(path + "/config.json", error)) {
    return failed_precondition(
        fmt::format("{}: not a model directory (no config.json): not replaced, also not with "
                    "--force",
                    path));
  }
  if (lies_inside(source, path)) {
    return invalid_argument(fmt::format("{}: the source {} lies inside it", path, source));
  }
  out.write_path_ = path + ".new";
  return out;
}

Status OutPath::publish() {
  if (write_path_ == final_path_) return ok_status();
  // Two renames: between them the old model is whole under ".old", the new one under ".new".
  const std::string old_path = fmt::format("{}.old.{}", final_path_, ::getpid());
  std::error_code error;
  if (fs::exists(old_path, error)) {
    return failed_precondition(fmt::format("{}: is in the way of replacing {}; the new model is {}",
                                           old_path, final_path_, write_path_));
  }
  RETURN_IF_ERROR(rename_path(final_path_, old_path));
  RETURN_IF_ERROR(rename_path(write_path_, final_path_));
  fs::remove_all(old_path, error);
  return ok_status();
}

}  // namespace sparrow

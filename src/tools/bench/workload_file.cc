#include "tools/bench/workload_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json/object.hpp>
#include <string_view>

#include "base/file.h"
#include "base/json.h"

namespace sparrow {
namespace {

constexpr size_t kMaxFileBytes = size_t{64} << 20;
// A line is two small numbers and what its writer wants to remember beside them.
constexpr JsonLimits kLineLimits{.max_bytes = 65536, .max_depth = 8};

Result<int> read_length(const boost::json::object& line, const char* key) {
  const boost::json::value* value = line.if_contains(key);
  if (value == nullptr) return invalid_argument(fmt::format("\"{}\" is missing", key));
  if (!value->is_int64() || value->get_int64() < 1 || value->get_int64() > kMaxWorkloadTokens) {
    return invalid_argument(
        fmt::format("\"{}\" must be a whole number from 1 to {}", key, kMaxWorkloadTokens));
  }
  return static_cast<int>(value->get_int64());
}

Result<WorkloadItem> read_line(std::string_view line, const std::string& where) {
  ASSIGN_OR_RETURN(const boost::json::value root, parse_json(line, where, kLineLimits));
  if (!root.is_object()) return invalid_argument("the line is no JSON object");
  WorkloadItem item;
  ASSIGN_OR_RETURN(item.prompt_tokens, read_length(root.get_object(), "prompt_tokens"));
  ASSIGN_OR_RETURN(item.output_tokens, read_length(root.get_object(), "output_tokens"));
  return item;
}

}  // namespace

Result<Workload> read_workload_file(const std::string& path) {
  ASSIGN_OR_RETURN(const std::string content, read_file(path, kMaxFileBytes));
  Workload workload{.name = path, .items = {}, .num_in_full = 0};
  int number = 0;
  for (size_t begin = 0; begin < content.size();) {
    const size_t end = std::min(content.find('\n', begin), content.size());
    const std::string_view line = std::string_view(content).substr(begin, end - begin);
    begin = end + 1;
    ++number;
    if (line.find_first_not_of(" \t\r") == std::string_view::npos) continue;
    const std::string where = fmt::format("{}, line {}", path, number);
    const Result<WorkloadItem> item = read_line(line, where);
    if (!item.ok()) return invalid_argument(fmt::format("{}: {}", where, item.message()));
    if (static_cast<int>(workload.items.size()) == kMaxWorkloadItems) {
      return invalid_argument(fmt::format("{}: more than {} requests", where, kMaxWorkloadItems));
    }
    workload.items.push_back(*item);
  }
  if (workload.items.empty()) {
    return invalid_argument(fmt::format(
        "{}: no request; each line is one, such as {{\"prompt_tokens\": 256, \"output_tokens\": "
        "512}}",
        path));
  }
  workload.num_in_full = static_cast<int>(workload.items.size());
  return workload;
}

}  // namespace sparrow

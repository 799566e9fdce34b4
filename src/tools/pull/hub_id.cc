#include "tools/pull/hub_id.h"

#include <fmt/format.h>

#include <algorithm>

namespace sparrow {
namespace {

constexpr size_t kMaxPartLength = 96;
constexpr size_t kMaxRevisionLength = 200;

// The distills of Qwen2 architecture; the first is the one everything here is about.
constexpr std::string_view kKnownIds[] = {
    "deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B",
    "deepseek-ai/DeepSeek-R1-Distill-Qwen-7B",
    "deepseek-ai/DeepSeek-R1-Distill-Qwen-14B",
    "deepseek-ai/DeepSeek-R1-Distill-Qwen-32B",
};

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

bool is_name_char(char c) {
  const char low = lower(c);
  return (low >= 'a' && low <= 'z') || (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-';
}

bool is_end_char(char c) { return c != '.' && c != '-'; }

bool is_id_part(std::string_view part) {
  return !part.empty() && part.size() <= kMaxPartLength &&
         std::all_of(part.begin(), part.end(), is_name_char) && is_end_char(part.front()) &&
         is_end_char(part.back()) && part.find("--") == std::string_view::npos &&
         part.find("..") == std::string_view::npos;
}

std::string_view name_of(std::string_view id) {
  const size_t slash = id.rfind('/');
  return slash == std::string_view::npos ? id : id.substr(slash + 1);
}

std::string_view without_page_address(std::string_view text) {
  for (const std::string_view prefix : {"https://", "http://"}) {
    if (!text.starts_with(prefix)) continue;
    const size_t slash = text.find('/', prefix.size());
    if (slash != std::string_view::npos) text.remove_prefix(slash + 1);
    break;
  }
  while (text.ends_with('/')) text.remove_suffix(1);
  return text;
}

}  // namespace

bool same_hub_id(std::string_view a, std::string_view b) {
  return a.size() == b.size() && std::equal(a.begin(), a.end(), b.begin(),
                                            [](char x, char y) { return lower(x) == lower(y); });
}

bool is_hub_id(std::string_view id) {
  const size_t slash = id.find('/');
  return slash != std::string_view::npos && is_id_part(id.substr(0, slash)) &&
         is_id_part(id.substr(slash + 1));
}

bool is_hub_revision(std::string_view revision) {
  const auto is_allowed = [](char c) { return is_name_char(c) || c == '/'; };
  return !revision.empty() && revision.size() <= kMaxRevisionLength &&
         std::all_of(revision.begin(), revision.end(), is_allowed) && revision.front() != '/' &&
         revision.back() != '/' && revision.front() != '.' && revision.front() != '-' &&
         revision.find("..") == std::string_view::npos &&
         revision.find("//") == std::string_view::npos &&
         revision.find("/.") == std::string_view::npos;
}

bool is_commit(std::string_view revision) {
  return revision.size() == 40 && revision.find_first_not_of("0123456789abcdef") == revision.npos;
}

Result<std::string> parse_hub_id(const std::string& typed) {
  const std::string_view text = without_page_address(typed);
  for (const std::string_view known : kKnownIds) {
    if (same_hub_id(text, known) || same_hub_id(text, name_of(known))) return std::string(known);
  }
  if (is_hub_id(text)) return std::string(text);
  return invalid_argument(
      fmt::format("'{}' is not a model's id: expected OWNER/NAME, for example {}",
                  text.substr(0, 2 * kMaxPartLength), kKnownIds[0]));
}

std::optional<std::string> suggest_hub_id(std::string_view id) {
  for (const std::string_view known : kKnownIds) {
    if (same_hub_id(name_of(id), name_of(known)) && !same_hub_id(id, known)) {
      return std::string(known);
    }
  }
  return std::nullopt;
}

std::string hub_cache_folder(const std::string& id) {
  CHECK(is_hub_id(id));
  const size_t slash = id.find('/');
  return fmt::format("models--{}--{}", id.substr(0, slash), id.substr(slash + 1));
}

}  // namespace sparrow

#include "engine/stop_matcher.h"

#include <algorithm>

namespace sparrow {
namespace {

// Length of the longest end of `text` that is a proper beginning of `string`.
size_t partial_match_len(std::string_view text, std::string_view string) {
  for (size_t len = std::min(text.size(), string.size() - 1); len > 0; --len) {
    if (text.substr(text.size() - len) == string.substr(0, len)) return len;
  }
  return 0;
}

}  // namespace

bool StopMatcher::push(std::string_view text, std::string& out) {
  if (strings_->empty()) {
    out += text;
    return false;
  }
  held_ += text;
  size_t first = std::string::npos;
  size_t match_len = 0;
  size_t keep = 0;
  for (const std::string& string : *strings_) {
    if (string.empty()) continue;
    const size_t at = held_.find(string);
    if (at < first || (at == first && at != std::string::npos && string.size() > match_len)) {
      first = at;
      match_len = string.size();
    }
    keep = std::max(keep, partial_match_len(held_, string));
  }
  if (first != std::string::npos) {
    out.append(held_, 0, first + (include_match_ ? match_len : 0));
    held_.clear();
    return true;
  }
  out.append(held_, 0, held_.size() - keep);
  held_.erase(0, held_.size() - keep);
  return false;
}

void StopMatcher::flush(std::string& out) {
  out += held_;
  held_.clear();
}

}  // namespace sparrow

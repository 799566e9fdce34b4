#include "engine/stop_matcher.h"

#include <algorithm>

namespace sparrow {
namespace {

std::vector<uint32_t> failure_function(std::string_view string) {
  std::vector<uint32_t> failure(string.size(), 0);
  size_t len = 0;
  for (size_t i = 1; i < string.size(); ++i) {
    while (len > 0 && string[i] != string[len]) len = failure[len - 1];
    if (string[i] == string[len]) ++len;
    failure[i] = static_cast<uint32_t>(len);
  }
  return failure;
}

}  // namespace

StopMatcher::StopMatcher(const std::vector<std::string>& strings, bool include_match)
    : include_match_(include_match) {
  for (const std::string& string : strings) {
    if (!string.empty()) patterns_.push_back({string, failure_function(string)});
  }
}

bool StopMatcher::Pattern::advance(char byte) {
  while (num_matched > 0 && string[num_matched] != byte) num_matched = failure[num_matched - 1];
  if (string[num_matched] == byte) ++num_matched;
  return num_matched == string.size();
}

bool StopMatcher::push(std::string_view text, std::string& out) {
  if (patterns_.empty()) {
    out += text;
    return false;
  }
  for (const char byte : text) {
    held_ += byte;
    size_t match_len = 0;
    for (Pattern& pattern : patterns_) {
      if (pattern.advance(byte)) match_len = std::max(match_len, pattern.string.size());
    }
    if (match_len == 0) continue;
    held_.resize(held_.size() - (include_match_ ? 0 : match_len));
    flush(out);
    return true;
  }
  size_t keep = 0;
  for (const Pattern& pattern : patterns_) keep = std::max(keep, pattern.num_matched);
  out.append(held_, 0, held_.size() - keep);
  held_.erase(0, held_.size() - keep);
  return false;
}

void StopMatcher::flush(std::string& out) {
  out += held_;
  held_.clear();
  for (Pattern& pattern : patterns_) pattern.num_matched = 0;
}

}  // namespace sparrow

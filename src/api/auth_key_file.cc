#include "api/auth_key_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "api/auth_digest.h"
#include "base/options.h"

namespace sparrow::api {
namespace {

constexpr size_t kDigestBytes = 32;
constexpr int64_t kMaxRequests = 1'000'000;  // rpm, concurrent
constexpr int64_t kMaxTokens = 1'000'000'000'000;

Status line_error(int line, const std::string& message) {
  return invalid_argument(fmt::format("line {}: {}", line, message));
}

std::vector<std::string_view> words_of(std::string_view line) {
  std::vector<std::string_view> words;
  size_t start = 0;
  while (start < line.size()) {
    const size_t begin = line.find_first_not_of(" \t", start);
    if (begin == std::string_view::npos) break;
    const size_t end = std::min(line.find_first_of(" \t", begin), line.size());
    words.push_back(line.substr(begin, end - begin));
    start = end;
  }
  return words;
}

bool is_name(std::string_view text) {
  if (text.empty() || text.size() > kMaxKeyNameBytes) return false;
  return std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '.' ||
           c == '_' || c == '-';
  });
}

// Never shows the word: it may be a key that stands in the wrong place.
Status read_secret(std::string_view word, KeyLine& key) {
  constexpr std::string_view kHash = "sha256:";
  constexpr std::string_view kPlain = "key:";
  if (word.starts_with(kHash)) {
    key.digest = from_hex(word.substr(kHash.size()));
    if (key.digest.size() == kDigestBytes) return ok_status();
    return line_error(key.line, "sha256: must be followed by 64 hexadecimal digits");
  }
  if (word.starts_with(kPlain)) {
    const std::string_view plain = word.substr(kPlain.size());
    if (plain.empty() || plain.size() > kMaxKeyBytes) {
      return line_error(key.line,
                        fmt::format("key: must be followed by 1 to {} characters", kMaxKeyBytes));
    }
    key.digest = key_digest(plain);
    key.is_plain = true;
    return ok_status();
  }
  return line_error(key.line, "the second word must be sha256:HEX or key:PLAIN-TEXT");
}

Status read_right(std::string_view word, KeyLine& key) {
  if (word == "admin") {
    if (std::exchange(key.is_admin, true)) return line_error(key.line, "admin stands there twice");
    return ok_status();
  }
  const size_t equals = word.find('=');
  const std::string_view name = word.substr(0, equals);
  const bool is_tokens = name == "tpm";
  const bool known = is_tokens || name == "rpm" || name == "concurrent";
  if (!known || equals == std::string_view::npos) {
    return line_error(key.line, "only admin, rpm=N, tpm=N and concurrent=N may follow the key");
  }
  const Result<int64_t> value = parse_size(word.substr(equals + 1));
  const int64_t max = is_tokens ? kMaxTokens : kMaxRequests;
  if (!value.ok() || *value < 1 || *value > max) {
    return line_error(
        key.line, fmt::format("{} must be from 1 to {} (leave it out for no limit)", name, max));
  }
  const bool twice = is_tokens       ? key.limits.tokens_per_minute != 0
                     : name == "rpm" ? key.limits.requests_per_minute != 0
                                     : key.limits.max_concurrent != 0;
  if (twice) return line_error(key.line, fmt::format("{} stands there twice", name));
  if (is_tokens) {
    key.limits.tokens_per_minute = *value;
  } else if (name == "rpm") {
    key.limits.requests_per_minute = static_cast<int>(*value);
  } else {
    key.limits.max_concurrent = static_cast<int>(*value);
  }
  return ok_status();
}

Result<KeyLine> read_line(int line, const std::vector<std::string_view>& words) {
  KeyLine key;
  key.line = line;
  key.name = words[0];
  if (!is_name(words[0])) {
    return line_error(line, fmt::format("the line must begin with a name: 1 to {} of A-Z a-z 0-9 "
                                        ". _ -",
                                        kMaxKeyNameBytes));
  }
  if (words.size() < 2) return line_error(line, "there is no key behind the name");
  RETURN_IF_ERROR(read_secret(words[1], key));
  for (size_t i = 2; i < words.size(); ++i) RETURN_IF_ERROR(read_right(words[i], key));
  return key;
}

bool same_rights(const KeyLine& a, const KeyLine& b) {
  return a.is_admin == b.is_admin && a.limits.requests_per_minute == b.limits.requests_per_minute &&
         a.limits.tokens_per_minute == b.limits.tokens_per_minute &&
         a.limits.max_concurrent == b.limits.max_concurrent;
}

}  // namespace

Result<std::vector<KeyLine>> parse_key_file(std::string_view text) {
  std::vector<KeyLine> keys;
  std::map<std::string, size_t> by_name, by_digest;
  for (int line = 1; !text.empty(); ++line) {
    const size_t end = std::min(text.find('\n'), text.size());
    std::string_view content = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (content.ends_with('\r')) content.remove_suffix(1);
    const std::vector<std::string_view> words = words_of(content);
    if (words.empty() || words[0].front() == '#') continue;
    ASSIGN_OR_RETURN(KeyLine key, read_line(line, words));
    if (keys.size() == kMaxKeys)
      return line_error(line, fmt::format("more than {} keys", kMaxKeys));
    const auto [same, is_new] = by_digest.emplace(key.digest, keys.size());
    if (!is_new) {
      return line_error(line,
                        fmt::format("this is the key of line {} again", keys[same->second].line));
    }
    const auto [first, is_first] = by_name.emplace(key.name, keys.size());
    if (!is_first && !same_rights(keys[first->second], key)) {
      return line_error(line, fmt::format("{} has other rights or limits in line {}", key.name,
                                          keys[first->second].line));
    }
    keys.push_back(std::move(key));
  }
  if (keys.empty()) return invalid_argument("line 1: there is no key in this file");
  return keys;
}

std::string key_file_line(const std::string& name, std::string_view digest, const KeyLimits& limits,
                          bool is_admin) {
  std::string line = fmt::format("{} sha256:{}", name, to_hex(digest));
  if (limits.requests_per_minute > 0) line += fmt::format(" rpm={}", limits.requests_per_minute);
  if (limits.tokens_per_minute > 0) line += fmt::format(" tpm={}", limits.tokens_per_minute);
  if (limits.max_concurrent > 0) line += fmt::format(" concurrent={}", limits.max_concurrent);
  if (is_admin) line += " admin";
  return line;
}

}  // namespace sparrow::api

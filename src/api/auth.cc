#include "api/auth.h"

#include <algorithm>

namespace sparrow::api {
namespace {

constexpr std::string_view kOpenPaths[] = {"/health", "/ping", "/livez", "/readyz"};

bool contains(const auto& list, std::string_view path) {
  return std::find(std::begin(list), std::end(list), path) != std::end(list);
}

std::string_view bearer_token(std::string_view header) {
  constexpr std::string_view kScheme = "bearer ";
  if (header.size() < kScheme.size()) return {};
  for (size_t i = 0; i < kScheme.size(); ++i) {
    const char c = header[i];
    const char low = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    if (low != kScheme[i]) return {};
  }
  header.remove_prefix(kScheme.size());
  while (!header.empty() && header.front() == ' ') header.remove_prefix(1);
  return header;
}

}  // namespace

ApiKeys::ApiKeys(std::vector<std::string> keys) : keys_(std::move(keys)) {
  std::erase_if(keys_, [](const std::string& key) { return key.empty(); });
}

bool ApiKeys::is_known(std::string_view key) const {
  bool known = false;
  for (const std::string& one : keys_) known |= equal_in_constant_time(one, key);
  return known;
}

MaybeError ApiKeys::check(const http::Request& request) const {
  if (!enabled() || contains(kOpenPaths, request.path)) return std::nullopt;
  const std::string_view bearer = bearer_token(request.header("authorization"));
  const std::string_view header = request.header("x-api-key");
  if (!bearer.empty() && is_known(bearer)) return std::nullopt;
  if (!header.empty() && is_known(header)) return std::nullopt;
  return invalid_api_key(bearer.empty() && header.empty());
}

Caller ApiKeys::caller_of(const http::Request&) const { return {}; }

bool equal_in_constant_time(std::string_view a, std::string_view b) {
  if (a.size() != b.size()) return false;
  unsigned difference = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    difference |= static_cast<unsigned>(static_cast<unsigned char>(a[i] ^ b[i]));
  }
  return *const_cast<const volatile unsigned*>(&difference) == 0;
}

}  // namespace sparrow::api

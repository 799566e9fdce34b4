#pragma once
// The request target of RFC 9112 section 3.2, taken apart: the path is percent-decoded exactly once
// and is then the one string that is routed and authorised. Dots, double slashes and decoded
// slashes stay as they are: what is not a route literally is no route. Stateless, thread-safe.

#include <optional>
#include <string>
#include <string_view>

namespace sparrow::http {

struct Target {
  std::string path;   // decoded; begins with '/', or is "*" (OPTIONS)
  std::string query;  // without '?', not decoded
};

// Origin form ("/a?b"), absolute form ("http://host/a?b") or "*". Nothing for anything else, for a
// broken escape and for a path that holds control characters once decoded.
std::optional<Target> parse_target(std::string_view target);

// Of a hexadecimal digit of either case, 0 to 15; -1: it is none.
constexpr int hex_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// Nothing when a '%' is not followed by two hexadecimal digits. '+' is left alone.
std::optional<std::string> percent_decode(std::string_view text);

}  // namespace sparrow::http

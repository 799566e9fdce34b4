#include "base/json.h"

#include <fmt/format.h>
#include <boost/json/stream_parser.hpp>

#include <charconv>
#include <cmath>

#include "base/file.h"
#include "base/utf8.h"

namespace sparrow {

Result<boost::json::value> parse_json(std::string_view text, std::string_view what,
                                      const JsonLimits& limits) {
  if (text.size() > limits.max_bytes) {
    return resource_exhausted(fmt::format("{}: {} bytes of JSON are more than the limit of {}",
                                          what, text.size(), limits.max_bytes));
  }
  boost::json::parse_options options;
  options.max_depth = limits.max_depth;
  boost::json::stream_parser parser({}, options);
  boost::json::error_code error;
  const size_t consumed = parser.write_some(text.data(), text.size(), error);
  if (!error) parser.finish(error);
  size_t end = consumed;
  while (end < text.size() && std::string_view(" \t\r\n").find(text[end]) != std::string_view::npos)
    ++end;
  if (error || end != text.size()) {
    return invalid_argument(
        fmt::format("{}: invalid JSON near byte {}: {}", what, consumed,
                    error ? error.message() : "text after the end of the value"));
  }
  return parser.release();
}

Result<boost::json::value> parse_json_file(const std::string& path, const JsonLimits& limits) {
  ASSIGN_OR_RETURN(const std::string text, read_file(path, limits.max_bytes));
  return parse_json(text, path, limits);
}

void append_json_string(std::string& out, std::string_view text) {
  static constexpr char kHex[] = "0123456789abcdef";
  out += '"';
  size_t i = 0;
  while (i < text.size()) {
    const auto byte = static_cast<unsigned char>(text[i]);
    if (byte >= 0x80) {
      const size_t len = utf8_sequence_len(text.substr(i));
      if (len == 0) {
        out += "\xEF\xBF\xBD";
        ++i;
      } else {
        out.append(text, i, len);
        i += len;
      }
      continue;
    }
    switch (byte) {
      case '"':
        out += "\\\"";
        break;
      case '\\':
        out += "\\\\";
        break;
      case '\n':
        out += "\\n";
        break;
      case '\r':
        out += "\\r";
        break;
      case '\t':
        out += "\\t";
        break;
      default:
        if (byte < 0x20 || byte == 0x7F) {
          out += "\\u00";
          out += kHex[byte >> 4];
          out += kHex[byte & 15];
        } else {
          out += text[i];
        }
    }
    ++i;
  }
  out += '"';
}

void append_json_number(std::string& out, double value) {
  if (!std::isfinite(value)) {
    out += "null";
    return;
  }
  char buffer[32];
  const auto end = std::to_chars(buffer, buffer + sizeof(buffer), value).ptr;
  out.append(buffer, end);
}

}  // namespace sparrow

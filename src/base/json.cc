#include "base/json.h"

#include <fmt/format.h>
#include <boost/json/stream_parser.hpp>

#include <algorithm>
#include <charconv>
#include <cmath>

#include "base/file.h"
#include "base/utf8.h"

namespace sparrow {
namespace {

struct TextCounts {
  size_t num_keys = 0;
  size_t longest_number_bytes = 0;
};

bool needs_counts(const JsonLimits& limits) {
  constexpr JsonLimits kNone;
  return limits.unique_keys || limits.max_keys != kNone.max_keys ||
         limits.max_number_bytes != kNone.max_number_bytes;
}

// Right for valid JSON, bounded for any text: the limits hold before a tree is built.
TextCounts count_text(std::string_view text) {
  TextCounts counts;
  size_t number_bytes = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    const bool in_number = (c >= '0' && c <= '9') || c == '-' || c == '+' || c == '.' ||
                           (number_bytes != 0 && (c == 'e' || c == 'E'));
    number_bytes = in_number ? number_bytes + 1 : 0;
    counts.longest_number_bytes = std::max(counts.longest_number_bytes, number_bytes);
    if (c == ':') ++counts.num_keys;
    if (c != '"') continue;
    for (++i; i < text.size() && text[i] != '"'; ++i) {
      if (text[i] == '\\') ++i;
    }
  }
  return counts;
}

struct TreeFacts {
  size_t num_members = 0;  // of all objects
  bool all_finite = true;
};

// The parser bounds the depth.
void look_at(const boost::json::value& value, TreeFacts& facts) {
  if (const boost::json::array* array = value.if_array()) {
    for (const boost::json::value& item : *array) look_at(item, facts);
  } else if (const boost::json::object* object = value.if_object()) {
    facts.num_members += object->size();
    for (const auto& [key, member] : *object) look_at(member, facts);
  } else if (const double* number = value.if_double()) {
    facts.all_finite = facts.all_finite && std::isfinite(*number);
  }
}

}  // namespace

Result<boost::json::value> parse_json(std::string_view text, std::string_view what,
                                      const JsonLimits& limits) {
  if (text.size() > limits.max_bytes) {
    return resource_exhausted(fmt::format("{}: {} bytes of JSON are more than the limit of {}",
                                          what, text.size(), limits.max_bytes));
  }
  const TextCounts counts = needs_counts(limits) ? count_text(text) : TextCounts();
  if (counts.num_keys > limits.max_keys) {
    return invalid_argument(
        fmt::format("{}: more than {} keys in the JSON objects", what, limits.max_keys));
  }
  if (counts.longest_number_bytes > limits.max_number_bytes) {
    return invalid_argument(
        fmt::format("{}: a number of more than {} characters", what, limits.max_number_bytes));
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
  boost::json::value value = parser.release();
  TreeFacts facts;
  look_at(value, facts);
  // Boost reads 1e400 as infinity and 0e400 as not a number.
  if (!facts.all_finite) {
    return invalid_argument(fmt::format("{}: a number is out of range", what));
  }
  // The text names more members than the tree has: some replaced others.
  if (limits.unique_keys && facts.num_members != counts.num_keys) {
    return invalid_argument(fmt::format("{}: an object names the same key twice", what));
  }
  return value;
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

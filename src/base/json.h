#pragma once
// JSON for untrusted text: Boost.JSON behind limits on size and depth, with an error that says
// where. And append helpers for hand-written output (streams build no tree).
// Stateless functions, thread-safe.

#include <boost/json/value.hpp>
#include <cstddef>
#include <limits>
#include <string>
#include <string_view>

#include "base/status.h"

namespace sparrow {

struct JsonLimits {
  size_t max_bytes = 32u << 20;
  size_t max_depth = 128;
  size_t max_keys = std::numeric_limits<size_t>::max();          // of all objects together
  size_t max_number_bytes = std::numeric_limits<size_t>::max();  // characters of one number
  bool unique_keys = false;  // refuses {"a":1,"a":2}; else the last one counts
};

// `what` names the text in the error ("request body", a file path). Trailing bytes are an error,
// and so is a number that no finite double holds.
Result<boost::json::value> parse_json(std::string_view text, std::string_view what,
                                      const JsonLimits& limits = {});
// Reads at most limits.max_bytes of the file.
Result<boost::json::value> parse_json_file(const std::string& path, const JsonLimits& limits = {});

// Appends `text` as a quoted JSON string. Invalid UTF-8 bytes become U+FFFD.
void append_json_string(std::string& out, std::string_view text);
// Shortest form that reads back to the same double; NaN and infinities become null.
void append_json_number(std::string& out, double value);

}  // namespace sparrow

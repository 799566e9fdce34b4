// Fuzz entry of JSON: what is read can be written again and reads the same; the limits hold, and
// they only ever refuse.

#include <algorithm>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <charconv>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/check.h"
#include "base/json.h"
#include "base/utf8.h"

namespace sparrow {
namespace {

namespace json = boost::json;

constexpr size_t kMaxInputBytes = 1u << 16;
constexpr JsonLimits kTight{.max_bytes = kMaxInputBytes,
                            .max_depth = 16,
                            .max_keys = 32,
                            .max_number_bytes = 24,
                            .unique_keys = true};

// Boost 1.81 may read a long number as the neighbour of its nearest double, so only our own side,
// writing, is held to the exact value.
void write_double(double number, std::string& out) {
  std::string text;
  append_json_number(text, number);
  if (std::isfinite(number)) {
    double again = 0;
    const char* end = text.data() + text.size();
    CHECK(std::from_chars(text.data(), end, again).ptr == end && again == number);
  } else {
    CHECK(text == "null");
  }
  out += "0.5";
}

void write(const json::value& value, std::string& out) {
  if (const json::object* object = value.if_object()) {
    out += '{';
    for (const auto& [key, member] : *object) {
      if (out.back() != '{') out += ',';
      append_json_string(out, {key.data(), key.size()});
      out += ':';
      write(member, out);
    }
    out += '}';
  } else if (const json::array* array = value.if_array()) {
    out += '[';
    for (const json::value& item : *array) {
      if (&item != array->begin()) out += ',';
      write(item, out);
    }
    out += ']';
  } else if (const json::string* text = value.if_string()) {
    CHECK(is_valid_utf8({text->data(), text->size()}));
    append_json_string(out, {text->data(), text->size()});
  } else if (value.is_double()) {
    write_double(value.get_double(), out);
  } else if (value.is_int64()) {
    out += std::to_string(value.get_int64());
  } else if (value.is_uint64()) {
    out += std::to_string(value.get_uint64());
  } else if (value.is_bool()) {
    out += value.get_bool() ? "true" : "false";
  } else {
    out += "null";
  }
}

size_t depth_of(const json::value& value) {
  size_t deepest = 0;
  if (const json::object* object = value.if_object()) {
    for (const auto& [key, member] : *object) deepest = std::max(deepest, depth_of(member));
    return deepest + 1;
  }
  if (const json::array* array = value.if_array()) {
    for (const json::value& item : *array) deepest = std::max(deepest, depth_of(item));
    return deepest + 1;
  }
  return 0;
}

}  // namespace
}  // namespace sparrow

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace sparrow;
  if (size > kMaxInputBytes) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto parsed = parse_json(text, "input");
  const auto limited = parse_json(text, "input", kTight);
  if (limited.ok()) {
    CHECK(parsed.ok() && *parsed == *limited);
    CHECK(depth_of(*limited) <= kTight.max_depth);
  }
  if (!parsed.ok()) {
    CHECK(!parsed.message().empty() && is_valid_utf8(parsed.message()));
    return 0;
  }
  std::string once, twice;
  write(*parsed, once);
  const auto again = parse_json(once, "output");
  CHECK(again.ok());
  write(*again, twice);
  CHECK(once == twice);
  return 0;
}

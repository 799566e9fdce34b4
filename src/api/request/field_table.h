#pragma once
// The table of request fields: one row per name with its class, endpoints, type and range. Parsers
// check a body against it first and afterwards only read, so that no field is silently dropped:
//
//   honoured    works as its API documents it
//   no effect   accepted by name because stock clients always send it
//   refused     400 unsupported_parameter, unless its value asks for nothing (null, false, empty)
//
// Anything else is unknown: listed as a warning, or refused when the operator wants that.
// null always means absent. Stateless, thread-safe.

#include <boost/json/object.hpp>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "api/errors.h"

namespace sparrow::api {

enum class FieldClass { kHonoured, kNoEffect, kRefused };

enum class FieldType {
  kBool,
  kInteger,  // 5 and 5.0, never "5"
  kNumber,
  kString,
  kStringOrList,  // "a" or ["a", "b"]
  kIntegerList,
  kArray,
  kObject,
  kBoolOrString,
  kAny,  // checked where it is read
};

// Bits: where a field belongs.
inline constexpr unsigned kChatEndpoint = 1;
inline constexpr unsigned kCompletionEndpoint = 2;
inline constexpr unsigned kTokenizeEndpoint = 4;
inline constexpr unsigned kDetokenizeEndpoint = 8;

struct FieldSpec {
  const char* name;
  FieldClass field_class;
  unsigned endpoints;
  FieldType type;
  double min = -std::numeric_limits<double>::infinity();  // of kInteger and kNumber
  double max = std::numeric_limits<double>::infinity();
  const char* message = "";  // of a refusal, instead of the common sentence
};

std::span<const FieldSpec> field_table();

// Checks names, types and ranges. Unknown names are appended to `warnings`, or an error with
// `reject_unknown`.
MaybeError check_fields(const boost::json::object& body, unsigned endpoint, bool reject_unknown,
                        std::vector<std::string>& warnings);

// Notes that the field `name` had no effect; bounded, safe for a header.
void add_warning(std::vector<std::string>& warnings, std::string_view name);

// Readers for a body that passed check_fields(): nothing when absent or null.
std::optional<bool> read_bool(const boost::json::object& body, std::string_view name);
std::optional<int64_t> read_integer(const boost::json::object& body, std::string_view name);
std::optional<double> read_number(const boost::json::object& body, std::string_view name);
std::optional<std::string_view> read_string(const boost::json::object& body, std::string_view name);
const boost::json::value* read_value(const boost::json::object& body, std::string_view name);

// A whole number in int64 range, whether written 5 or 5.0.
std::optional<int64_t> as_integer(const boost::json::value& value);
std::string_view as_view(const boost::json::string& text);

}  // namespace sparrow::api

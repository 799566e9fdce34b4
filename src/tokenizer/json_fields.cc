#include "tokenizer/json_fields.h"

#include <fmt/format.h>

#include <boost/json/array.hpp>
#include <boost/json/value.hpp>

#include "base/json.h"

namespace sparrow {

namespace json = boost::json;

std::string describe_json(const json::value& value) {
  constexpr size_t kMaxShownBytes = 80;
  switch (value.kind()) {
    case json::kind::null:
      return "null";
    case json::kind::bool_:
      return value.get_bool() ? "true" : "false";
    case json::kind::int64:
      return fmt::format("the number {}", value.get_int64());
    case json::kind::uint64:
      return fmt::format("the number {}", value.get_uint64());
    case json::kind::double_:
      return fmt::format("the number {}", value.get_double());
    case json::kind::array:
      return fmt::format("an array of {}", value.get_array().size());
    case json::kind::object:
      return "an object";
    case json::kind::string:
      break;
  }
  const std::string_view text = value.get_string();
  std::string out;
  append_json_string(out, text.substr(0, kMaxShownBytes));
  return text.size() > kMaxShownBytes ? out + "..." : out;
}

Result<JsonFields> JsonFields::of(const json::value& value, std::string where) {
  if (const json::object* object = value.if_object()) return JsonFields(*object, std::move(where));
  return invalid_argument(fmt::format("{} is {}, expected an object", where, describe_json(value)));
}

std::string JsonFields::where(std::string_view key) const {
  return fmt::format("{}{}{}", where_, where_.ends_with(": ") ? "" : ".", key);
}

const json::value* JsonFields::find(std::string_view key) const {
  const json::value* value = object_->if_contains(key);
  return value == nullptr || value->is_null() ? nullptr : value;
}

std::string JsonFields::sentence(std::string_view key, std::string_view expected) const {
  const json::value* value = object_->if_contains(key);
  return fmt::format("{} is {}, expected {}", where(key),
                     value == nullptr ? "missing" : describe_json(*value), expected);
}

Status JsonFields::mismatch(std::string_view key, std::string_view expected) const {
  return invalid_argument(sentence(key, expected));
}

Status JsonFields::refusal(std::string_view key, std::string_view expected) const {
  return unimplemented(sentence(key, expected));
}

Result<const json::array*> JsonFields::array(std::string_view key) const {
  const json::value* value = find(key);
  if (value == nullptr || !value->is_array()) return mismatch(key, "an array");
  return &value->get_array();
}

Result<JsonFields> JsonFields::object(std::string_view key) const {
  const json::value* value = find(key);
  if (value == nullptr || !value->is_object()) return mismatch(key, "an object");
  return JsonFields(value->get_object(), where(key));
}

Result<std::string> JsonFields::string(std::string_view key) const {
  const json::value* value = find(key);
  if (value == nullptr || !value->is_string()) return mismatch(key, "a string");
  return std::string(value->get_string());
}

Result<bool> JsonFields::boolean(std::string_view key, bool if_absent) const {
  const json::value* value = find(key);
  if (value == nullptr) return if_absent;
  if (!value->is_bool()) return mismatch(key, "true or false");
  return value->get_bool();
}

}  // namespace sparrow

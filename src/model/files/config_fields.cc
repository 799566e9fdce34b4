#include "model/files/config_fields.h"

#include <fmt/format.h>

#include <boost/json/serialize.hpp>

#include "model/files/printable.h"

namespace sparrow {

namespace json = boost::json;

std::string printable_json(const json::value& value) {
  if (value.is_object()) return "an object";
  if (value.is_array()) return "an array";
  if (value.is_string()) return printable({value.get_string().data(), value.get_string().size()});
  return json::serialize(value);
}

const json::value* ConfigFields::find(std::string_view field) const {
  const json::value* value = object_->if_contains({field.data(), field.size()});
  return value == nullptr || value->is_null() ? nullptr : value;
}

Status ConfigFields::wrong(std::string_view field, std::string_view expected) const {
  const json::value* value = find(field);
  return invalid_argument(fmt::format("{}: {}: found {}, expected {}", path_, field,
                                      value == nullptr ? "nothing" : printable_json(*value),
                                      expected));
}

Result<std::optional<int64_t>> ConfigFields::optional_int(std::string_view field, int64_t min,
                                                          int64_t max) const {
  const json::value* value = find(field);
  if (value == nullptr) return std::optional<int64_t>();
  const int64_t* number = value->if_int64();
  if (number == nullptr || *number < min || *number > max) {
    return wrong(field, fmt::format("a whole number from {} to {}", min, max));
  }
  return std::optional<int64_t>(*number);
}

Result<int64_t> ConfigFields::required_int(std::string_view field, int64_t min, int64_t max) const {
  ASSIGN_OR_RETURN(const std::optional<int64_t> value, optional_int(field, min, max));
  if (!value.has_value())
    return wrong(field, fmt::format("a whole number from {} to {}", min, max));
  return *value;
}

Result<std::optional<double>> ConfigFields::optional_number(std::string_view field) const {
  const json::value* value = find(field);
  if (value == nullptr) return std::optional<double>();
  if (const double* number = value->if_double()) return std::optional<double>(*number);
  if (const int64_t* number = value->if_int64()) {
    return std::optional<double>(static_cast<double>(*number));
  }
  return wrong(field, "a number");
}

Result<bool> ConfigFields::bool_or(std::string_view field, bool fallback) const {
  const json::value* value = find(field);
  if (value == nullptr) return fallback;
  if (const bool* flag = value->if_bool()) return *flag;
  return wrong(field, "true or false");
}

Result<std::optional<std::string>> ConfigFields::optional_string(std::string_view field) const {
  const json::value* value = find(field);
  if (value == nullptr) return std::optional<std::string>();
  const json::string* text = value->if_string();
  if (text == nullptr) return wrong(field, "a string");
  return std::optional<std::string>(std::string(text->data(), text->size()));
}

}  // namespace sparrow

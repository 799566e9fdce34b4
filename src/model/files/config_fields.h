#pragma once
// ConfigFields: typed access to the fields of one JSON object of a file. An error names file,
// field, found and expected. null counts as absent. Does not own the object.

#include <boost/json/object.hpp>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/status.h"

namespace sparrow {

class ConfigFields {
 public:
  ConfigFields(const boost::json::object& object, std::string path)
      : object_(&object), path_(std::move(path)) {}

  const std::string& path() const { return path_; }
  const boost::json::value* find(std::string_view field) const;

  Result<std::optional<int64_t>> optional_int(std::string_view field, int64_t min,
                                              int64_t max) const;
  Result<int64_t> required_int(std::string_view field, int64_t min, int64_t max) const;
  Result<std::optional<double>> optional_number(std::string_view field) const;
  Result<bool> bool_or(std::string_view field, bool fallback) const;
  Result<std::optional<std::string>> optional_string(std::string_view field) const;

  Status wrong(std::string_view field, std::string_view expected) const;

 private:
  const boost::json::object* object_;
  std::string path_;
};

// "12", "\"relu\"", "an object": a value for a message, bounded.
std::string printable_json(const boost::json::value& value);

}  // namespace sparrow

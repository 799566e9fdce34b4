#pragma once
// JsonFields: typed access to the fields of one JSON object of an untrusted file, with errors that
// name file, field, found and expected. A view: the object and the names must outlive it.

#include <boost/json/object.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "base/status.h"

namespace sparrow {

// "a string \"abc\"", "the number 3", "an object" ...: for the found part of an error.
std::string describe_json(const boost::json::value& value);

class JsonFields {
 public:
  // `where`: file and path of the object, e.g. "tokenizer.json: model"; "tokenizer.json: " is a
  // root.
  JsonFields(const boost::json::object& object, std::string where)
      : object_(&object), where_(std::move(where)) {}
  // Error when `value` is not an object.
  static Result<JsonFields> of(const boost::json::value& value, std::string where);

  // Null pointer when the field is absent or null.
  const boost::json::value* find(std::string_view key) const;
  Result<const boost::json::array*> array(std::string_view key) const;
  Result<JsonFields> object(std::string_view key) const;
  Result<std::string> string(std::string_view key) const;
  Result<bool> boolean(std::string_view key, bool if_absent) const;

  std::string where(std::string_view key) const;
  const std::string& where() const { return where_; }
  const boost::json::object& json() const { return *object_; }

  // "<where>.<key> is <found>, expected <expected>".
  Status mismatch(std::string_view key, std::string_view expected) const;
  // Same, for what we understand but do not do.
  Status refusal(std::string_view key, std::string_view expected) const;

 private:
  std::string sentence(std::string_view key, std::string_view expected) const;

  const boost::json::object* object_;
  std::string where_;
};

}  // namespace sparrow

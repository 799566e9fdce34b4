#pragma once
// Values of the template language: Python's, as far as chat templates need them. Cheap to copy:
// lists and dicts are shared and immutable, except namespaces. One rendering, one thread.

#include <boost/json/value.hpp>
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace sparrow::jinja {

// Thrown inside the interpreter, caught by ChatTemplate: never leaves the folder.
struct TemplateError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

class Value;
using List = std::vector<Value>;
using Dict = std::vector<std::pair<std::string, Value>>;  // in order of insertion
struct Macro;                                             // jinja_ast.h

struct Undefined {
  std::string name;  // for the error: what was looked up
};
struct None {};
struct Namespace {
  std::shared_ptr<Dict> fields;
};
struct MacroRef {
  const Macro* macro;
};

class Value {
 public:
  Value() : data_(Undefined{}) {}
  Value(None) : data_(None{}) {}                                                // NOLINT
  Value(bool value) : data_(value) {}                                           // NOLINT
  Value(int64_t value) : data_(value) {}                                        // NOLINT
  Value(double value) : data_(value) {}                                         // NOLINT
  Value(std::string value) : data_(std::move(value)) {}                         // NOLINT
  Value(const char* value) : data_(std::string(value)) {}                       // NOLINT
  Value(List value) : data_(std::make_shared<const List>(std::move(value))) {}  // NOLINT
  Value(Dict value) : data_(std::make_shared<const Dict>(std::move(value))) {}  // NOLINT
  Value(Namespace value) : data_(std::move(value)) {}                           // NOLINT
  Value(MacroRef value) : data_(value) {}                                       // NOLINT
  static Value undefined(std::string name) {
    Value value;
    value.data_ = Undefined{std::move(name)};
    return value;
  }
  static Value from_json(const boost::json::value& json);

  bool is_undefined() const { return std::holds_alternative<Undefined>(data_); }
  bool is_none() const { return std::holds_alternative<None>(data_); }
  bool is_bool() const { return std::holds_alternative<bool>(data_); }
  bool is_int() const { return std::holds_alternative<int64_t>(data_); }
  bool is_float() const { return std::holds_alternative<double>(data_); }
  bool is_number() const { return is_bool() || is_int() || is_float(); }
  bool is_string() const { return std::holds_alternative<std::string>(data_); }
  bool is_list() const { return std::holds_alternative<std::shared_ptr<const List>>(data_); }
  bool is_dict() const { return std::holds_alternative<std::shared_ptr<const Dict>>(data_); }
  bool is_namespace() const { return std::holds_alternative<Namespace>(data_); }
  bool is_macro() const { return std::holds_alternative<MacroRef>(data_); }

  const std::string& string() const { return std::get<std::string>(data_); }
  const List& list() const { return *std::get<std::shared_ptr<const List>>(data_); }
  const Dict& dict() const { return *std::get<std::shared_ptr<const Dict>>(data_); }
  Dict& fields() const { return *std::get<Namespace>(data_).fields; }
  const Macro& macro() const { return *std::get<MacroRef>(data_).macro; }
  const std::string& undefined_name() const { return std::get<Undefined>(data_).name; }
  int64_t integer() const;  // of an int or bool
  double number() const;    // of any number

  bool truthy() const;
  const char* type_name() const;  // Python's word, for errors

 private:
  std::variant<Undefined, None, bool, int64_t, double, std::string, std::shared_ptr<const List>,
               std::shared_ptr<const Dict>, Namespace, MacroRef>
      data_;
};

// Null when the key is missing.
const Value* find(const Dict& dict, std::string_view key);
// Python's ==: 1 == 1.0 == True, lists and dicts by content.
bool equal(const Value& a, const Value& b);
// Python's < for numbers, strings and lists; a TemplateError for anything else.
bool less(const Value& a, const Value& b);
// str(): what {{ }} prints. Undefined prints nothing.
void append_text(std::string& out, const Value& value);
// json.dumps(ensure_ascii=False); indent < 0: one line.
void append_json(std::string& out, const Value& value, int indent, int level = 0);

}  // namespace sparrow::jinja

#pragma once
// Values of the template language: Python's, as far as chat templates need them. Cheap to copy:
// strings, lists and dicts are shared and immutable; only namespaces change. Nesting is bounded, so
// that every recursion over a value is; values may share parts, so recursions also spend steps.
// One rendering, one thread. Throws TemplateError.

#include <boost/json/value.hpp>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "tokenizer/jinja/budget.h"

namespace sparrow::jinja {

inline constexpr int kMaxValueDepth = 200;

class Value;
using List = std::vector<Value>;
using Dict = std::vector<std::pair<std::string, Value>>;  // in order of insertion, keys unique
struct Macro;                                             // ast.h
struct LoopState;                                         // below

struct Undefined {
  std::shared_ptr<const std::string> name;  // for the error: what was looked up
};
struct None {};
struct Tuple {
  List items;
};
struct ListNode {
  List items;
  bool is_tuple = false;  // printed with (), never equal to a list
  int depth = 1;
};
struct DictNode {
  Dict items;
  int depth = 1;
};
struct Namespace {
  std::shared_ptr<Dict> fields;  // kept alive and emptied at the end by the interpreter
};
struct MacroRef {
  const Macro* macro = nullptr;
  size_t num_scopes = 0;  // scopes it was defined in and may see
};

class Value {
 public:
  Value() = default;
  Value(None) : data_(None{}) {}          // NOLINT
  Value(bool value) : data_(value) {}     // NOLINT
  Value(int64_t value) : data_(value) {}  // NOLINT
  Value(double value) : data_(value) {}   // NOLINT
  Value(std::string value)
      : data_(std::make_shared<const std::string>(std::move(value))) {}  // NOLINT
  Value(const char* value) : Value(std::string(value)) {}                // NOLINT
  Value(List value);                                                     // NOLINT
  Value(Tuple value);                                                    // NOLINT
  Value(Dict value);                                                     // NOLINT
  Value(Namespace value) : data_(std::move(value)) {}                    // NOLINT
  Value(MacroRef value) : data_(value) {}                                // NOLINT
  Value(std::shared_ptr<LoopState> value) : data_(std::move(value)) {}   // NOLINT
  static Value undefined(std::string_view name);
  static Value from_json(const boost::json::value& json, int depth = 0);

  bool is_undefined() const { return std::holds_alternative<Undefined>(data_); }
  bool is_none() const { return std::holds_alternative<None>(data_); }
  bool is_bool() const { return std::holds_alternative<bool>(data_); }
  bool is_int() const { return std::holds_alternative<int64_t>(data_); }
  // Whole numbers of [2^63, 2^64) print exactly and count as floats otherwise.
  bool is_big() const { return std::holds_alternative<uint64_t>(data_); }
  bool is_float() const { return std::holds_alternative<double>(data_) || is_big(); }
  bool is_number() const { return is_bool() || is_int() || is_float(); }
  bool is_string() const { return std::holds_alternative<SharedString>(data_); }
  bool is_list() const { return std::holds_alternative<SharedList>(data_); }  // or tuple
  bool is_tuple() const { return is_list() && std::get<SharedList>(data_)->is_tuple; }
  bool is_dict() const { return std::holds_alternative<SharedDict>(data_); }
  bool is_namespace() const { return std::holds_alternative<Namespace>(data_); }
  bool is_macro() const { return std::holds_alternative<MacroRef>(data_); }
  bool is_loop() const { return std::holds_alternative<std::shared_ptr<LoopState>>(data_); }

  const std::string& string() const { return *std::get<SharedString>(data_); }
  const List& list() const { return std::get<SharedList>(data_)->items; }
  const Dict& dict() const { return std::get<SharedDict>(data_)->items; }
  Dict& fields() const { return *std::get<Namespace>(data_).fields; }
  const std::shared_ptr<Dict>& shared_fields() const { return std::get<Namespace>(data_).fields; }
  const MacroRef& macro() const { return std::get<MacroRef>(data_); }
  const LoopState& loop() const { return *std::get<std::shared_ptr<LoopState>>(data_); }
  const std::string& undefined_name() const;
  int64_t integer() const;  // of an int or bool
  uint64_t big() const { return std::get<uint64_t>(data_); }
  double number() const;     // of any number
  size_t num_items() const;  // of a list, dict or string (bytes); 0 for others
  int depth() const;

  bool truthy() const;
  const char* type_name() const;  // Python's word, for errors

 private:
  using SharedString = std::shared_ptr<const std::string>;
  using SharedList = std::shared_ptr<const ListNode>;
  using SharedDict = std::shared_ptr<const DictNode>;

  std::variant<Undefined, None, bool, int64_t, uint64_t, double, SharedString, SharedList,
               SharedDict, Namespace, MacroRef, std::shared_ptr<LoopState>>
      data_;
};

// What `loop` stands for in one loop.
struct LoopState {
  Value items;       // a list
  size_t index = 0;  // of the current round, from 0
};

// Null when the key is missing.
const Value* find(const Dict& dict, std::string_view key, Budget& budget);
// Replaces or appends.
void set_key(Dict& dict, std::string_view key, Value value, Budget& budget);
// Python's ==: 1 == 1.0 == True, lists and dicts by content.
bool equal(const Value& a, const Value& b, Budget& budget);
// Python's < for numbers, strings and lists; an error for anything else.
bool less(const Value& a, const Value& b, Budget& budget);

}  // namespace sparrow::jinja

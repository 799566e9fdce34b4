#pragma once
// Filters, tests, functions and methods of the template language, as tables the parser looks names
// up in: what a template calls is known, with its arguments, before the first rendering. All are
// pure functions; whatever can grow is charged to the budget before it is made.

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tokenizer/jinja/value.h"

namespace sparrow::jinja {

struct Arguments {
  std::vector<Value> positional;
  std::vector<std::pair<std::string, Value>> keywords;

  // The argument at this place or of this name; null when absent.
  const Value* find(size_t index, std::string_view name) const;
  const Value* keyword(std::string_view name) const;
  // Is the argument there and true?
  bool flag(size_t index, std::string_view name) const;
};

struct Builtin {
  static constexpr size_t kAny = 1000;

  std::string_view name;
  size_t min_arguments;         // besides the subject
  size_t max_arguments;         // that may be given by place
  std::string_view parameters;  // names they may be given by, separated by blanks; "*": any name
  Value (*run)(const Value& subject, const Arguments& arguments, Budget& budget);

  // What is wrong with a call, "" when nothing.
  std::string complaint(size_t num_positional, const std::vector<std::string>& keywords) const;
};

// Null when there is none of this name. The subject of a function is undefined.
const Builtin* find_filter(std::string_view name);
const Builtin* find_test(std::string_view name);
const Builtin* find_function(std::string_view name);
const Builtin* find_method(std::string_view name);

// object.name or object[key]; undefined when there is none.
Value get_attribute(const Value& object, std::string_view name, Budget& budget);
Value get_item(const Value& object, const Value& key, Budget& budget);
bool contains(const Value& container, const Value& item, Budget& budget);

// A list of what a loop runs over: of a list itself, of a dict its keys, of a string its
// characters; of undefined nothing. `what` names the caller in errors.
Value list_of(const Value& value, std::string_view what, Budget& budget);

// The string argument at this place.
const std::string& text_argument(const Arguments& arguments, size_t index, std::string_view name,
                                 std::string_view callee);

// Used by the interpreter and its filters.
namespace builtin_tables {
extern const std::vector<Builtin> kListFilters, kTextFilters, kTests, kMethods;
}

}  // namespace sparrow::jinja

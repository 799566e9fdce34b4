#pragma once
// Filters, tests, functions and methods of the template language. All are pure functions of their
// arguments; whatever can grow is charged to the budget before it is made. Throw TemplateError.

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tokenizer/chat_template.h"
#include "tokenizer/jinja_value.h"

namespace sparrow::jinja {

// What one rendering may still spend.
class Budget {
 public:
  explicit Budget(const ChatTemplateLimits& limits) : limits_(limits) {}
  void step() { spend(1); }
  // A string or list of this many bytes is about to be made.
  void make(size_t bytes);
  const ChatTemplateLimits& limits() const { return limits_; }

 private:
  void spend(size_t steps);
  const ChatTemplateLimits& limits_;
  size_t used_ = 0;
};

struct Arguments {
  std::vector<Value> positional;
  std::vector<std::pair<std::string, Value>> keywords;

  // The argument at this place or of this name; null when absent.
  const Value* find(size_t index, std::string_view name) const;
};

bool is_known_filter(std::string_view name);
bool is_known_test(std::string_view name);
bool is_known_function(std::string_view name);
bool is_known_method(std::string_view name);

Value call_filter(const std::string& name, const Value& value, const Arguments& arguments,
                  Budget& budget);
bool call_test(const std::string& name, const Value& value, const Arguments& arguments,
               Budget& budget);
Value call_function(const std::string& name, const Arguments& arguments, Budget& budget);
Value call_method(const std::string& name, const Value& object, const Arguments& arguments,
                  Budget& budget);

// object.name or object[key]; undefined when there is none.
Value get_item(const Value& object, const Value& key);
Value get_attribute(const Value& object, const std::string& name);

// The items a loop runs over: of a list, the keys of a dict, the characters of a string.
List items_of(const Value& value, const char* what, Budget& budget);
std::string text_of(const Value& value, Budget& budget);

}  // namespace sparrow::jinja

#include "tokenizer/jinja_builtins.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <ctime>

#include "base/clock.h"
#include "base/utf8.h"

namespace sparrow::jinja {
namespace {

constexpr std::array<std::string_view, 24> kTests = {
    "defined", "undefined", "none",     "string", "number", "integer", "float", "boolean",
    "mapping", "iterable",  "sequence", "true",   "false",  "odd",     "even",  "divisibleby",
    "equalto", "eq",        "ne",       "in",     "gt",     "lt",      "ge",    "le"};
constexpr std::array<std::string_view, 5> kFunctions = {"range", "namespace", "dict",
                                                        "raise_exception", "strftime_now"};

template <typename Names>
bool contains(const Names& names, std::string_view name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

// How many items the loop may make is checked before the first is made.
Value range(const Arguments& arguments, Budget& budget) {
  const auto at = [&](size_t index) {
    const Value& value = arguments.positional[index];
    if (!value.is_int() && !value.is_bool()) throw TemplateError("range() takes whole numbers");
    return value.integer();
  };
  const size_t count = arguments.positional.size();
  if (count < 1 || count > 3) throw TemplateError("range() takes one to three numbers");
  const int64_t begin = count == 1 ? 0 : at(0);
  const int64_t end = count == 1 ? at(0) : at(1);
  const int64_t step = count == 3 ? at(2) : 1;
  if (step == 0) throw TemplateError("range() needs a step other than 0");
  const double exact =
      (static_cast<double>(end) - static_cast<double>(begin)) / static_cast<double>(step);
  const double num_items = std::max(0.0, std::ceil(exact));
  budget.make(static_cast<size_t>(std::min(num_items, 1e12)) * sizeof(Value));
  List list;
  for (int64_t i = 0; i < static_cast<int64_t>(num_items); ++i) list.push_back(begin + i * step);
  return list;
}

Value strftime_now(const Arguments& arguments) {
  const Value* format = arguments.find(0, "format");
  if (format == nullptr || !format->is_string() || format->string().size() > 100) {
    throw TemplateError("strftime_now() takes a short format");
  }
  const std::time_t now = unix_seconds();
  std::tm parts{};
  gmtime_r(&now, &parts);
  char buffer[512];
  const size_t length = std::strftime(buffer, sizeof(buffer), format->string().c_str(), &parts);
  return std::string(buffer, length);
}

bool compare(const std::string& name, const Value& a, const Value& b) {
  if (name == "gt") return less(b, a);
  if (name == "lt") return less(a, b);
  if (name == "ge") return !less(a, b);
  return !less(b, a);
}

bool is_in(const Value& item, const Value& container) {
  if (container.is_string()) {
    if (!item.is_string()) throw TemplateError("'in' a string needs a string");
    return container.string().find(item.string()) != std::string::npos;
  }
  if (container.is_dict())
    return item.is_string() && find(container.dict(), item.string()) != nullptr;
  if (!container.is_list())
    throw TemplateError(std::string("'in' cannot look into ") + container.type_name());
  return std::any_of(container.list().begin(), container.list().end(),
                     [&](const Value& one) { return equal(one, item); });
}

}  // namespace

void Budget::spend(size_t steps) {
  used_ += steps;
  if (used_ > limits_.max_steps) throw TemplateError("the template takes too many steps");
}

void Budget::make(size_t bytes) {
  if (bytes > limits_.max_output_bytes) throw TemplateError("the template makes too much text");
  spend(1 + bytes / 256);
}

const Value* Arguments::find(size_t index, std::string_view name) const {
  if (index < positional.size()) return &positional[index];
  for (const auto& [keyword, value] : keywords) {
    if (keyword == name) return &value;
  }
  return nullptr;
}

bool is_known_test(std::string_view name) { return contains(kTests, name); }
bool is_known_function(std::string_view name) { return contains(kFunctions, name); }

bool call_test(const std::string& name, const Value& value, const Arguments& arguments,
               Budget& budget) {
  budget.step();
  if (name == "defined") return !value.is_undefined();
  if (name == "undefined") return value.is_undefined();
  if (name == "none") return value.is_none();
  if (name == "string") return value.is_string();
  if (name == "number") return value.is_number();
  if (name == "integer") return value.is_int();
  if (name == "float") return value.is_float();
  if (name == "boolean") return value.is_bool();
  if (name == "mapping") return value.is_dict();
  if (name == "iterable" || name == "sequence")
    return value.is_list() || value.is_string() || value.is_dict();
  if (name == "true") return value.is_bool() && value.truthy();
  if (name == "false") return value.is_bool() && !value.truthy();
  if (name == "odd" || name == "even" || name == "divisibleby") {
    const Value* divisor = arguments.find(0, "num");
    const bool by = name == "divisibleby";
    if (!value.is_int() ||
        (by && (divisor == nullptr || !divisor->is_int() || divisor->integer() == 0))) {
      throw TemplateError(fmt::format("the test '{}' needs whole numbers", name));
    }
    if (by) return divisor->integer() == -1 || value.integer() % divisor->integer() == 0;
    return (value.integer() % 2 != 0) == (name == "odd");
  }
  const Value* other = arguments.find(0, "other");
  if (other == nullptr) throw TemplateError(fmt::format("the test '{}' needs an argument", name));
  if (name == "equalto" || name == "eq") return equal(value, *other);
  if (name == "ne") return !equal(value, *other);
  if (name == "in") return is_in(value, *other);
  return compare(name, value, *other);
}

Value call_function(const std::string& name, const Arguments& arguments, Budget& budget) {
  budget.step();
  if (name == "range") return range(arguments, budget);
  if (name == "strftime_now") return strftime_now(arguments);
  if (name == "raise_exception") {
    const Value* message = arguments.find(0, "message");
    throw TemplateError(message == nullptr ? "the template refused" : text_of(*message, budget));
  }
  Dict fields;
  if (!arguments.positional.empty()) {
    if (!arguments.positional[0].is_dict()) throw TemplateError(name + "() takes names and values");
    fields = arguments.positional[0].dict();
  }
  fields.insert(fields.end(), arguments.keywords.begin(), arguments.keywords.end());
  if (name == "dict") return fields;
  return Namespace{std::make_shared<Dict>(std::move(fields))};
}

Value get_attribute(const Value& object, const std::string& name) {
  if (object.is_undefined())
    throw TemplateError(fmt::format("'{}' is undefined", object.undefined_name()));
  const Value* found = nullptr;
  if (object.is_dict()) found = find(object.dict(), name);
  if (object.is_namespace()) found = find(object.fields(), name);
  return found != nullptr ? *found : Value::undefined(name);
}

Value get_item(const Value& object, const Value& key) {
  if (key.is_string()) return get_attribute(object, key.string());
  if (object.is_undefined())
    throw TemplateError(fmt::format("'{}' is undefined", object.undefined_name()));
  if (!key.is_int() && !key.is_bool()) return Value::undefined(key.type_name());
  int64_t index = key.integer();
  if (object.is_list()) {
    const auto size = static_cast<int64_t>(object.list().size());
    if (index < 0) index += size;
    return index >= 0 && index < size ? object.list()[static_cast<size_t>(index)]
                                      : Value::undefined("list item");
  }
  if (!object.is_string()) return Value::undefined("item");
  // Characters, not bytes.
  const std::string_view text = object.string();
  std::vector<std::string_view> characters;
  for (size_t at = 0; at < text.size();) {
    const size_t len = std::max<size_t>(1, utf8_sequence_len(text.substr(at)));
    characters.push_back(text.substr(at, len));
    at += len;
  }
  const auto size = static_cast<int64_t>(characters.size());
  if (index < 0) index += size;
  if (index < 0 || index >= size) return Value::undefined("character");
  return std::string(characters[static_cast<size_t>(index)]);
}

List items_of(const Value& value, const char* what, Budget& budget) {
  if (value.is_list()) {
    budget.make(value.list().size() * sizeof(Value));
    return value.list();
  }
  List list;
  if (value.is_dict()) {
    budget.make(value.dict().size() * sizeof(Value));
    for (const auto& item : value.dict()) list.push_back(item.first);
  } else if (value.is_string()) {
    const std::string_view text = value.string();
    budget.make(text.size() * sizeof(Value));
    for (size_t at = 0; at < text.size();) {
      const size_t len = std::max<size_t>(1, utf8_sequence_len(text.substr(at)));
      list.push_back(std::string(text.substr(at, len)));
      at += len;
    }
  } else if (value.is_undefined()) {
    // Jinja lets a loop run over an undefined name: it has no items.
    return list;
  } else {
    throw TemplateError(fmt::format("{}: {} has no items", what, value.type_name()));
  }
  return list;
}

std::string text_of(const Value& value, Budget& budget) {
  if (value.is_string()) {
    budget.make(value.string().size());
    return value.string();
  }
  std::string text;
  append_text(text, value);
  budget.make(text.size());
  return text;
}

}  // namespace sparrow::jinja

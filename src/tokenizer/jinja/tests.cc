// Tests ("x is odd"), by name and by the operators that select() and selectattr() take.

#include <fmt/format.h>

#include "tokenizer/jinja/builtins.h"
#include "tokenizer/jinja/text.h"

namespace sparrow::jinja {
namespace {

int64_t whole_number(const Value& value, const char* test) {
  if (!value.is_int() && !value.is_bool())
    throw TemplateError(fmt::format("the test '{}' needs whole numbers", test));
  return value.integer();
}

const Value& other(const Arguments& arguments) {
  const Value* value = arguments.find(0, "other");
  if (value == nullptr) throw TemplateError("the test needs an argument");
  return *value;
}

Value divisible(const Value& value, const Arguments& arguments, Budget&) {
  const int64_t divisor = whole_number(*arguments.find(0, "num"), "divisibleby");
  if (divisor == 0) throw TemplateError("division by zero");
  return divisor == -1 || whole_number(value, "divisibleby") % divisor == 0;
}

// Python's islower() and isupper(): some letters, and all of the wanted case.
template <typename Wanted, typename Unwanted>
bool letters_are(const Value& value, const Wanted& wanted, const Unwanted& unwanted,
                 Budget& budget) {
  if (!value.is_string()) return false;
  const std::string& text = value.string();
  budget.touch(text.size() * 8);
  bool any = false;
  for (size_t at = 0; at < text.size();) {
    const Character c = character_at(text, at);
    if (unwanted(c.code)) return false;
    any = any || wanted(c.code);
    at += c.len;
  }
  return any;
}

Value same(const Value& value, const Arguments& arguments, Budget& budget) {
  const Value& another = other(arguments);
  return std::string_view(value.type_name()) == another.type_name() &&
         equal(value, another, budget);
}

using Test = bool (*)(const Value& value);
template <Test test>
Value plain(const Value& value, const Arguments&, Budget&) {
  return test(value);
}

using Comparison = bool (*)(const Value& a, const Value& b, Budget& budget);
template <Comparison compare>
Value against(const Value& value, const Arguments& arguments, Budget& budget) {
  return compare(value, other(arguments), budget);
}

constexpr Comparison kNotEqual = [](const Value& a, const Value& b, Budget& c) {
  return !equal(a, b, c);
};
constexpr Comparison kMore = [](const Value& a, const Value& b, Budget& c) {
  return less(b, a, c);
};
constexpr Comparison kAtLeast = [](const Value& a, const Value& b, Budget& c) {
  return !less(a, b, c);
};
constexpr Comparison kAtMost = [](const Value& a, const Value& b, Budget& c) {
  return !less(b, a, c);
};
constexpr Comparison kIn = [](const Value& a, const Value& b, Budget& c) {
  return contains(b, a, c);
};
constexpr Test kHasItems = [](const Value& v) {
  return v.is_list() || v.is_string() || v.is_dict() || v.is_undefined();
};

}  // namespace

namespace builtin_tables {

const std::vector<Builtin> kTests = {
    {"defined", 0, 0, "", plain<[](const Value& v) { return !v.is_undefined(); }>},
    {"undefined", 0, 0, "", plain<[](const Value& v) { return v.is_undefined(); }>},
    {"none", 0, 0, "", plain<[](const Value& v) { return v.is_none(); }>},
    {"string", 0, 0, "", plain<[](const Value& v) { return v.is_string(); }>},
    {"number", 0, 0, "", plain<[](const Value& v) { return v.is_number(); }>},
    {"integer", 0, 0, "", plain<[](const Value& v) { return v.is_int() || v.is_big(); }>},
    {"float", 0, 0, "", plain<[](const Value& v) { return v.is_float() && !v.is_big(); }>},
    {"boolean", 0, 0, "", plain<[](const Value& v) { return v.is_bool(); }>},
    {"mapping", 0, 0, "", plain<[](const Value& v) { return v.is_dict(); }>},
    {"iterable", 0, 0, "", plain<kHasItems>},
    {"sequence", 0, 0, "", plain<kHasItems>},
    {"callable", 0, 0, "", plain<[](const Value& v) { return v.is_macro(); }>},
    {"true", 0, 0, "", plain<[](const Value& v) { return v.is_bool() && v.truthy(); }>},
    {"false", 0, 0, "", plain<[](const Value& v) { return v.is_bool() && !v.truthy(); }>},
    {"odd", 0, 0, "", plain<[](const Value& v) { return whole_number(v, "odd") % 2 != 0; }>},
    {"even", 0, 0, "", plain<[](const Value& v) { return whole_number(v, "even") % 2 == 0; }>},
    {"divisibleby", 1, 1, "num", divisible},
    {"lower", 0, 0, "",
     [](const Value& v, const Arguments&, Budget& b) -> Value {
       return letters_are(v, is_lower_letter, is_upper_letter, b);
     }},
    {"upper", 0, 0, "",
     [](const Value& v, const Arguments&, Budget& b) -> Value {
       return letters_are(v, is_upper_letter, is_lower_letter, b);
     }},
    {"sameas", 1, 1, "other", same},
    {"in", 1, 1, "seq", against<kIn>},
    {"eq", 1, 1, "other", against<equal>},
    {"equalto", 1, 1, "other", against<equal>},
    {"==", 1, 1, "other", against<equal>},
    {"ne", 1, 1, "other", against<kNotEqual>},
    {"!=", 1, 1, "other", against<kNotEqual>},
    {"gt", 1, 1, "other", against<kMore>},
    {"greaterthan", 1, 1, "other", against<kMore>},
    {">", 1, 1, "other", against<kMore>},
    {"lt", 1, 1, "other", against<less>},
    {"lessthan", 1, 1, "other", against<less>},
    {"<", 1, 1, "other", against<less>},
    {"ge", 1, 1, "other", against<kAtLeast>},
    {">=", 1, 1, "other", against<kAtLeast>},
    {"le", 1, 1, "other", against<kAtMost>},
    {"<=", 1, 1, "other", against<kAtMost>},
};

}  // namespace builtin_tables

}  // namespace sparrow::jinja

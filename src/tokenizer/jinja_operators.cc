// Operators of the interpreter: Python's arithmetic, concatenation, comparison and slices, with
// everything that can grow charged before it is made.

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/utf8.h"
#include "tokenizer/jinja_interpreter.h"

namespace sparrow::jinja {
namespace {

[[noreturn]] void refuse(const std::string& op, const Value& a, const Value& b) {
  for (const Value* side : {&a, &b}) {
    if (side->is_undefined())
      throw TemplateError(fmt::format("'{}' is undefined", side->undefined_name()));
  }
  throw TemplateError(fmt::format("cannot compute {} {} {}", a.type_name(), op, b.type_name()));
}

Value checked(const std::string& op, const Value& a, const Value& b) {
  int64_t result = 0;
  const int64_t x = a.integer(), y = b.integer();
  const bool overflow = op == "+"   ? __builtin_add_overflow(x, y, &result)
                        : op == "-" ? __builtin_sub_overflow(x, y, &result)
                                    : __builtin_mul_overflow(x, y, &result);
  if (overflow) throw TemplateError("a number becomes too large");
  return result;
}

// Python's bounds of a slice for `size` items.
struct SliceRange {
  int64_t begin, end, step;
};

SliceRange slice_range(const Value& begin, const Value& end, const Value& step, int64_t size) {
  const auto number = [](const Value& value, int64_t otherwise) {
    if (value.is_none()) return otherwise;
    if (!value.is_int()) throw TemplateError("the parts of a slice are whole numbers");
    return value.integer();
  };
  SliceRange range{};
  range.step = number(step, 1);
  if (range.step == 0) throw TemplateError("a slice needs a step other than 0");
  const bool forward = range.step > 0;
  const int64_t low = forward ? 0 : -1, high = forward ? size : size - 1;
  const auto clamp = [&](int64_t index) {
    return std::clamp(index < 0 ? index + size : index, low, high);
  };
  range.begin = begin.is_none() ? (forward ? low : high) : clamp(number(begin, 0));
  range.end = end.is_none() ? (forward ? high : low) : clamp(number(end, 0));
  return range;
}

bool in(const Value& item, const Value& container, Budget& budget) {
  Arguments arguments;
  arguments.positional.push_back(container);
  return call_test("in", item, arguments, budget);
}

}  // namespace

Value Interpreter::unary(const Expr& expr) {
  const Value value = evaluate(*expr.children[0]);
  if (expr.name == "not") return !value.truthy();
  if (!value.is_number()) refuse(expr.name, Value(int64_t{0}), value);
  if (expr.name == "+") return value;
  if (value.is_float()) return -value.number();
  return checked("-", Value(int64_t{0}), value);
}

Value Interpreter::binary(const Expr& expr) {
  const std::string& op = expr.name;
  const Value a = evaluate(*expr.children[0]);
  if (op == "and") return a.truthy() ? evaluate(*expr.children[1]) : a;
  if (op == "or") return a.truthy() ? a : evaluate(*expr.children[1]);
  const Value b = evaluate(*expr.children[1]);
  if (op == "==") return equal(a, b);
  if (op == "!=") return !equal(a, b);
  if (op == "<") return less(a, b);
  if (op == ">") return less(b, a);
  if (op == "<=") return !less(b, a);
  if (op == ">=") return !less(a, b);
  if (op == "in" || op == "not in") return in(a, b, budget_) == (op == "in");
  if (op == "~") {
    std::string text = text_of(a, budget_);
    text += text_of(b, budget_);
    budget_.make(text.size());
    return text;
  }
  if (op == "+") return add(a, b);
  if (op == "*") return multiply(a, b);
  if (!a.is_number() || !b.is_number()) refuse(op, a, b);
  if (op == "-")
    return a.is_float() || b.is_float() ? Value(a.number() - b.number()) : checked("-", a, b);
  return divide(op, a, b);
}

Value Interpreter::add(const Value& a, const Value& b) {
  if (a.is_string() && b.is_string()) {
    budget_.make(a.string().size() + b.string().size());
    return a.string() + b.string();
  }
  if (a.is_list() && b.is_list()) {
    budget_.make((a.list().size() + b.list().size()) * sizeof(Value));
    List list = a.list();
    list.insert(list.end(), b.list().begin(), b.list().end());
    return list;
  }
  if (!a.is_number() || !b.is_number()) refuse("+", a, b);
  return a.is_float() || b.is_float() ? Value(a.number() + b.number()) : checked("+", a, b);
}

Value Interpreter::multiply(const Value& a, const Value& b) {
  if (a.is_number() && b.is_number()) {
    return a.is_float() || b.is_float() ? Value(a.number() * b.number()) : checked("*", a, b);
  }
  const Value& thing = a.is_string() || a.is_list() ? a : b;
  const Value& count = a.is_string() || a.is_list() ? b : a;
  if (!(thing.is_string() || thing.is_list()) || !count.is_int()) refuse("*", a, b);
  const auto times = static_cast<double>(std::max<int64_t>(0, count.integer()));
  const size_t size =
      thing.is_string() ? thing.string().size() : thing.list().size() * sizeof(Value);
  budget_.make(static_cast<size_t>(std::min(1e15, times * static_cast<double>(size))));
  if (thing.is_string()) {
    std::string text;
    if (size > 0)
      for (double i = 0; i < times; ++i) text += thing.string();
    return text;
  }
  List list;
  if (size > 0)
    for (double i = 0; i < times; ++i)
      list.insert(list.end(), thing.list().begin(), thing.list().end());
  return list;
}

Value Interpreter::divide(const std::string& op, const Value& a, const Value& b) {
  if (op == "**") {
    const double power = std::pow(a.number(), b.number());
    const bool whole =
        !a.is_float() && !b.is_float() && b.integer() >= 0 && std::fabs(power) < 9e15;
    return whole ? Value(static_cast<int64_t>(power)) : Value(power);
  }
  if (b.number() == 0) throw TemplateError("division by zero");
  if (op == "/") return a.number() / b.number();
  if (a.is_float() || b.is_float()) {
    const double quotient = std::floor(a.number() / b.number());
    return op == "//" ? quotient : a.number() - quotient * b.number();
  }
  // Python rounds towards minus infinity; -1 apart, because INT64_MIN / -1 overflows.
  const int64_t x = a.integer(), y = b.integer();
  if (y == -1) return op == "//" ? checked("-", Value(int64_t{0}), a) : Value(int64_t{0});
  const bool adjust = x % y != 0 && (x < 0) != (y < 0);
  return op == "//" ? x / y - (adjust ? 1 : 0) : x % y + (adjust ? y : 0);
}

Value Interpreter::slice(const Expr& expr) {
  const Value object = evaluate(*expr.children[0]);
  if (!object.is_string() && !object.is_list()) refuse("[:]", object, Value(None{}));
  const List items = items_of(object, "slice", budget_);
  const SliceRange range =
      slice_range(evaluate(*expr.children[1]), evaluate(*expr.children[2]),
                  evaluate(*expr.children[3]), static_cast<int64_t>(items.size()));
  List picked;
  int64_t index = range.begin;
  while (range.step > 0 ? index < range.end : index > range.end) {
    picked.push_back(items[static_cast<size_t>(index)]);
    if (__builtin_add_overflow(index, range.step, &index)) break;
  }
  if (object.is_list()) return picked;
  std::string text;
  for (const Value& character : picked) text += character.string();
  return text;
}

}  // namespace sparrow::jinja

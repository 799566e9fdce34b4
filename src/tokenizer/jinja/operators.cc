// Operators of the interpreter: Python's arithmetic, concatenation, comparison and slices, with
// everything that can grow charged before it is made.

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "tokenizer/jinja/interpreter.h"
#include "tokenizer/jinja/printing.h"
#include "tokenizer/jinja/text.h"

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

// The whole power of whole numbers; a float when the exponent is negative, as in Python.
Value power(const Value& a, const Value& b) {
  if (a.is_float() || b.is_float() || b.integer() < 0) {
    if (a.number() == 0 && b.number() < 0) throw TemplateError("division by zero");
    return std::pow(a.number(), b.number());
  }
  int64_t result = 1, base = a.integer();
  for (int64_t exponent = b.integer(); exponent > 0; exponent /= 2) {
    const bool overflow = (exponent % 2 != 0 && __builtin_mul_overflow(result, base, &result)) ||
                          (exponent > 1 && __builtin_mul_overflow(base, base, &base));
    if (overflow) throw TemplateError("a number becomes too large");
  }
  return result;
}

// Picks the characters of a slice by their byte positions.
std::string slice_text(const std::string& text, const SliceRange& range, Budget& budget) {
  if (range.step == 1) {
    if (range.end <= range.begin) return "";
    const size_t begin = byte_of_character(text, static_cast<size_t>(range.begin));
    const std::string_view rest = std::string_view(text).substr(begin);
    return std::string(
        rest.substr(0, byte_of_character(rest, static_cast<size_t>(range.end - range.begin))));
  }
  budget.make(text.size() * sizeof(size_t) / 8);
  std::vector<size_t> begins;
  for (size_t at = 0; at < text.size(); at += character_at(text, at).len) begins.push_back(at);
  std::string picked;
  for (int64_t index = range.begin; range.step > 0 ? index < range.end : index > range.end;) {
    const size_t at = begins[static_cast<size_t>(index)];
    picked.append(text, at, character_at(text, at).len);
    if (__builtin_add_overflow(index, range.step, &index)) break;
  }
  return picked;
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
  if (op == "==") return equal(a, b, budget_);
  if (op == "!=") return !equal(a, b, budget_);
  if (op == "<") return less(a, b, budget_);
  if (op == ">") return less(b, a, budget_);
  if (op == "<=") return !less(b, a, budget_);
  if (op == ">=") return !less(a, b, budget_);
  if (op == "in" || op == "not in") return contains(b, a, budget_) == (op == "in");
  if (op == "~") {
    std::string text = text_of(a, budget_);
    append_text(text, b, budget_);
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
  if (a.is_list() && b.is_list() && a.is_tuple() == b.is_tuple()) {
    budget_.make((a.list().size() + b.list().size()) * sizeof(Value));
    List list = a.list();
    list.insert(list.end(), b.list().begin(), b.list().end());
    if (a.is_tuple()) return Tuple{std::move(list)};
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
  const auto times = static_cast<size_t>(std::max<int64_t>(0, count.integer()));
  const size_t num_items = thing.num_items();
  if (times == 0 || num_items == 0) return thing.is_string() ? Value("") : Value(List{});
  size_t bytes = 0;
  const size_t item_bytes = thing.is_string() ? 1 : sizeof(Value);
  if (__builtin_mul_overflow(times, num_items * item_bytes, &bytes)) bytes = SIZE_MAX;
  budget_.make(bytes);
  if (thing.is_string()) {
    std::string text;
    text.reserve(bytes);
    for (size_t i = 0; i < times; ++i) text += thing.string();
    return text;
  }
  List list;
  list.reserve(times * num_items);
  for (size_t i = 0; i < times; ++i)
    list.insert(list.end(), thing.list().begin(), thing.list().end());
  if (thing.is_tuple()) return Tuple{std::move(list)};
  return list;
}

Value Interpreter::divide(const std::string& op, const Value& a, const Value& b) {
  if (op == "**") return power(a, b);
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
  budget_.touch(object.is_string() ? 3 * object.string().size() : 0);
  const size_t size = object.is_string() ? count_characters(object.string()) : object.list().size();
  const Value begin = evaluate(*expr.children[1]), end = evaluate(*expr.children[2]);
  const SliceRange range =
      slice_range(begin, end, evaluate(*expr.children[3]), static_cast<int64_t>(size));
  if (object.is_string()) return slice_text(object.string(), range, budget_);
  budget_.make(object.list().size() * sizeof(Value));
  List picked;
  for (int64_t index = range.begin; range.step > 0 ? index < range.end : index > range.end;) {
    picked.push_back(object.list()[static_cast<size_t>(index)]);
    if (__builtin_add_overflow(index, range.step, &index)) break;
  }
  if (object.is_tuple()) return Tuple{std::move(picked)};
  return picked;
}

}  // namespace sparrow::jinja

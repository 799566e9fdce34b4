// Filters of text and numbers: Jinja's built-in ones that chat templates use, and transformers'
// tojson.

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <optional>

#include "tokenizer/jinja/builtins.h"
#include "tokenizer/jinja/printing.h"
#include "tokenizer/jinja/text.h"

namespace sparrow::jinja {
namespace {

constexpr int64_t kMaxIndent = 100;
constexpr double kMaxWhole = 9.2e18;  // whole numbers below fit int64_t

Value tojson(const Value& value, const Arguments& arguments, Budget& budget) {
  JsonStyle style;
  style.ensure_ascii = arguments.flag(0, "ensure_ascii");
  style.sort_keys = arguments.flag(3, "sort_keys");
  if (const Value* indent = arguments.find(1, "indent"); indent != nullptr && !indent->is_none()) {
    if (!indent->is_int() || indent->integer() < 0 || indent->integer() > kMaxIndent)
      throw TemplateError("tojson: indent is a number of 0 to 100");
    style.indent = static_cast<int>(indent->integer());
  }
  style.item_separator = style.indent < 0 ? ", " : ",";
  style.key_separator = ": ";
  const Value* separators = arguments.find(2, "separators");
  if (separators != nullptr && !separators->is_none()) {
    const bool is_pair = separators->is_list() && separators->list().size() == 2 &&
                         separators->list()[0].is_string() && separators->list()[1].is_string();
    if (!is_pair) throw TemplateError("tojson: separators are two strings");
    style.item_separator = separators->list()[0].string();
    style.key_separator = separators->list()[1].string();
    budget.touch((style.item_separator.size() + style.key_separator.size()) * 16);
    if (style.item_separator.size() + style.key_separator.size() > kMaxIndent)
      throw TemplateError("tojson: the separators are too long");
  }
  std::string out;
  append_json(out, value, style, budget);
  return out;
}

// Python's int(text, base): blanks around, a sign, single underscores between digits.
std::optional<int64_t> parse_whole(std::string_view text, int base) {
  text = strip_blanks(text);
  const bool negative = text.starts_with('-');
  if (negative || text.starts_with('+')) text.remove_prefix(1);
  std::string digits;
  bool after_digit = false;
  for (const char c : text) {
    if (c == '_' ? !after_digit : digits.size() > 70) return std::nullopt;
    after_digit = c != '_';
    if (after_digit) digits += c;
  }
  if (!after_digit || digits.starts_with('-')) return std::nullopt;
  if (negative) digits.insert(0, 1, '-');
  int64_t number = 0;
  const char* end = digits.data() + digits.size();
  const auto result = std::from_chars(digits.data(), end, number, base);
  if (result.ec != std::errc() || result.ptr != end) return std::nullopt;
  return number;
}

std::optional<double> parse_number(std::string_view text) {
  text = strip_blanks(text);
  if (text.starts_with('+') && !text.starts_with("+-")) text.remove_prefix(1);
  double number = 0;
  const char* end = text.data() + text.size();
  const auto result = std::from_chars(text.data(), end, number);
  if (result.ec != std::errc() || result.ptr != end) return std::nullopt;
  return number;
}

Value whole_or(double number, const Value& otherwise) {
  return std::fabs(number) < kMaxWhole ? Value(static_cast<int64_t>(std::trunc(number)))
                                       : otherwise;
}

Value to_int(const Value& value, const Arguments& arguments, Budget&) {
  const Value* given = arguments.find(0, "default");
  const Value otherwise = given != nullptr ? *given : Value(int64_t{0});
  if (value.is_big()) return value;
  if (value.is_float()) return whole_or(value.number(), otherwise);
  if (value.is_number()) return value.integer();
  if (!value.is_string()) return otherwise;
  const Value* base_argument = arguments.find(1, "base");
  const int64_t base =
      base_argument != nullptr && base_argument->is_int() ? base_argument->integer() : 10;
  if (base < 2 || base > 36) throw TemplateError("int: the base is 2 to 36");
  if (const auto whole = parse_whole(value.string(), static_cast<int>(base))) return *whole;
  const auto number = parse_number(value.string());
  return number.has_value() ? whole_or(*number, otherwise) : otherwise;
}

Value to_float(const Value& value, const Arguments& arguments, Budget&) {
  const Value* given = arguments.find(0, "default");
  if (value.is_number()) return value.number();
  if (value.is_string()) {
    if (const auto number = parse_number(value.string())) return *number;
  }
  return given != nullptr ? *given : Value(0.0);
}

Value absolute(const Value& value, const Arguments&, Budget&) {
  if (!value.is_number()) throw TemplateError("abs takes a number");
  if (value.is_big()) return value;
  if (value.is_float()) return std::fabs(value.number());
  if (value.integer() == INT64_MIN) throw TemplateError("a number becomes too large");
  return value.integer() < 0 ? -value.integer() : value.integer();
}

// Python's round(): decimal and half to even. Whole numbers stay whole.
double round_common(double number, int64_t precision) {
  if (!std::isfinite(number) || precision > 20) return number;
  if (precision < 0) {
    const double scale = std::pow(10.0, static_cast<double>(-precision));
    return std::nearbyint(number / scale) * scale;
  }
  char buffer[400];
  const auto end = std::to_chars(buffer, buffer + sizeof(buffer), number, std::chars_format::fixed,
                                 static_cast<int>(precision))
                       .ptr;
  double rounded = 0;
  std::from_chars(buffer, end, rounded);
  return rounded;
}

Value round_number(const Value& value, const Arguments& arguments, Budget&) {
  if (!value.is_number()) throw TemplateError("round takes a number");
  const Value* precision_argument = arguments.find(0, "precision");
  const int64_t precision = precision_argument != nullptr && precision_argument->is_int()
                                ? std::clamp<int64_t>(precision_argument->integer(), -30, 30)
                                : 0;
  const Value* method = arguments.find(1, "method");
  if (method != nullptr && !(method->is_string() && method->string() == "common")) {
    const std::string& name = text_argument(arguments, 1, "method", "round");
    if (name != "ceil" && name != "floor")
      throw TemplateError("round: the method is common, ceil or floor");
    const double scale = std::pow(10.0, static_cast<double>(precision));
    const double scaled = value.number() * scale;
    return (name == "ceil" ? std::ceil(scaled) : std::floor(scaled)) / scale;
  }
  const double rounded = round_common(value.number(), precision);
  return value.is_float() ? Value(rounded) : whole_or(rounded, value);
}

Value indent(const Value& value, const Arguments& arguments, Budget& budget) {
  const Value* width = arguments.find(0, "width");
  std::string blanks(4, ' ');
  if (width != nullptr && width->is_string()) blanks = width->string();
  if (width != nullptr && width->is_int())
    blanks.assign(static_cast<size_t>(std::clamp<int64_t>(width->integer(), 0, kMaxIndent)), ' ');
  const bool first = arguments.flag(1, "first");
  const bool blank_lines = arguments.flag(2, "blank");
  const std::string text = text_of(value, budget);
  std::string out;
  size_t begin = 0;
  while (begin <= text.size()) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    budget.check_size(out.size() + blanks.size() + end - begin);
    budget.touch(blanks.size());
    if (begin == 0 ? first : blank_lines || end > begin) out += blanks;
    out.append(text, begin, end - begin);
    if (end < text.size()) out += '\n';
    begin = end + 1;
  }
  budget.touch(out.size());
  return out;
}

Value trim(const Value& value, const Arguments& arguments, Budget& budget) {
  const std::string text = text_of(value, budget);
  const Value* which = arguments.find(0, "chars");
  if (which == nullptr || which->is_none()) return std::string(strip_blanks(text));
  const std::string& characters = text_argument(arguments, 0, "chars", "trim");
  budget.touch(text.size() + characters.size() * 16);
  return std::string(strip_characters(text, characters, true, true));
}

Value replace(const Value& value, const Arguments& arguments, Budget& budget) {
  const Value* count = arguments.find(2, "count");
  const std::string text = text_of(value, budget);
  const bool limited = count != nullptr && count->is_int() && count->integer() >= 0;
  const Value* from = arguments.find(0, "old");
  const Value* to = arguments.find(1, "new");
  if (from == nullptr || to == nullptr) throw TemplateError("replace takes old and new");
  return replace_text(text, text_of(*from, budget), text_of(*to, budget),
                      limited ? static_cast<size_t>(count->integer()) : text.size() + 1, budget);
}

template <std::string (*change)(std::string_view)>
Value change_case(const Value& value, const Arguments&, Budget& budget) {
  const std::string text = text_of(value, budget);
  budget.touch(text.size() * 16);  // tables of Unicode are slow
  std::string changed = change(text);
  budget.check_size(changed.size());
  return changed;
}

Value to_text(const Value& value, const Arguments&, Budget& budget) {
  return value.is_string() ? value : Value(text_of(value, budget));
}

Value default_value(const Value& value, const Arguments& arguments, Budget&) {
  const Value* otherwise = arguments.find(0, "default_value");
  const bool replaced = value.is_undefined() || (arguments.flag(1, "boolean") && !value.truthy());
  if (!replaced) return value;
  return otherwise != nullptr ? *otherwise : Value("");
}

}  // namespace

namespace builtin_tables {

const std::vector<Builtin> kTextFilters = {
    {"tojson", 0, 4, "ensure_ascii indent separators sort_keys", tojson},
    {"default", 0, 2, "default_value boolean", default_value},
    {"d", 0, 2, "default_value boolean", default_value},
    {"trim", 0, 1, "chars", trim},
    {"upper", 0, 0, "", change_case<to_upper>},
    {"lower", 0, 0, "", change_case<to_lower>},
    {"title", 0, 0, "", change_case<to_word_titles>},
    {"capitalize", 0, 0, "", change_case<to_capitalized>},
    {"replace", 2, 3, "old new count", replace},
    {"indent", 0, 3, "width first blank", indent},
    {"string", 0, 0, "", to_text},
    {"safe", 0, 0, "", to_text},
    {"int", 0, 2, "default base", to_int},
    {"float", 0, 1, "default", to_float},
    {"abs", 0, 0, "", absolute},
    {"round", 0, 2, "precision method", round_number},
};

}  // namespace builtin_tables

}  // namespace sparrow::jinja

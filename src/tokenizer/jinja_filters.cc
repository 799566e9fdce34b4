// Filters: Jinja's built-in ones that chat templates use, and transformers' tojson.

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

#include "tokenizer/jinja_builtins.h"
#include "tokenizer/jinja_text.h"

namespace sparrow::jinja {
namespace {

constexpr std::array<std::string_view, 33> kFilters = {
    "tojson",     "trim",   "length",   "count",      "upper",      "lower",   "title",
    "capitalize", "join",   "first",    "last",       "list",       "string",  "int",
    "float",      "items",  "dictsort", "replace",    "safe",       "default", "d",
    "map",        "select", "reject",   "selectattr", "rejectattr", "unique",  "sort",
    "reverse",    "indent", "abs",      "round",      "sum"};

Value tojson(const Value& value, const Arguments& arguments, Budget& budget) {
  const Value* indent = arguments.find(0, "indent");
  const bool has_indent = indent != nullptr && indent->is_int();
  const int64_t width = has_indent ? indent->integer() : -1;
  if (width > 16) throw TemplateError("tojson: indent is at most 16");
  std::string out;
  append_json(out, value, static_cast<int>(std::max<int64_t>(width, -1)));
  budget.make(out.size());
  return out;
}

Value length(const Value& value) {
  if (value.is_string()) return count_characters(value.string());
  if (value.is_list()) return static_cast<int64_t>(value.list().size());
  if (value.is_dict()) return static_cast<int64_t>(value.dict().size());
  if (value.is_undefined()) return int64_t{0};
  throw TemplateError(fmt::format("{} has no length", value.type_name()));
}

Value to_int(const Value& value, const Arguments& arguments) {
  const Value* otherwise = arguments.find(0, "default");
  const Value fallback = otherwise != nullptr ? *otherwise : Value(int64_t{0});
  if (value.is_float()) {
    const double number = std::trunc(value.number());
    return std::fabs(number) < 9e18 ? Value(static_cast<int64_t>(number)) : fallback;
  }
  if (value.is_number()) return value.integer();
  if (!value.is_string()) return fallback;
  int64_t number = 0;
  const std::string text = strip(value.string(), "", true, true);
  const auto result = std::from_chars(text.data(), text.data() + text.size(), number);
  return result.ec == std::errc() && result.ptr == text.data() + text.size() ? Value(number)
                                                                             : fallback;
}

Value to_float(const Value& value) {
  if (value.is_number()) return value.number();
  double number = 0;
  if (value.is_string())
    std::from_chars(value.string().data(), value.string().data() + value.string().size(), number);
  return number;
}

// "a.b" of an item, as map(attribute=) and friends take it.
Value attribute_of(Value item, const std::string& path) {
  size_t begin = 0;
  while (begin <= path.size()) {
    const size_t end = std::min(path.find('.', begin), path.size());
    if (item.is_undefined()) return item;
    item = get_attribute(item, path.substr(begin, end - begin));
    begin = end + 1;
  }
  return item;
}

const std::string& name_argument(const Arguments& arguments, size_t index, const char* filter) {
  if (index >= arguments.positional.size() || !arguments.positional[index].is_string()) {
    throw TemplateError(fmt::format("the filter '{}' needs a name", filter));
  }
  return arguments.positional[index].string();
}

Arguments rest_of(const Arguments& arguments, size_t used) {
  Arguments rest;
  for (size_t i = used; i < arguments.positional.size(); ++i)
    rest.positional.push_back(arguments.positional[i]);
  rest.keywords = arguments.keywords;
  return rest;
}

Value map(const Value& value, const Arguments& arguments, Budget& budget) {
  List out;
  const Value* attribute = arguments.find(99, "attribute");
  for (const Value& item : items_of(value, "map", budget)) {
    budget.step();
    if (attribute != nullptr) {
      if (!attribute->is_string()) throw TemplateError("map: attribute is a name");
      Value found = attribute_of(item, attribute->string());
      const Value* otherwise = arguments.find(99, "default");
      out.push_back(found.is_undefined() && otherwise != nullptr ? *otherwise : std::move(found));
    } else {
      const std::string& name = name_argument(arguments, 0, "map");
      if (!is_known_filter(name))
        throw TemplateError(fmt::format("map: unknown filter '{}'", name));
      out.push_back(call_filter(name, item, rest_of(arguments, 1), budget));
    }
  }
  return out;
}

// select, reject, selectattr, rejectattr.
Value select(const std::string& filter, const Value& value, const Arguments& arguments,
             Budget& budget) {
  const bool by_attribute = filter.ends_with("attr");
  const bool keep = filter.starts_with("select");
  const size_t test_index = by_attribute ? 1 : 0;
  List out;
  for (const Value& item : items_of(value, filter.c_str(), budget)) {
    budget.step();
    const Value subject =
        by_attribute ? attribute_of(item, name_argument(arguments, 0, filter.c_str())) : item;
    bool passes = subject.truthy();
    if (arguments.positional.size() > test_index) {
      const std::string& test = name_argument(arguments, test_index, filter.c_str());
      if (!is_known_test(test))
        throw TemplateError(fmt::format("{}: unknown test '{}'", filter, test));
      passes = call_test(test, subject, rest_of(arguments, test_index + 1), budget);
    }
    if (passes == keep) out.push_back(item);
  }
  return out;
}

// Strings compare without letter case unless asked, as in Jinja.
bool before(const Value& a, const Value& b, bool case_sensitive) {
  if (!case_sensitive && a.is_string() && b.is_string()) {
    return change_case(a.string(), "lower") < change_case(b.string(), "lower");
  }
  return less(a, b);
}

bool flag(const Arguments& arguments, size_t index, const char* name) {
  const Value* value = arguments.find(index, name);
  return value != nullptr && value->truthy();
}

Value sort(const Value& value, const Arguments& arguments, Budget& budget) {
  List list = items_of(value, "sort", budget);
  budget.make(list.size() * sizeof(Value) * 16);
  const Value* attribute = arguments.find(2, "attribute");
  const bool case_sensitive = flag(arguments, 1, "case_sensitive");
  const auto key = [&](const Value& item) {
    return attribute != nullptr && attribute->is_string() ? attribute_of(item, attribute->string())
                                                          : item;
  };
  std::stable_sort(list.begin(), list.end(), [&](const Value& a, const Value& b) {
    return before(key(a), key(b), case_sensitive);
  });
  if (flag(arguments, 0, "reverse")) std::reverse(list.begin(), list.end());
  return list;
}

Value dictsort(const Value& value, const Arguments& arguments, Budget& budget) {
  if (!value.is_dict()) throw TemplateError("dictsort sorts a dict");
  Dict dict = value.dict();
  budget.make(dict.size() * sizeof(Value) * 16);
  const Value* by = arguments.find(1, "by");
  const bool by_value = by != nullptr && by->is_string() && by->string() == "value";
  const bool case_sensitive = flag(arguments, 0, "case_sensitive");
  std::stable_sort(dict.begin(), dict.end(), [&](const auto& a, const auto& b) {
    return by_value ? before(a.second, b.second, case_sensitive)
                    : before(a.first, b.first, case_sensitive);
  });
  if (flag(arguments, 2, "reverse")) std::reverse(dict.begin(), dict.end());
  List out;
  for (const auto& [key, item] : dict) out.push_back(List{key, item});
  return out;
}

Value indent(const Value& value, const Arguments& arguments, Budget& budget) {
  const Value* width = arguments.find(0, "width");
  std::string blanks(4, ' ');
  if (width != nullptr && width->is_string()) blanks = width->string();
  if (width != nullptr && width->is_int()) {
    blanks.assign(static_cast<size_t>(std::clamp<int64_t>(width->integer(), 0, 100)), ' ');
  }
  const bool first = flag(arguments, 1, "first");
  const bool blank_lines = flag(arguments, 2, "blank");
  const std::string text = text_of(value, budget);
  std::string out;
  size_t begin = 0;
  while (begin <= text.size()) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    const bool is_first = begin == 0;
    if ((is_first ? first : blank_lines || end > begin)) out += blanks;
    out.append(text, begin, end - begin);
    if (end < text.size()) out += '\n';
    begin = end + 1;
    if (out.size() > budget.limits().max_output_bytes)
      throw TemplateError("the template makes too much text");
  }
  budget.make(out.size());
  return out;
}

Value unique(const Value& value, Budget& budget) {
  List out;
  for (Value& item : items_of(value, "unique", budget)) {
    budget.make(out.size() * 64);  // each is compared with all kept so far
    const bool seen = std::any_of(out.begin(), out.end(), [&](const Value& kept) {
      return equal(kept, item) ||
             (kept.is_string() && item.is_string() &&
              change_case(kept.string(), "lower") == change_case(item.string(), "lower"));
    });
    if (!seen) out.push_back(std::move(item));
  }
  return out;
}

Value sum(const Value& value, const Arguments& arguments, Budget& budget) {
  const Value* attribute = arguments.find(0, "attribute");
  double total = 0;
  bool is_int = true;
  for (const Value& item : items_of(value, "sum", budget)) {
    const Value number = attribute != nullptr && attribute->is_string()
                             ? attribute_of(item, attribute->string())
                             : item;
    if (!number.is_number()) throw TemplateError("sum adds numbers");
    is_int = is_int && !number.is_float();
    total += number.number();
  }
  if (is_int && std::fabs(total) < 9e15) return static_cast<int64_t>(total);
  return total;
}

Value round_number(const Value& value, const Arguments& arguments) {
  if (!value.is_number()) throw TemplateError("round takes a number");
  const Value* digits = arguments.find(0, "precision");
  const double scale = std::pow(10.0, digits != nullptr && digits->is_int()
                                          ? std::clamp<double>(digits->number(), -15, 15)
                                          : 0);
  return std::nearbyint(value.number() * scale) / scale;
}

Value edge(const Value& value, bool first, Budget& budget) {
  const List list = items_of(value, first ? "first" : "last", budget);
  if (list.empty()) return Value::undefined(first ? "first item" : "last item");
  return first ? list.front() : list.back();
}

}  // namespace

bool is_known_filter(std::string_view name) {
  return std::find(kFilters.begin(), kFilters.end(), name) != kFilters.end();
}

// One line a filter: a table in the shape of code.
Value call_filter(const std::string& name, const Value& value, const Arguments& arguments,
                  Budget& budget) {
  budget.step();
  if (name == "default" || name == "d") {
    const Value* otherwise = arguments.find(0, "default_value");
    const bool replace = value.is_undefined() || (flag(arguments, 1, "boolean") && !value.truthy());
    return replace ? (otherwise != nullptr ? *otherwise : Value("")) : value;
  }
  if (name == "tojson") return tojson(value, arguments, budget);
  if (name == "length" || name == "count") return length(value);
  if (name == "map") return map(value, arguments, budget);
  if (name.starts_with("select") || name.starts_with("reject"))
    return select(name, value, arguments, budget);
  if (name == "first" || name == "last") return edge(value, name == "first", budget);
  if (name == "list") return items_of(value, "list", budget);
  if (name == "int") return to_int(value, arguments);
  if (name == "float") return to_float(value);
  if (name == "sort") return sort(value, arguments, budget);
  if (name == "dictsort") return dictsort(value, arguments, budget);
  if (name == "unique") return unique(value, budget);
  if (name == "sum") return sum(value, arguments, budget);
  if (name == "round") return round_number(value, arguments);
  if (name == "indent") return indent(value, arguments, budget);
  if (name == "items")
    return value.is_undefined() ? Value(List{}) : call_method("items", value, arguments, budget);
  if (name == "abs") {
    if (!value.is_number()) throw TemplateError("abs takes a number");
    return value.is_float() ? Value(std::fabs(value.number()))
                            : Value(value.integer() < 0 ? -value.integer() : value.integer());
  }
  if (name == "join") {
    const Value* separator = arguments.find(0, "d");
    const Value* attribute = arguments.find(1, "attribute");
    Value list = value;
    if (attribute != nullptr) list = map(value, {{}, {{"attribute", *attribute}}}, budget);
    return join(list, separator != nullptr ? text_of(*separator, budget) : "", budget);
  }
  if (name == "reverse" && !value.is_string()) {
    List list = items_of(value, "reverse", budget);
    std::reverse(list.begin(), list.end());
    return list;
  }
  const std::string text = text_of(value, budget);
  if (name == "string" || name == "safe") return text;
  if (name == "upper" || name == "lower" || name == "title" || name == "capitalize")
    return change_case(text, name);
  if (name == "trim")
    return strip(text, arguments.positional.empty() ? "" : text_of(arguments.positional[0], budget),
                 true, true);
  if (name == "replace") return call_method("replace", text, arguments, budget);
  throw TemplateError(fmt::format("the filter '{}' cannot take {}", name, value.type_name()));
}

}  // namespace sparrow::jinja

// Filters of lists and dicts: Jinja's built-in ones that chat templates use.

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "tokenizer/jinja/builtins.h"
#include "tokenizer/jinja/printing.h"
#include "tokenizer/jinja/text.h"

namespace sparrow::jinja {
namespace {

Value length(const Value& value, const Arguments&, Budget& budget) {
  if (value.is_string()) {
    budget.touch(value.string().size());
    return static_cast<int64_t>(count_characters(value.string()));
  }
  if (!value.is_list() && !value.is_dict() && !value.is_undefined())
    throw TemplateError(fmt::format("{} has no length", value.type_name()));
  return static_cast<int64_t>(value.num_items());
}

// The attribute of an item that map, sort and others look at: "a.b", where a number is an index.
Value attribute_of(Value item, const std::string& path, const Value* otherwise, Budget& budget) {
  for (const std::string_view part : split_text(path, ".", path.size())) {
    budget.step();
    int64_t index = 0;
    const bool is_index =
        !part.empty() && part.find_first_not_of("0123456789") == part.npos &&
        std::from_chars(part.data(), part.data() + part.size(), index).ec == std::errc();
    item = is_index ? get_item(item, index, budget) : get_attribute(item, part, budget);
    if (item.is_undefined() && otherwise != nullptr) item = *otherwise;
  }
  return item;
}

// The path an `attribute` argument names; null when it is absent or none.
const std::string* path_argument(const Arguments& arguments, size_t index) {
  const Value* value = arguments.find(index, "attribute");
  if (value == nullptr || value->is_none()) return nullptr;
  if (!value->is_string()) throw TemplateError("an attribute is named by a string");
  return &value->string();
}

Value subject_of(const Value& item, const std::string* path, Budget& budget) {
  return path != nullptr ? attribute_of(item, *path, nullptr, budget) : item;
}

// Strings compare without letter case unless asked.
Value folded(const Value& value, bool case_sensitive, Budget& budget) {
  if (case_sensitive || !value.is_string()) return value;
  budget.touch(value.string().size() * 16);
  return to_lower(value.string());
}

Arguments rest_of(const Arguments& arguments, size_t used) {
  Arguments rest;
  for (size_t i = used; i < arguments.positional.size(); ++i)
    rest.positional.push_back(arguments.positional[i]);
  rest.keywords = arguments.keywords;
  return rest;
}

// A filter or test that an argument names, with its own arguments checked.
const Builtin& named(const Builtin* (*find_builtin)(std::string_view), const Arguments& arguments,
                     size_t index, const char* caller) {
  const std::string& name = text_argument(arguments, index, "", caller);
  const Builtin* builtin = find_builtin(name);
  if (builtin == nullptr)
    throw TemplateError(fmt::format("{}: unknown '{}'", caller, name.substr(0, 100)));
  std::vector<std::string> keywords;
  for (const auto& [keyword, value] : arguments.keywords) keywords.push_back(keyword);
  const std::string complaint =
      builtin->complaint(arguments.positional.size() - index - 1, keywords);
  if (!complaint.empty()) throw TemplateError(fmt::format("{}: {}", caller, complaint));
  return *builtin;
}

Value map(const Value& value, const Arguments& arguments, Budget& budget) {
  const Value items = list_of(value, "map", budget);
  List out;
  if (const Value* attribute = arguments.keyword("attribute")) {
    if (!attribute->is_string()) throw TemplateError("map: the attribute is named by a string");
    const Value* otherwise = arguments.keyword("default");
    for (const Value& item : items.list())
      out.push_back(attribute_of(item, attribute->string(), otherwise, budget));
    return out;
  }
  const Builtin& filter = named(find_filter, arguments, 0, "map");
  const Arguments rest = rest_of(arguments, 1);
  for (const Value& item : items.list()) {
    budget.step();
    out.push_back(filter.run(item, rest, budget));
  }
  return out;
}

template <bool keep, bool by_attribute>
Value select(const Value& value, const Arguments& arguments, Budget& budget) {
  constexpr size_t kTestIndex = by_attribute ? 1 : 0;
  const char* name =
      keep ? (by_attribute ? "selectattr" : "select") : (by_attribute ? "rejectattr" : "reject");
  const Value items = list_of(value, name, budget);
  const bool has_test = arguments.positional.size() > kTestIndex;
  const Builtin* test = has_test ? &named(find_test, arguments, kTestIndex, name) : nullptr;
  const Arguments rest = rest_of(arguments, kTestIndex + 1);
  const std::string* path = by_attribute ? &text_argument(arguments, 0, "", name) : nullptr;
  List out;
  for (const Value& item : items.list()) {
    budget.step();
    const Value subject = subject_of(item, path, budget);
    const Value verdict = test != nullptr ? test->run(subject, rest, budget) : subject;
    if (verdict.truthy() == keep) out.push_back(item);
  }
  return out;
}

template <bool first>
Value edge(const Value& value, const Arguments&, Budget& budget) {
  if (value.is_string()) return get_item(value, int64_t{first ? 0 : -1}, budget);
  const Value items = list_of(value, first ? "first" : "last", budget);
  if (items.list().empty()) return Value::undefined(first ? "first item" : "last item");
  return first ? items.list().front() : items.list().back();
}

Value to_list(const Value& value, const Arguments&, Budget& budget) {
  const Value items = list_of(value, "list", budget);
  if (!items.is_tuple()) return items;
  budget.make(items.list().size() * sizeof(Value));
  return List(items.list());
}

// Sorts `rows` of (keys, item) by their keys, stable in both directions.
template <typename Row>
void sort_rows(std::vector<Row>& rows, bool reverse, Budget& budget) {
  std::stable_sort(rows.begin(), rows.end(), [&](const Row& a, const Row& b) {
    return reverse ? less(b.first, a.first, budget) : less(a.first, b.first, budget);
  });
}

Value sort(const Value& value, const Arguments& arguments, Budget& budget) {
  const Value items = list_of(value, "sort", budget);
  budget.make(items.list().size() * 4 * sizeof(Value));
  const std::string* path = path_argument(arguments, 2);
  const bool case_sensitive = arguments.flag(1, "case_sensitive");
  std::vector<std::pair<Value, Value>> rows;
  for (const Value& item : items.list()) {
    List keys;
    if (path == nullptr) {
      keys.push_back(folded(item, case_sensitive, budget));
    } else {
      for (const std::string_view one : split_text(*path, ",", path->size())) {
        keys.push_back(
            folded(attribute_of(item, std::string(one), nullptr, budget), case_sensitive, budget));
      }
    }
    rows.emplace_back(std::move(keys), item);
  }
  sort_rows(rows, arguments.flag(0, "reverse"), budget);
  List out;
  for (auto& [keys, item] : rows) out.push_back(std::move(item));
  return out;
}

Value dictsort(const Value& value, const Arguments& arguments, Budget& budget) {
  if (!value.is_dict()) throw TemplateError("dictsort sorts a dict");
  budget.make(value.dict().size() * 8 * sizeof(Value));
  bool by_value = false;
  if (arguments.find(1, "by") != nullptr) {
    const std::string& by = text_argument(arguments, 1, "by", "dictsort");
    if (by != "key" && by != "value") throw TemplateError("dictsort: by is key or value");
    by_value = by == "value";
  }
  const bool case_sensitive = arguments.flag(0, "case_sensitive");
  std::vector<std::pair<Value, Value>> rows;
  for (const auto& [key, item] : value.dict()) {
    budget.touch(key.size());
    rows.emplace_back(folded(by_value ? item : Value(key), case_sensitive, budget),
                      Tuple{{key, item}});
  }
  sort_rows(rows, arguments.flag(2, "reverse"), budget);
  List out;
  for (auto& [key, item] : rows) out.push_back(std::move(item));
  return out;
}

Value unique(const Value& value, const Arguments& arguments, Budget& budget) {
  const Value items = list_of(value, "unique", budget);
  const bool case_sensitive = arguments.flag(0, "case_sensitive");
  const std::string* path = path_argument(arguments, 1);
  List out, keys;
  for (const Value& item : items.list()) {
    const Value key = folded(subject_of(item, path, budget), case_sensitive, budget);
    const bool seen = std::any_of(keys.begin(), keys.end(),
                                  [&](const Value& kept) { return equal(kept, key, budget); });
    if (seen) continue;
    keys.push_back(key);
    out.push_back(item);
  }
  return out;
}

template <bool largest>
Value extreme(const Value& value, const Arguments& arguments, Budget& budget) {
  const Value items = list_of(value, largest ? "max" : "min", budget);
  const bool case_sensitive = arguments.flag(0, "case_sensitive");
  const std::string* path = path_argument(arguments, 1);
  Value best = Value::undefined(largest ? "largest item" : "smallest item"), best_key;
  for (const Value& item : items.list()) {
    const Value key = folded(subject_of(item, path, budget), case_sensitive, budget);
    const bool better = best.is_undefined() ||
                        (largest ? less(best_key, key, budget) : less(key, best_key, budget));
    if (!better) continue;
    best = item;
    best_key = key;
  }
  return best;
}

Value sum(const Value& value, const Arguments& arguments, Budget& budget) {
  const Value items = list_of(value, "sum", budget);
  const std::string* path = path_argument(arguments, 0);
  const Value* start = arguments.find(1, "start");
  Value total = start != nullptr ? *start : Value(int64_t{0});
  if (!total.is_number()) throw TemplateError("sum adds numbers");
  for (const Value& item : items.list()) {
    const Value number = subject_of(item, path, budget);
    if (!number.is_number()) throw TemplateError("sum adds numbers");
    budget.step();
    int64_t whole = 0;
    if (total.is_float() || number.is_float()) {
      total = total.number() + number.number();
    } else if (__builtin_add_overflow(total.integer(), number.integer(), &whole)) {
      throw TemplateError("a number becomes too large");
    } else {
      total = whole;
    }
  }
  return total;
}

Value items(const Value& value, const Arguments& arguments, Budget& budget) {
  if (value.is_undefined()) return List{};
  return find_method("items")->run(value, arguments, budget);
}

Value join(const Value& value, const Arguments& arguments, Budget& budget) {
  const Value list = list_of(value, "join", budget);
  const Value* separator_argument = arguments.find(0, "d");
  const std::string separator =
      separator_argument != nullptr ? text_of(*separator_argument, budget) : "";
  const std::string* path = path_argument(arguments, 1);
  std::string out;
  for (const Value& item : list.list()) {
    budget.step();
    budget.touch(separator.size());
    budget.check_size(out.size() + separator.size());
    if (&item != &list.list().front()) out += separator;
    append_text(out, subject_of(item, path, budget), budget);
  }
  return out;
}

Value reverse(const Value& value, const Arguments&, Budget& budget) {
  const Value items = list_of(value, "reverse", budget);
  budget.make(items.list().size() * sizeof(Value));
  List list(items.list().rbegin(), items.list().rend());
  if (!value.is_string()) return list;
  std::string text;
  for (const Value& character : list) text += character.string();
  return text;
}

}  // namespace

namespace builtin_tables {

const std::vector<Builtin> kListFilters = {
    {"length", 0, 0, "", length},
    {"count", 0, 0, "", length},
    {"map", 1, Builtin::kAny, "*", map},
    {"select", 0, Builtin::kAny, "*", select<true, false>},
    {"reject", 0, Builtin::kAny, "*", select<false, false>},
    {"selectattr", 1, Builtin::kAny, "*", select<true, true>},
    {"rejectattr", 1, Builtin::kAny, "*", select<false, true>},
    {"first", 0, 0, "", edge<true>},
    {"last", 0, 0, "", edge<false>},
    {"list", 0, 0, "", to_list},
    {"sort", 0, 3, "reverse case_sensitive attribute", sort},
    {"dictsort", 0, 3, "case_sensitive by reverse", dictsort},
    {"unique", 0, 2, "case_sensitive attribute", unique},
    {"min", 0, 2, "case_sensitive attribute", extreme<false>},
    {"max", 0, 2, "case_sensitive attribute", extreme<true>},
    {"sum", 0, 2, "attribute start", sum},
    {"items", 0, 0, "", items},
    {"join", 0, 2, "d attribute", join},
    {"reverse", 0, 0, "", reverse},
};

}  // namespace builtin_tables

}  // namespace sparrow::jinja

#include "tokenizer/jinja/builtins.h"

#include <fmt/format.h>

#include <algorithm>
#include <ctime>

#include "base/clock.h"
#include "tokenizer/jinja/printing.h"
#include "tokenizer/jinja/text.h"

namespace sparrow::jinja {
namespace {

__extension__ using WideInteger = __int128;

constexpr size_t kMaxFormatBytes = 100;  // of strftime_now

// How many items there are is checked before the first is made.
Value range(const Value&, const Arguments& arguments, Budget& budget) {
  const auto at = [&](size_t index) {
    const Value& value = arguments.positional[index];
    if (!value.is_int() && !value.is_bool()) throw TemplateError("range() takes whole numbers");
    return value.integer();
  };
  const size_t count = arguments.positional.size();
  const int64_t begin = count == 1 ? 0 : at(0);
  const int64_t end = count == 1 ? at(0) : at(1);
  const int64_t step = count == 3 ? at(2) : 1;
  if (step == 0) throw TemplateError("range() needs a step other than 0");
  const WideInteger distance = static_cast<WideInteger>(end) - begin;
  const WideInteger wide_step = step;
  const WideInteger num_items = (distance + wide_step + (step > 0 ? -1 : 1)) / wide_step;
  constexpr WideInteger kFarTooMany = 1 << 30;
  if (num_items <= 0 || (distance > 0) != (step > 0)) return List{};
  budget.make(static_cast<size_t>(std::min(num_items, kFarTooMany)) * sizeof(Value));
  List list;
  list.reserve(static_cast<size_t>(num_items));
  for (int64_t i = 0; i < static_cast<int64_t>(num_items); ++i) list.push_back(begin + i * step);
  return list;
}

Value strftime_now(const Value&, const Arguments& arguments, Budget&) {
  const std::string& format = text_argument(arguments, 0, "format", "strftime_now()");
  if (format.size() > kMaxFormatBytes) throw TemplateError("strftime_now() takes a short format");
  const std::time_t now = unix_seconds();
  std::tm parts{};
  localtime_r(&now, &parts);
  char buffer[1024];
  const size_t length = std::strftime(buffer, sizeof(buffer), format.c_str(), &parts);
  return std::string(buffer, length);
}

Value raise_exception(const Value&, const Arguments& arguments, Budget& budget) {
  const Value* message = arguments.find(0, "message");
  throw TemplateError(message == nullptr ? "the template refused" : text_of(*message, budget));
}

Dict fields_of(const Arguments& arguments, const char* callee, Budget& budget) {
  Dict fields;
  if (!arguments.positional.empty()) {
    const Value& base = arguments.positional[0];
    if (!base.is_dict()) throw TemplateError(fmt::format("{} takes names and values", callee));
    budget.make(base.dict().size() * sizeof(fields.front()));
    fields = base.dict();
  }
  for (const auto& [name, value] : arguments.keywords) set_key(fields, name, value, budget);
  return fields;
}

Value make_namespace(const Value&, const Arguments& arguments, Budget& budget) {
  return Namespace{std::make_shared<Dict>(fields_of(arguments, "namespace()", budget))};
}

Value make_dict(const Value&, const Arguments& arguments, Budget& budget) {
  return fields_of(arguments, "dict()", budget);
}

const std::vector<Builtin> kFunctions = {
    {"range", 1, 3, "", range},
    {"namespace", 0, 1, "*", make_namespace},
    {"dict", 0, 1, "*", make_dict},
    {"raise_exception", 0, 1, "message", raise_exception},
    {"strftime_now", 1, 1, "format", strftime_now},
};

const Builtin* find_in(const std::vector<Builtin>& table, std::string_view name) {
  const auto found = std::find_if(table.begin(), table.end(),
                                  [&](const Builtin& builtin) { return builtin.name == name; });
  return found == table.end() ? nullptr : &*found;
}

// The place of a name in a list separated by blanks; npos when it is not there.
size_t place_of(std::string_view names, std::string_view name) {
  const std::vector<std::string_view> all = split_blanks(names, names.size());
  const auto found = std::find(all.begin(), all.end(), name);
  return found == all.end() ? std::string_view::npos : static_cast<size_t>(found - all.begin());
}

Value loop_attribute(const LoopState& loop, std::string_view name) {
  const List& items = loop.items.list();
  const auto size = static_cast<int64_t>(items.size());
  const auto index = static_cast<int64_t>(loop.index);
  if (name == "index") return index + 1;
  if (name == "index0") return index;
  if (name == "revindex") return size - index;
  if (name == "revindex0") return size - index - 1;
  if (name == "first") return index == 0;
  if (name == "last") return index + 1 == size;
  if (name == "length") return size;
  if (name == "depth") return int64_t{1};  // counts recursive loops only
  if (name == "depth0") return int64_t{0};
  if (name == "previtem" && index > 0) return items[loop.index - 1];
  if (name == "nextitem" && index + 1 < size) return items[loop.index + 1];
  return Value::undefined(name);
}

}  // namespace

const Value* Arguments::find(size_t index, std::string_view name) const {
  return index < positional.size() ? &positional[index] : keyword(name);
}

const Value* Arguments::keyword(std::string_view name) const {
  for (const auto& [known, value] : keywords) {
    if (known == name) return &value;
  }
  return nullptr;
}

bool Arguments::flag(size_t index, std::string_view name) const {
  const Value* value = find(index, name);
  return value != nullptr && value->truthy();
}

std::string Builtin::complaint(size_t num_positional,
                               const std::vector<std::string>& keywords) const {
  if (num_positional > max_arguments)
    return fmt::format("'{}' takes at most {} arguments", name, max_arguments);
  for (size_t i = 0; i < keywords.size(); ++i) {
    const size_t place = place_of(parameters, keywords[i]);
    if (place == std::string_view::npos && parameters != "*")
      return fmt::format("'{}' has no argument '{}'", name, keywords[i]);
    const bool twice = (max_arguments < kAny && parameters != "*" && place < num_positional) ||
                       std::find(keywords.begin(), keywords.begin() + static_cast<ptrdiff_t>(i),
                                 keywords[i]) != keywords.begin() + static_cast<ptrdiff_t>(i);
    if (twice) return fmt::format("'{}' is given '{}' twice", name, keywords[i]);
  }
  if (num_positional + keywords.size() < min_arguments)
    return fmt::format("'{}' takes at least {} arguments", name, min_arguments);
  return "";
}

const Builtin* find_filter(std::string_view name) {
  const Builtin* found = find_in(builtin_tables::kListFilters, name);
  return found != nullptr ? found : find_in(builtin_tables::kTextFilters, name);
}
const Builtin* find_test(std::string_view name) { return find_in(builtin_tables::kTests, name); }
const Builtin* find_function(std::string_view name) { return find_in(kFunctions, name); }
const Builtin* find_method(std::string_view name) {
  return find_in(builtin_tables::kMethods, name);
}

Value get_attribute(const Value& object, std::string_view name, Budget& budget) {
  if (object.is_undefined())
    throw TemplateError(fmt::format("'{}' is undefined", object.undefined_name()));
  const Value* found = nullptr;
  if (object.is_dict()) found = find(object.dict(), name, budget);
  if (object.is_namespace()) found = find(object.fields(), name, budget);
  if (found != nullptr) return *found;
  if (name.starts_with("__"))
    throw TemplateError(fmt::format("access to '{}' is refused", name.substr(0, 100)));
  return object.is_loop() ? loop_attribute(object.loop(), name) : Value::undefined(name);
}

Value get_item(const Value& object, const Value& key, Budget& budget) {
  if (key.is_string()) return get_attribute(object, key.string(), budget);
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
  const std::string& text = object.string();
  budget.touch(text.size() * 2);
  if (index < 0) index += static_cast<int64_t>(count_characters(text));
  const size_t at = index < 0 ? text.size() : byte_of_character(text, static_cast<size_t>(index));
  if (at == text.size()) return Value::undefined("character");
  return text.substr(at, character_at(text, at).len);
}

bool contains(const Value& container, const Value& item, Budget& budget) {
  budget.step();
  if (container.is_undefined()) return false;
  if (container.is_string()) {
    if (!item.is_string()) throw TemplateError("'in' a string needs a string");
    budget.touch(container.string().size());
    return find_text(container.string(), item.string()) != std::string_view::npos;
  }
  if (container.is_dict())
    return item.is_string() && find(container.dict(), item.string(), budget) != nullptr;
  if (!container.is_list())
    throw TemplateError(fmt::format("'in' cannot look into {}", container.type_name()));
  return std::any_of(container.list().begin(), container.list().end(),
                     [&](const Value& one) { return equal(one, item, budget); });
}

Value list_of(const Value& value, std::string_view what, Budget& budget) {
  constexpr size_t kBytesOfShortString = 96;
  budget.step();
  if (value.is_list()) return value;
  List list;
  if (value.is_dict()) {
    budget.make(value.dict().size() * kBytesOfShortString);
    for (const auto& item : value.dict()) {
      budget.touch(item.first.size());
      list.push_back(item.first);
    }
  } else if (value.is_string()) {
    const std::string_view text = value.string();
    budget.make(count_characters(text) * kBytesOfShortString);
    for (size_t at = 0; at < text.size();) {
      const size_t len = character_at(text, at).len;
      list.push_back(std::string(text.substr(at, len)));
      at += len;
    }
  } else if (!value.is_undefined()) {
    throw TemplateError(fmt::format("{}: {} has no items", what, value.type_name()));
  }
  return list;
}

const std::string& text_argument(const Arguments& arguments, size_t index, std::string_view name,
                                 std::string_view callee) {
  const Value* value = arguments.find(index, name);
  if (value == nullptr || !value->is_string())
    throw TemplateError(fmt::format("{} needs a string", callee));
  return value->string();
}

}  // namespace sparrow::jinja

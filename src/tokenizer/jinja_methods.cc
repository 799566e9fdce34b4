// Methods of strings, dicts and lists: Python's, as chat templates use them.

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>

#include "tokenizer/jinja_builtins.h"
#include "tokenizer/jinja_text.h"

namespace sparrow::jinja {
namespace {

constexpr std::array<std::string_view, 24> kMethods = {
    "split",      "rsplit",   "splitlines", "strip",  "lstrip", "rstrip",
    "startswith", "endswith", "upper",      "lower",  "title",  "capitalize",
    "replace",    "find",     "rfind",      "count",  "join",   "items",
    "keys",       "values",   "get",        "format", "index",  "removeprefix"};

const std::string& string_argument(const Arguments& arguments, size_t index, const char* method) {
  const Value* value = arguments.find(index, "");
  if (value == nullptr || !value->is_string()) {
    throw TemplateError(fmt::format("{}() needs a string", method));
  }
  return value->string();
}

List split(const std::string& text, const Arguments& arguments, bool from_right, Budget& budget) {
  const Value* separator = arguments.find(0, "sep");
  const Value* limit = arguments.find(1, "maxsplit");
  const bool has_limit = limit != nullptr && limit->is_int() && limit->integer() >= 0;
  const size_t most = has_limit ? static_cast<size_t>(limit->integer()) : text.size();
  budget.make(text.size() * 2);
  std::vector<std::string> parts =
      separator == nullptr || separator->is_none()
          ? split_blanks(text, most)
          : split_text(text, string_argument(arguments, 0, "split"), most, from_right);
  budget.make(parts.size() * sizeof(Value));
  List list;
  for (std::string& part : parts) list.push_back(std::move(part));
  return list;
}

// One of several prefixes or suffixes, as Python takes a tuple.
bool has_affix(const std::string& text, const Arguments& arguments, bool at_start) {
  const Value* affix = arguments.find(0, "");
  if (affix == nullptr) throw TemplateError("startswith() and endswith() need a string");
  const List affixes = affix->is_list() ? affix->list() : List{*affix};
  return std::any_of(affixes.begin(), affixes.end(), [&](const Value& one) {
    if (!one.is_string()) throw TemplateError("startswith() and endswith() need strings");
    return at_start ? text.starts_with(one.string()) : text.ends_with(one.string());
  });
}

Value call_string_method(const std::string& name, const std::string& text,
                         const Arguments& arguments, Budget& budget) {
  if (name == "split" || name == "rsplit") return split(text, arguments, name == "rsplit", budget);
  if (name == "splitlines") {
    budget.make(text.size() * 2);
    List list;
    for (std::string& line : split_lines(text)) list.push_back(std::move(line));
    return list;
  }
  if (name == "strip" || name == "lstrip" || name == "rstrip") {
    const Value* characters = arguments.find(0, "chars");
    const std::string which =
        characters != nullptr && characters->is_string() ? characters->string() : "";
    return strip(text, which, name != "rstrip", name != "lstrip");
  }
  if (name == "startswith" || name == "endswith")
    return has_affix(text, arguments, name == "startswith");
  if (name == "upper" || name == "lower" || name == "title" || name == "capitalize")
    return change_case(text, name);
  if (name == "replace") {
    const Value* limit = arguments.find(2, "count");
    const bool has_limit = limit != nullptr && limit->is_int() && limit->integer() >= 0;
    return replace_text(
        text, string_argument(arguments, 0, "replace"), string_argument(arguments, 1, "replace"),
        has_limit ? static_cast<size_t>(limit->integer()) : text.size() + 1, budget);
  }
  if (name == "removeprefix") {
    const std::string& prefix = string_argument(arguments, 0, "removeprefix");
    return text.starts_with(prefix) ? text.substr(prefix.size()) : text;
  }
  const std::string& needle = name == "join" ? text : string_argument(arguments, 0, name.c_str());
  if (name == "find" || name == "index") {
    const size_t at = text.find(needle);
    if (at == std::string::npos && name == "index") throw TemplateError("index(): not found");
    return at == std::string::npos ? int64_t{-1}
                                   : count_characters(std::string_view(text).substr(0, at));
  }
  if (name == "rfind") {
    const size_t at = text.rfind(needle);
    return at == std::string::npos ? int64_t{-1}
                                   : count_characters(std::string_view(text).substr(0, at));
  }
  if (name == "count") {
    int64_t count = 0;
    for (size_t at = 0; !needle.empty() && (at = text.find(needle, at)) != std::string::npos;
         at += needle.size())
      ++count;
    return count;
  }
  if (name == "join") {
    const Value* list = arguments.find(0, "");
    return join(list == nullptr ? Value(List{}) : *list, text, budget);
  }
  throw TemplateError(fmt::format("a string has no method '{}'", name));
}

Value call_dict_method(const std::string& name, const Dict& dict, const Arguments& arguments,
                       Budget& budget) {
  if (name == "get") {
    const Value* key = arguments.find(0, "key");
    const Value* found = key != nullptr && key->is_string() ? find(dict, key->string()) : nullptr;
    if (found != nullptr) return *found;
    const Value* otherwise = arguments.find(1, "default");
    return otherwise != nullptr ? *otherwise : Value(None{});
  }
  budget.make(dict.size() * 2 * sizeof(Value));
  List list;
  for (const auto& [key, value] : dict) {
    if (name == "items") {
      list.push_back(List{key, value});
    } else if (name == "keys") {
      list.push_back(key);
    } else if (name == "values") {
      list.push_back(value);
    } else {
      throw TemplateError(fmt::format("a dict has no method '{}'", name));
    }
  }
  return list;
}

}  // namespace

bool is_known_method(std::string_view name) {
  return std::find(kMethods.begin(), kMethods.end(), name) != kMethods.end();
}

Value call_method(const std::string& name, const Value& object, const Arguments& arguments,
                  Budget& budget) {
  budget.step();
  if (object.is_string()) {
    budget.make(object.string().size());
    return call_string_method(name, object.string(), arguments, budget);
  }
  if (object.is_dict()) return call_dict_method(name, object.dict(), arguments, budget);
  if (object.is_undefined())
    throw TemplateError(fmt::format("'{}' is undefined", object.undefined_name()));
  throw TemplateError(fmt::format("{} has no method '{}'", object.type_name(), name));
}

}  // namespace sparrow::jinja

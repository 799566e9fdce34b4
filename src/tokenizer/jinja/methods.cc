// Methods of strings, dicts, lists and loops: Python's, as chat templates use them.

#include <fmt/format.h>

#include <algorithm>

#include "tokenizer/jinja/builtins.h"
#include "tokenizer/jinja/printing.h"
#include "tokenizer/jinja/text.h"

namespace sparrow::jinja {
namespace {

constexpr size_t kNone = std::string_view::npos;

[[noreturn]] void no_method(const Value& object, const char* method) {
  if (object.is_undefined())
    throw TemplateError(fmt::format("'{}' is undefined", object.undefined_name()));
  throw TemplateError(fmt::format("{} has no method '{}'", object.type_name(), method));
}

// The text a method is called on; reading it a few times is paid for.
const std::string& text(const Value& object, const char* method, Budget& budget) {
  if (!object.is_string()) no_method(object, method);
  budget.touch(object.string().size() * 2);
  return object.string();
}

const Dict& dict(const Value& object, const char* method, Budget& budget) {
  if (!object.is_dict()) no_method(object, method);
  budget.make(object.dict().size() * 2 * sizeof(Value));
  return object.dict();
}

// A count argument; `otherwise` when it is absent, none or negative.
size_t limit(const Arguments& arguments, size_t index, std::string_view name, size_t otherwise) {
  const Value* value = arguments.find(index, name);
  const bool given = value != nullptr && value->is_int() && value->integer() >= 0;
  return given ? static_cast<size_t>(value->integer()) : otherwise;
}

constexpr size_t kBytesOfPart = 2 * sizeof(Value);  // and more for its text

List strings(const std::vector<std::string_view>& parts, Budget& budget) {
  budget.make(parts.size() * kBytesOfPart);
  List list;
  list.reserve(parts.size());
  for (const std::string_view part : parts) list.push_back(std::string(part));
  return list;
}

template <bool from_right>
Value split(const Value& object, const Arguments& arguments, Budget& budget) {
  const std::string& all = text(object, "split", budget);
  // One cut more than the budget allows is enough to be refused.
  const size_t most = std::min(limit(arguments, 1, "maxsplit", all.size() + 1),
                               budget.max_bytes() / kBytesOfPart + 1);
  const Value* separator = arguments.find(0, "sep");
  if (separator == nullptr || separator->is_none())
    return strings(from_right ? rsplit_blanks(all, most) : split_blanks(all, most), budget);
  const std::string& by = text_argument(arguments, 0, "sep", "split()");
  if (by.empty()) throw TemplateError("split() needs a separator that is not empty");
  return strings(from_right ? rsplit_text(all, by, most) : split_text(all, by, most), budget);
}

template <bool left, bool right>
Value strip(const Value& object, const Arguments& arguments, Budget& budget) {
  const std::string& all = text(object, "strip", budget);
  const Value* which = arguments.find(0, "chars");
  if (which == nullptr || which->is_none()) return std::string(strip_blanks(all, left, right));
  const std::string& characters = text_argument(arguments, 0, "chars", "strip()");
  budget.touch(characters.size() * 16);
  return std::string(strip_characters(all, characters, left, right));
}

// One of several prefixes or suffixes, as Python takes a tuple.
template <bool at_start>
Value has_affix(const Value& object, const Arguments& arguments, Budget& budget) {
  const std::string& all = text(object, at_start ? "startswith" : "endswith", budget);
  const Value& affix = arguments.positional[0];
  const List one{affix};
  const List& affixes = affix.is_tuple() ? affix.list() : one;
  return std::any_of(affixes.begin(), affixes.end(), [&](const Value& value) {
    if (!value.is_string()) throw TemplateError("startswith() and endswith() need strings");
    budget.step();
    return at_start ? all.starts_with(value.string()) : all.ends_with(value.string());
  });
}

template <std::string (*change)(std::string_view)>
Value change_case(const Value& object, const Arguments&, Budget& budget) {
  const std::string& all = text(object, "upper, lower, title or capitalize", budget);
  budget.touch(all.size() * 16);  // tables of Unicode are slow
  std::string changed = change(all);
  budget.check_size(changed.size());
  return changed;
}

Value replace(const Value& object, const Arguments& arguments, Budget& budget) {
  const std::string& all = text(object, "replace", budget);
  const std::string& from = text_argument(arguments, 0, "old", "replace()");
  const std::string& to = text_argument(arguments, 1, "new", "replace()");
  return replace_text(all, from, to, limit(arguments, 2, "count", all.size() + 1), budget);
}

int64_t character_index(const std::string& all, size_t at) {
  return at == kNone ? -1
                     : static_cast<int64_t>(count_characters(std::string_view(all).substr(0, at)));
}

Value find_method_of_text(const Value& object, const Arguments& arguments, Budget& budget) {
  const std::string& all = text(object, "find", budget);
  return character_index(all, find_text(all, text_argument(arguments, 0, "", "find()")));
}

Value rfind(const Value& object, const Arguments& arguments, Budget& budget) {
  const std::string& all = text(object, "rfind", budget);
  return character_index(all, rfind_text(all, text_argument(arguments, 0, "", "rfind()")));
}

Value index(const Value& object, const Arguments& arguments, Budget& budget) {
  int64_t at = -1;
  if (object.is_list()) {
    const List& list = object.list();
    const auto found = std::find_if(list.begin(), list.end(), [&](const Value& item) {
      return equal(item, arguments.positional[0], budget);
    });
    if (found != list.end()) at = found - list.begin();
  } else {
    at = find_method_of_text(object, arguments, budget).integer();
  }
  if (at < 0) throw TemplateError("index(): not found");
  return at;
}

Value count(const Value& object, const Arguments& arguments, Budget& budget) {
  if (object.is_list()) {
    return static_cast<int64_t>(std::count_if(
        object.list().begin(), object.list().end(),
        [&](const Value& item) { return equal(item, arguments.positional[0], budget); }));
  }
  const std::string& all = text(object, "count", budget);
  const std::string& part = text_argument(arguments, 0, "", "count()");
  if (part.empty()) return static_cast<int64_t>(count_characters(all) + 1);
  int64_t found = 0;
  for (size_t at = 0; (at = find_text(all, part, at)) != kNone; at += part.size()) ++found;
  return found;
}

Value join(const Value& object, const Arguments& arguments, Budget& budget) {
  const std::string& separator = text(object, "join", budget);
  const Value items = list_of(arguments.positional[0], "join()", budget);
  std::string out;
  for (const Value& item : items.list()) {
    if (!item.is_string()) throw TemplateError("join() needs strings");
    budget.touch(separator.size() + item.string().size() + 256);
    budget.check_size(out.size() + separator.size() + item.string().size());
    if (&item != &items.list().front()) out += separator;
    out += item.string();
  }
  return out;
}

template <bool from_right>
Value partition(const Value& object, const Arguments& arguments, Budget& budget) {
  const std::string& all = text(object, "partition", budget);
  const std::string& by = text_argument(arguments, 0, "", "partition()");
  if (by.empty()) throw TemplateError("partition() needs a separator that is not empty");
  const size_t at = from_right ? rfind_text(all, by) : find_text(all, by);
  if (at == kNone) return from_right ? Tuple{{"", "", all}} : Tuple{{all, "", ""}};
  return Tuple{{all.substr(0, at), by, all.substr(at + by.size())}};
}

Value remove_prefix(const Value& object, const Arguments& arguments, Budget& budget) {
  const std::string& all = text(object, "removeprefix", budget);
  const std::string& prefix = text_argument(arguments, 0, "", "removeprefix()");
  return all.starts_with(prefix) ? all.substr(prefix.size()) : all;
}

Value remove_suffix(const Value& object, const Arguments& arguments, Budget& budget) {
  const std::string& all = text(object, "removesuffix", budget);
  const std::string& suffix = text_argument(arguments, 0, "", "removesuffix()");
  return all.ends_with(suffix) ? all.substr(0, all.size() - suffix.size()) : all;
}

using CharacterTest = bool (*)(uint32_t code);
template <CharacterTest test>
Value all_characters(const Value& object, const Arguments&, Budget& budget) {
  const std::string& all = text(object, "isalpha, isdigit or isspace", budget);
  budget.touch(all.size() * 8);
  for (size_t at = 0; at < all.size();) {
    const Character c = character_at(all, at);
    if (!test(c.code)) return false;
    at += c.len;
  }
  return !all.empty();
}

constexpr CharacterTest kIsDigit = [](uint32_t code) { return code >= '0' && code <= '9'; };

Value is_lower(const Value& object, const Arguments& arguments, Budget& budget) {
  text(object, "islower", budget);
  return find_test("lower")->run(object, arguments, budget);
}

Value is_upper(const Value& object, const Arguments& arguments, Budget& budget) {
  text(object, "isupper", budget);
  return find_test("upper")->run(object, arguments, budget);
}

Value get(const Value& object, const Arguments& arguments, Budget& budget) {
  if (!object.is_dict()) no_method(object, "get");
  const Value& key = arguments.positional[0];
  const Value* found = key.is_string() ? find(object.dict(), key.string(), budget) : nullptr;
  if (found != nullptr) return *found;
  const Value* otherwise = arguments.find(1, "");
  return otherwise != nullptr ? *otherwise : Value(None{});
}

Value items(const Value& object, const Arguments&, Budget& budget) {
  List list;
  for (const auto& [key, value] : dict(object, "items", budget)) {
    budget.touch(key.size() + 128);
    list.push_back(Tuple{{key, value}});
  }
  return list;
}

Value keys(const Value& object, const Arguments&, Budget& budget) {
  dict(object, "keys", budget);
  return list_of(object, "keys()", budget);
}

Value values(const Value& object, const Arguments&, Budget& budget) {
  List list;
  for (const auto& [key, value] : dict(object, "values", budget)) list.push_back(value);
  return list;
}

Value cycle(const Value& object, const Arguments& arguments, Budget&) {
  if (!object.is_loop()) no_method(object, "cycle");
  return arguments.positional[object.loop().index % arguments.positional.size()];
}

}  // namespace

namespace builtin_tables {

const std::vector<Builtin> kMethods = {
    {"split", 0, 2, "sep maxsplit", split<false>},
    {"rsplit", 0, 2, "sep maxsplit", split<true>},
    {"splitlines", 0, 1, "keepends",
     [](const Value& v, const Arguments& a, Budget& b) -> Value {
       return strings(split_lines(text(v, "splitlines", b), a.flag(0, "keepends")), b);
     }},
    {"strip", 0, 1, "", strip<true, true>},
    {"lstrip", 0, 1, "", strip<true, false>},
    {"rstrip", 0, 1, "", strip<false, true>},
    {"startswith", 1, 1, "", has_affix<true>},
    {"endswith", 1, 1, "", has_affix<false>},
    {"upper", 0, 0, "", change_case<to_upper>},
    {"lower", 0, 0, "", change_case<to_lower>},
    {"title", 0, 0, "", change_case<to_title>},
    {"capitalize", 0, 0, "", change_case<to_capitalized>},
    {"swapcase", 0, 0, "", change_case<to_swapped_case>},
    {"replace", 2, 3, "", replace},
    {"find", 1, 1, "", find_method_of_text},
    {"rfind", 1, 1, "", rfind},
    {"index", 1, 1, "", index},
    {"count", 1, 1, "", count},
    {"join", 1, 1, "", join},
    {"partition", 1, 1, "", partition<false>},
    {"rpartition", 1, 1, "", partition<true>},
    {"removeprefix", 1, 1, "", remove_prefix},
    {"removesuffix", 1, 1, "", remove_suffix},
    {"isalpha", 0, 0, "", all_characters<is_letter>},
    {"isdigit", 0, 0, "", all_characters<kIsDigit>},
    {"isspace", 0, 0, "", all_characters<is_blank>},
    {"islower", 0, 0, "", is_lower},
    {"isupper", 0, 0, "", is_upper},
    {"get", 1, 2, "", get},
    {"items", 0, 0, "", items},
    {"keys", 0, 0, "", keys},
    {"values", 0, 0, "", values},
    {"cycle", 1, Builtin::kAny, "", cycle},
};

}  // namespace builtin_tables

}  // namespace sparrow::jinja

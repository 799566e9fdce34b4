#include "tokenizer/jinja/value.h"

#include <algorithm>

namespace sparrow::jinja {
namespace {

constexpr size_t kMaxNameBytes = 100;  // of the name in an error

int checked_depth(int depth) {
  if (depth > kMaxValueDepth) throw TemplateError("the values are nested too deeply");
  return depth;
}

int depth_above(const List& items) {
  int depth = 0;
  for (const Value& item : items) depth = std::max(depth, item.depth());
  return checked_depth(depth + 1);
}

int depth_above(const Dict& items) {
  int depth = 0;
  for (const auto& [key, item] : items) depth = std::max(depth, item.depth());
  return checked_depth(depth + 1);
}

std::shared_ptr<const ListNode> make_list(List items, bool is_tuple) {
  const int depth = depth_above(items);
  return std::make_shared<const ListNode>(ListNode{std::move(items), is_tuple, depth});
}

}  // namespace

Value::Value(List value) : data_(make_list(std::move(value), false)) {}
Value::Value(Tuple value) : data_(make_list(std::move(value.items), true)) {}
Value::Value(Dict value) {
  const int depth = depth_above(value);
  data_ = std::make_shared<const DictNode>(DictNode{std::move(value), depth});
}

Value Value::undefined(std::string_view name) {
  Value value;
  value.data_ = Undefined{std::make_shared<const std::string>(name.substr(0, kMaxNameBytes))};
  return value;
}

Value Value::from_json(const boost::json::value& json, int depth) {
  checked_depth(depth);
  switch (json.kind()) {
    case boost::json::kind::null:
      return None{};
    case boost::json::kind::bool_:
      return json.get_bool();
    case boost::json::kind::int64:
      return json.get_int64();
    case boost::json::kind::uint64: {
      Value value;
      value.data_ = json.get_uint64();
      return value;
    }
    case boost::json::kind::double_:
      return json.get_double();
    case boost::json::kind::string:
      return std::string(json.get_string());
    case boost::json::kind::array: {
      List list;
      list.reserve(json.get_array().size());
      for (const auto& item : json.get_array()) list.push_back(from_json(item, depth + 1));
      return list;
    }
    case boost::json::kind::object: {
      Dict dict;
      dict.reserve(json.get_object().size());
      for (const auto& [key, item] : json.get_object())
        dict.emplace_back(key, from_json(item, depth + 1));
      return dict;
    }
  }
  return None{};
}

const std::string& Value::undefined_name() const {
  static const std::string kNothing = "value";
  const auto& name = std::get<Undefined>(data_).name;
  return name != nullptr ? *name : kNothing;
}

int64_t Value::integer() const {
  if (is_bool()) return std::get<bool>(data_) ? 1 : 0;
  return std::get<int64_t>(data_);
}

double Value::number() const {
  if (is_big()) return static_cast<double>(big());
  if (is_float()) return std::get<double>(data_);
  return static_cast<double>(integer());
}

size_t Value::num_items() const {
  if (is_string()) return string().size();
  if (is_list()) return list().size();
  return is_dict() ? dict().size() : 0;
}

int Value::depth() const {
  if (is_list()) return std::get<SharedList>(data_)->depth;
  if (is_dict()) return std::get<SharedDict>(data_)->depth;
  return is_loop() ? loop().items.depth() + 1 : 0;
}

bool Value::truthy() const {
  if (is_bool()) return std::get<bool>(data_);
  if (is_number()) return number() != 0;
  if (is_string() || is_list() || is_dict()) return num_items() > 0;
  return is_namespace() || is_macro() || is_loop();
}

const char* Value::type_name() const {
  if (is_undefined()) return "undefined";
  if (is_none()) return "None";
  if (is_bool()) return "bool";
  if (is_int()) return "int";
  if (is_float()) return "float";
  if (is_string()) return "str";
  if (is_tuple()) return "tuple";
  if (is_list()) return "list";
  if (is_dict()) return "dict";
  if (is_loop()) return "loop";
  return is_namespace() ? "namespace" : "macro";
}

const Value* find(const Dict& dict, std::string_view key, Budget& budget) {
  budget.touch(dict.size() * 16);
  for (const auto& [name, value] : dict) {
    if (name == key) return &value;
  }
  return nullptr;
}

void set_key(Dict& dict, std::string_view key, Value value, Budget& budget) {
  budget.touch(dict.size() * 16);
  for (auto& [name, old] : dict) {
    if (name == key) {
      old = std::move(value);
      return;
    }
  }
  budget.make(key.size() + sizeof(dict.front()));
  dict.emplace_back(key, std::move(value));
}

bool equal(const Value& a, const Value& b, Budget& budget) {
  budget.step();
  if (a.is_number() && b.is_number()) {
    if (a.is_big() && b.is_big()) return a.big() == b.big();
    if (a.is_float() || b.is_float()) return a.number() == b.number();
    return a.integer() == b.integer();
  }
  if (a.is_string() && b.is_string()) {
    if (a.string().size() != b.string().size()) return false;
    budget.touch(a.string().size());
    return a.string() == b.string();
  }
  if (a.is_list() && b.is_list()) {
    if (a.is_tuple() != b.is_tuple()) return false;
    return std::equal(a.list().begin(), a.list().end(), b.list().begin(), b.list().end(),
                      [&](const Value& x, const Value& y) { return equal(x, y, budget); });
  }
  if (a.is_dict() && b.is_dict()) {
    if (a.dict().size() != b.dict().size()) return false;
    return std::all_of(a.dict().begin(), a.dict().end(), [&](const auto& item) {
      const Value* other = find(b.dict(), item.first, budget);
      return other != nullptr && equal(item.second, *other, budget);
    });
  }
  return (a.is_none() && b.is_none()) || (a.is_undefined() && b.is_undefined());
}

bool less(const Value& a, const Value& b, Budget& budget) {
  budget.step();
  if (a.is_number() && b.is_number()) {
    if (a.is_float() || b.is_float()) return a.number() < b.number();
    return a.integer() < b.integer();
  }
  if (a.is_string() && b.is_string()) {
    budget.touch(std::min(a.string().size(), b.string().size()));
    return a.string() < b.string();
  }
  if (a.is_list() && b.is_list() && a.is_tuple() == b.is_tuple()) {
    return std::lexicographical_compare(
        a.list().begin(), a.list().end(), b.list().begin(), b.list().end(),
        [&](const Value& x, const Value& y) { return less(x, y, budget); });
  }
  throw TemplateError(std::string("cannot compare ") + a.type_name() + " with " + b.type_name());
}

}  // namespace sparrow::jinja

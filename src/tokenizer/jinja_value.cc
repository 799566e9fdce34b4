#include "tokenizer/jinja_value.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "base/utf8.h"

namespace sparrow::jinja {
namespace {

// repr(float): the shortest digits, always recognisable as a float.
void append_float(std::string& out, double value) {
  if (std::isnan(value) || std::isinf(value)) {
    out += std::isnan(value) ? "nan" : value > 0 ? "inf" : "-inf";
    return;
  }
  char buffer[40];
  const auto end = std::to_chars(buffer, buffer + sizeof(buffer), value).ptr;
  const std::string_view digits(buffer, static_cast<size_t>(end - buffer));
  out += digits;
  if (digits.find_first_of(".e") == std::string_view::npos) out += ".0";
}

// repr(str): single quotes unless the text has one and no double quote.
void append_repr(std::string& out, const std::string& text) {
  const bool has_single = text.find('\'') != std::string::npos;
  const char quote = has_single && text.find('"') == std::string::npos ? '"' : '\'';
  out += quote;
  for (const char c : text) {
    switch (c) {
      case '\n':
        out += "\\n";
        break;
      case '\r':
        out += "\\r";
        break;
      case '\t':
        out += "\\t";
        break;
      case '\\':
        out += "\\\\";
        break;
      default:
        if (c == quote) out += '\\';
        out += c;
    }
  }
  out += quote;
}

void append_nested(std::string& out, const Value& value) {
  if (value.is_string()) {
    append_repr(out, value.string());
  } else if (value.is_undefined()) {
    out += "Undefined";
  } else {
    append_text(out, value);
  }
}

// Python escapes only what JSON demands when ensure_ascii is off.
void append_json_text(std::string& out, std::string_view text) {
  static constexpr char kHex[] = "0123456789abcdef";
  out += '"';
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    switch (c) {
      case '"':
        out += "\\\"";
        break;
      case '\\':
        out += "\\\\";
        break;
      case '\n':
        out += "\\n";
        break;
      case '\r':
        out += "\\r";
        break;
      case '\t':
        out += "\\t";
        break;
      case '\b':
        out += "\\b";
        break;
      case '\f':
        out += "\\f";
        break;
      default:
        if (byte < 0x20) {
          out += "\\u00";
          out += kHex[byte >> 4];
          out += kHex[byte & 15];
        } else {
          out += c;
        }
    }
  }
  out += '"';
}

void new_line(std::string& out, int indent, int level) {
  if (indent < 0) return;
  out += '\n';
  out.append(static_cast<size_t>(indent) * static_cast<size_t>(level), ' ');
}

template <typename Items, typename Append>
void append_items(std::string& out, const Items& items, char open, char close, int indent,
                  int level, const Append& append) {
  out += open;
  bool first = true;
  for (const auto& item : items) {
    if (!first) out += indent < 0 ? ", " : ",";
    first = false;
    new_line(out, indent, level + 1);
    append(item);
  }
  if (!items.empty()) new_line(out, indent, level);
  out += close;
}

}  // namespace

Value Value::from_json(const boost::json::value& json) {
  switch (json.kind()) {
    case boost::json::kind::null:
      return None{};
    case boost::json::kind::bool_:
      return json.get_bool();
    case boost::json::kind::int64:
      return json.get_int64();
    case boost::json::kind::uint64:
      return static_cast<double>(json.get_uint64());
    case boost::json::kind::double_:
      return json.get_double();
    case boost::json::kind::string:
      return std::string(json.get_string());
    case boost::json::kind::array: {
      List list;
      list.reserve(json.get_array().size());
      for (const auto& item : json.get_array()) list.push_back(from_json(item));
      return list;
    }
    case boost::json::kind::object: {
      Dict dict;
      dict.reserve(json.get_object().size());
      for (const auto& [key, item] : json.get_object()) dict.emplace_back(key, from_json(item));
      return dict;
    }
  }
  return None{};
}

int64_t Value::integer() const {
  if (is_bool()) return std::get<bool>(data_) ? 1 : 0;
  return std::get<int64_t>(data_);
}

double Value::number() const {
  if (is_float()) return std::get<double>(data_);
  return static_cast<double>(integer());
}

bool Value::truthy() const {
  if (is_bool()) return std::get<bool>(data_);
  if (is_int()) return integer() != 0;
  if (is_float()) return number() != 0;
  if (is_string()) return !string().empty();
  if (is_list()) return !list().empty();
  if (is_dict()) return !dict().empty();
  return is_namespace() || is_macro();
}

const char* Value::type_name() const {
  if (is_undefined()) return "undefined";
  if (is_none()) return "None";
  if (is_bool()) return "bool";
  if (is_int()) return "int";
  if (is_float()) return "float";
  if (is_string()) return "str";
  if (is_list()) return "list";
  if (is_dict()) return "dict";
  return is_namespace() ? "namespace" : "macro";
}

const Value* find(const Dict& dict, std::string_view key) {
  for (const auto& [name, value] : dict) {
    if (name == key) return &value;
  }
  return nullptr;
}

bool equal(const Value& a, const Value& b) {
  if (a.is_number() && b.is_number()) {
    if (a.is_float() || b.is_float()) return a.number() == b.number();
    return a.integer() == b.integer();
  }
  if (a.is_string() && b.is_string()) return a.string() == b.string();
  if (a.is_list() && b.is_list()) {
    return std::equal(a.list().begin(), a.list().end(), b.list().begin(), b.list().end(), equal);
  }
  if (a.is_dict() && b.is_dict()) {
    if (a.dict().size() != b.dict().size()) return false;
    return std::all_of(a.dict().begin(), a.dict().end(), [&](const auto& item) {
      const Value* other = find(b.dict(), item.first);
      return other != nullptr && equal(item.second, *other);
    });
  }
  return (a.is_none() && b.is_none()) || (a.is_undefined() && b.is_undefined());
}

bool less(const Value& a, const Value& b) {
  if (a.is_number() && b.is_number()) return a.number() < b.number();
  if (a.is_string() && b.is_string()) return a.string() < b.string();
  if (a.is_list() && b.is_list()) {
    return std::lexicographical_compare(a.list().begin(), a.list().end(), b.list().begin(),
                                        b.list().end(), less);
  }
  throw TemplateError(std::string("cannot compare ") + a.type_name() + " with " + b.type_name());
}

void append_text(std::string& out, const Value& value) {
  if (value.is_undefined()) return;
  if (value.is_none()) {
    out += "None";
  } else if (value.is_bool()) {
    out += value.truthy() ? "True" : "False";
  } else if (value.is_int()) {
    out += std::to_string(value.integer());
  } else if (value.is_float()) {
    append_float(out, value.number());
  } else if (value.is_string()) {
    out += value.string();
  } else if (value.is_list()) {
    append_items(out, value.list(), '[', ']', -1, 0,
                 [&](const Value& v) { append_nested(out, v); });
  } else if (value.is_dict()) {
    append_items(out, value.dict(), '{', '}', -1, 0, [&](const auto& item) {
      append_repr(out, item.first);
      out += ": ";
      append_nested(out, item.second);
    });
  } else {
    throw TemplateError(std::string("cannot print a ") + value.type_name());
  }
}

void append_json(std::string& out, const Value& value, int indent, int level) {
  if (value.is_none()) {
    out += "null";
  } else if (value.is_bool()) {
    out += value.truthy() ? "true" : "false";
  } else if (value.is_string()) {
    append_json_text(out, value.string());
  } else if (value.is_list()) {
    append_items(out, value.list(), '[', ']', indent, level,
                 [&](const Value& item) { append_json(out, item, indent, level + 1); });
  } else if (value.is_dict()) {
    append_items(out, value.dict(), '{', '}', indent, level, [&](const auto& item) {
      append_json_text(out, item.first);
      out += ": ";
      append_json(out, item.second, indent, level + 1);
    });
  } else if (value.is_number()) {
    append_text(out, value);
  } else {
    throw TemplateError(std::string("tojson: cannot write ") + value.type_name());
  }
}

}  // namespace sparrow::jinja

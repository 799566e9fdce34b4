#include "tokenizer/jinja/printing.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>

#include "tokenizer/jinja/text.h"

namespace sparrow::jinja {
namespace {

// repr(float): the shortest digits that read back; an exponent from 1e16 on and below 1e-4.
void append_float(std::string& out, double value) {
  if (std::isnan(value)) {
    out += "nan";
    return;
  }
  if (std::isinf(value)) {
    out += value > 0 ? "inf" : "-inf";
    return;
  }
  const double size = std::fabs(value);
  const bool plain = size == 0 || (size >= 1e-4 && size < 1e16);
  char buffer[64];
  const auto end = std::to_chars(buffer, buffer + sizeof(buffer), value,
                                 plain ? std::chars_format::fixed : std::chars_format::scientific)
                       .ptr;
  const std::string_view digits(buffer, static_cast<size_t>(end - buffer));
  out += digits;
  if (plain && digits.find('.') == std::string_view::npos) out += ".0";
}

void append_number(std::string& out, const Value& value) {
  if (value.is_big()) {
    out += std::to_string(value.big());
  } else if (value.is_float()) {
    append_float(out, value.number());
  } else {
    out += std::to_string(value.integer());
  }
}

void append_escaped(std::string& out, uint32_t code) {
  if (code == '\n') {
    out += "\\n";
  } else if (code == '\r') {
    out += "\\r";
  } else if (code == '\t') {
    out += "\\t";
  } else if (code < 0x100) {
    out += fmt::format("\\x{:02x}", code);
  } else {
    out += code < 0x10000 ? fmt::format("\\u{:04x}", code) : fmt::format("\\U{:08x}", code);
  }
}

// repr(str): single quotes unless the text has one and no double quote.
void append_repr(std::string& out, const std::string& text, Budget& budget) {
  budget.touch(text.size());
  const bool has_single = text.find('\'') != std::string::npos;
  const char quote = has_single && text.find('"') == std::string::npos ? '"' : '\'';
  out += quote;
  for (size_t at = 0; at < text.size();) {
    const Character c = character_at(text, at);
    if (c.code == static_cast<unsigned char>(quote) || c.code == '\\') {
      out += '\\';
      out += static_cast<char>(c.code);
    } else if (is_printable(c.code)) {
      out.append(text, at, c.len);
    } else {
      append_escaped(out, c.code);
    }
    at += c.len;
  }
  out += quote;
  budget.check_size(out.size());
}

// JSON's escapes; all but ASCII too when asked, as UTF-16.
void append_json_escape(std::string& out, uint32_t code) {
  static constexpr std::string_view kShort = "\b\f\n\r\t\"\\", kLetters = "bfnrt\"\\";
  const size_t at = code < 0x80 ? kShort.find(static_cast<char>(code)) : std::string_view::npos;
  if (at != std::string_view::npos) {
    out += '\\';
    out += kLetters[at];
  } else if (code < 0x10000) {
    out += fmt::format("\\u{:04x}", code);
  } else {
    code -= 0x10000;
    out += fmt::format("\\u{:04x}\\u{:04x}", 0xD800 + (code >> 10), 0xDC00 + (code & 0x3FF));
  }
}

void append_json_text(std::string& out, std::string_view text, bool ensure_ascii, Budget& budget) {
  budget.touch(text.size());
  out += '"';
  for (size_t at = 0; at < text.size();) {
    const auto byte = static_cast<unsigned char>(text[at]);
    if (byte < 0x20 || byte == '"' || byte == '\\' || (byte == 0x7F && ensure_ascii)) {
      append_json_escape(out, byte);
    } else if (byte >= 0x80 && ensure_ascii) {
      const Character c = character_at(text, at);
      append_json_escape(out, c.code);
      at += c.len - 1;
    } else {
      out += text[at];
    }
    ++at;
  }
  out += '"';
  budget.check_size(out.size());
}

template <typename Items, typename Append>
void append_items(std::string& out, const Items& items, std::string_view separator,
                  const Append& append) {
  bool first = true;
  for (const auto& item : items) {
    if (!first) out += separator;
    first = false;
    append(item);
  }
}

void append_nested(std::string& out, const Value& value, Budget& budget) {
  if (value.is_string()) {
    append_repr(out, value.string(), budget);
  } else if (value.is_undefined()) {
    out += "Undefined";
  } else {
    append_text(out, value, budget);
  }
}

void new_line(std::string& out, const JsonStyle& style, int level, Budget& budget) {
  if (style.indent < 0) return;
  const size_t blanks = static_cast<size_t>(style.indent) * static_cast<size_t>(level);
  budget.touch(blanks);
  budget.check_size(out.size() + blanks);
  out += '\n';
  out.append(blanks, ' ');
}

template <typename Items, typename Append>
void append_json_items(std::string& out, const Items& items, const char* brackets,
                       const JsonStyle& style, Budget& budget, int level, const Append& append) {
  out += brackets[0];
  bool first = true;
  for (const auto& item : items) {
    if (!first) out += style.item_separator;
    first = false;
    new_line(out, style, level + 1, budget);
    append(item);
    budget.check_size(out.size());
  }
  if (!items.empty()) new_line(out, style, level, budget);
  out += brackets[1];
}

}  // namespace

void append_text(std::string& out, const Value& value, Budget& budget) {
  budget.step();
  const auto nested = [&](const Value& item) { append_nested(out, item, budget); };
  if (value.is_undefined()) return;
  if (value.is_none()) {
    out += "None";
  } else if (value.is_bool()) {
    out += value.truthy() ? "True" : "False";
  } else if (value.is_number()) {
    append_number(out, value);
  } else if (value.is_string()) {
    budget.make(value.string().size());
    out += value.string();
  } else if (value.is_list()) {
    out += value.is_tuple() ? '(' : '[';
    append_items(out, value.list(), ", ", nested);
    if (value.is_tuple() && value.list().size() == 1) out += ',';
    out += value.is_tuple() ? ')' : ']';
  } else if (value.is_dict()) {
    out += '{';
    append_items(out, value.dict(), ", ", [&](const auto& item) {
      append_repr(out, item.first, budget);
      out += ": ";
      nested(item.second);
    });
    out += '}';
  } else {
    throw TemplateError(std::string("cannot print a ") + value.type_name());
  }
  budget.check_size(out.size());
}

std::string text_of(const Value& value, Budget& budget) {
  std::string text;
  append_text(text, value, budget);
  return text;
}

void append_json(std::string& out, const Value& value, const JsonStyle& style, Budget& budget,
                 int level) {
  budget.step();
  if (value.is_none()) {
    out += "null";
  } else if (value.is_bool()) {
    out += value.truthy() ? "true" : "false";
  } else if (value.is_string()) {
    append_json_text(out, value.string(), style.ensure_ascii, budget);
  } else if (value.is_list()) {
    append_json_items(out, value.list(), "[]", style, budget, level,
                      [&](const Value& item) { append_json(out, item, style, budget, level + 1); });
  } else if (value.is_dict()) {
    Dict sorted;
    if (style.sort_keys) {
      budget.touch(value.dict().size() * sizeof(sorted.front()) * 4);
      sorted = value.dict();
      std::sort(sorted.begin(), sorted.end(),
                [](const auto& a, const auto& b) { return a.first < b.first; });
    }
    append_json_items(out, style.sort_keys ? sorted : value.dict(), "{}", style, budget, level,
                      [&](const auto& item) {
                        append_json_text(out, item.first, style.ensure_ascii, budget);
                        out += style.key_separator;
                        append_json(out, item.second, style, budget, level + 1);
                      });
  } else if (value.is_float() && !value.is_big() && !std::isfinite(value.number())) {
    out += std::isnan(value.number()) ? "NaN" : value.number() > 0 ? "Infinity" : "-Infinity";
  } else if (value.is_number()) {
    append_number(out, value);
  } else {
    throw TemplateError(std::string("tojson: cannot write ") + value.type_name());
  }
}

}  // namespace sparrow::jinja

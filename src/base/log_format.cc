#include "base/log_format.h"

#include <fmt/format.h>

#include "base/json.h"
#include "base/utf8.h"

namespace sparrow {
namespace {

// The beginning of `text`, never half a character, and how much is missing.
std::string_view cut(std::string_view text, size_t& num_missing) {
  num_missing = 0;
  if (text.size() <= kMaxLogStringBytes) return text;
  std::string_view head = text.substr(0, kMaxLogStringBytes);
  head.remove_suffix(utf8_incomplete_suffix_len(head));
  num_missing = text.size() - head.size();
  return head;
}

std::string missing_note(size_t num_missing) {
  return num_missing == 0 ? std::string() : fmt::format("... ({} bytes more)", num_missing);
}

// C0, DEL, C1 (U+0080 to U+009F) and the two line separators of Unicode.
bool is_control(std::string_view character) {
  const auto first = static_cast<unsigned char>(character[0]);
  if (character.size() == 1) return first < 0x20 || first == 0x7f;
  if (character.size() == 2)
    return first == 0xC2 && static_cast<unsigned char>(character[1]) < 0xA0;
  return character == "\xE2\x80\xA8" || character == "\xE2\x80\xA9";
}

void append_hex(std::string& out, std::string_view bytes) {
  for (const char c : bytes) out += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
}

void append_printable(std::string& out, std::string_view text, bool quoted) {
  while (!text.empty()) {
    const size_t len = utf8_sequence_len(text);
    const std::string_view character = text.substr(0, len == 0 ? 1 : len);
    text.remove_prefix(character.size());
    if (character == "\n") {
      out += "\\n";
    } else if (character == "\r") {
      out += "\\r";
    } else if (len == 0 || is_control(character)) {
      append_hex(out, character);
    } else {
      if (quoted && (character == "\"" || character == "\\")) out += '\\';
      out += character;
    }
  }
}

bool needs_quotes(std::string_view text) {
  for (const char c : text) {
    const bool plain =
        (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
        (c != '\0' && std::string_view("._:/+@-{}*").find(c) != std::string_view::npos);
    if (!plain) return true;
  }
  return text.empty();
}

void append_text_value(std::string& out, const LogField& field) {
  if (const auto* number = std::get_if<int64_t>(&field.value)) {
    out += fmt::format("{}", *number);
  } else if (const auto* decimal = std::get_if<double>(&field.value)) {
    out += fmt::format("{:.1f}", *decimal);
  } else {
    size_t num_missing = 0;
    const std::string_view text = cut(std::get<std::string>(field.value), num_missing);
    const bool quoted = needs_quotes(text);
    if (quoted) out += '"';
    append_printable(out, text, quoted);
    if (quoted) out += '"';
    out += missing_note(num_missing);
  }
}

void append_json_text(std::string& out, std::string_view text) {
  size_t num_missing = 0;
  const std::string_view head = cut(text, num_missing);
  append_json_string(out, std::string(head) + missing_note(num_missing));
}

}  // namespace

void append_log_text(std::string& out, std::string_view message, const LogFields& fields) {
  size_t num_missing = 0;
  append_printable(out, cut(message, num_missing), false);
  out += missing_note(num_missing);
  for (const LogField& field : fields) {
    out += fmt::format(" {}=", field.name);
    append_text_value(out, field);
  }
}

void append_log_json(std::string& out, std::string_view message, const LogFields& fields) {
  out += "\"message\":";
  append_json_text(out, message);
  for (const LogField& field : fields) {
    out += fmt::format(",\"{}\":", field.name);
    if (const auto* number = std::get_if<int64_t>(&field.value)) {
      out += fmt::format("{}", *number);
    } else if (const auto* decimal = std::get_if<double>(&field.value)) {
      append_json_number(out, *decimal);
    } else {
      append_json_text(out, std::get<std::string>(field.value));
    }
  }
}

}  // namespace sparrow

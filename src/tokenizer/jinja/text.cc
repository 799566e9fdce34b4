#include "tokenizer/jinja/text.h"

#include <string.h>
#include <utf8proc.h>

#include <algorithm>

#include "base/utf8.h"

namespace sparrow::jinja {
namespace {

constexpr size_t kNone = std::string_view::npos;
constexpr size_t kShortPart = 32;
constexpr uint32_t kSharpS = 0xDF;  // its big form is two letters

utf8proc_category_t category(uint32_t code) {
  return utf8proc_category(static_cast<utf8proc_int32_t>(code));
}
uint32_t upper(uint32_t code) {
  return static_cast<uint32_t>(utf8proc_toupper(static_cast<utf8proc_int32_t>(code)));
}
uint32_t lower(uint32_t code) {
  return static_cast<uint32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(code)));
}
void append_upper(std::string& out, uint32_t code) {
  if (code == kSharpS) {
    out += "SS";
  } else {
    append_character(out, upper(code));
  }
}

// Calls append(out, code, is_first, previous code) for every character.
template <typename Append>
std::string mapped(std::string_view text, const Append& append) {
  std::string out;
  out.reserve(text.size());
  uint32_t previous = 0;
  for (size_t at = 0; at < text.size();) {
    const Character c = character_at(text, at);
    if (c.len == 1 && c.code >= 0x80) {
      out += text[at];  // no UTF-8: left alone
    } else {
      append(out, c.code, at == 0, previous);
    }
    previous = c.code;
    at += c.len;
  }
  return out;
}

// Where the character that ends at `end` (> 0) begins.
size_t begin_of_character_before(std::string_view text, size_t end) {
  size_t begin = end - 1;
  while (begin > 0 && end - begin < 4 && (static_cast<unsigned char>(text[begin]) & 0xC0) == 0x80)
    --begin;
  return character_at(text, begin).len == end - begin ? begin : end - 1;
}

template <typename Matches>
std::string_view strip_if(std::string_view text, bool left, bool right, const Matches& matches) {
  while (left && !text.empty()) {
    const Character c = character_at(text, 0);
    if (!matches(c.code)) break;
    text.remove_prefix(c.len);
  }
  while (right && !text.empty()) {
    const size_t begin = begin_of_character_before(text, text.size());
    if (!matches(character_at(text, begin).code)) break;
    text.remove_suffix(text.size() - begin);
  }
  return text;
}

bool ends_line(uint32_t code) {
  return (code >= 0x0A && code <= 0x0D) || (code >= 0x1C && code <= 0x1E) || code == 0x85 ||
         code == 0x2028 || code == 0x2029;
}

}  // namespace

Character character_at(std::string_view text, size_t at) {
  const std::string_view rest = text.substr(at);
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(rest[i]); };
  switch (utf8_sequence_len(rest)) {
    case 2:
      return {(byte(0) & 0x1Fu) << 6 | (byte(1) & 0x3Fu), 2};
    case 3:
      return {(byte(0) & 0x0Fu) << 12 | (byte(1) & 0x3Fu) << 6 | (byte(2) & 0x3Fu), 3};
    case 4:
      return {(byte(0) & 0x07u) << 18 | (byte(1) & 0x3Fu) << 12 | (byte(2) & 0x3Fu) << 6 |
                  (byte(3) & 0x3Fu),
              4};
    default:
      return {byte(0), 1};
  }
}

void append_character(std::string& out, uint32_t code) {
  utf8proc_uint8_t bytes[4];
  const auto len = utf8proc_encode_char(static_cast<utf8proc_int32_t>(code), bytes);
  out.append(reinterpret_cast<const char*>(bytes), static_cast<size_t>(std::max<long>(0, len)));
}

size_t count_characters(std::string_view text) {
  return static_cast<size_t>(std::count_if(text.begin(), text.end(), [](char c) {
    return (static_cast<unsigned char>(c) & 0xC0) != 0x80;
  }));
}

size_t byte_of_character(std::string_view text, size_t index) {
  size_t at = 0;
  while (at < text.size()) {
    if ((static_cast<unsigned char>(text[at]) & 0xC0) != 0x80 && index-- == 0) break;
    ++at;
  }
  return at;
}

bool is_blank(uint32_t code) {
  return (code >= 0x09 && code <= 0x0D) || (code >= 0x1C && code <= 0x20) || code == 0x85 ||
         code == 0xA0 || code == 0x1680 || (code >= 0x2000 && code <= 0x200A) || code == 0x2028 ||
         code == 0x2029 || code == 0x202F || code == 0x205F || code == 0x3000;
}
bool is_upper_letter(uint32_t code) { return category(code) == UTF8PROC_CATEGORY_LU; }
bool is_lower_letter(uint32_t code) { return category(code) == UTF8PROC_CATEGORY_LL; }
bool is_letter(uint32_t code) {
  return category(code) >= UTF8PROC_CATEGORY_LU && category(code) <= UTF8PROC_CATEGORY_LO;
}
bool is_printable(uint32_t code) {
  if (code == ' ') return true;
  switch (category(code)) {
    case UTF8PROC_CATEGORY_CN:
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CS:
    case UTF8PROC_CATEGORY_CO:
    case UTF8PROC_CATEGORY_ZS:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
      return false;
    default:
      return true;
  }
}

// std::string_view::find takes time text * part at worst, memmem (glibc's is linear) is slower to
// start.
size_t find_text(std::string_view text, std::string_view part, size_t from) {
  if (from > text.size()) return kNone;
  if (part.size() <= kShortPart) return text.find(part, from);
  const void* found = memmem(text.data() + from, text.size() - from, part.data(), part.size());
  if (found == nullptr) return kNone;
  return static_cast<size_t>(static_cast<const char*>(found) - text.data());
}

size_t rfind_text(std::string_view text, std::string_view part) {
  const std::string mirrored(text.rbegin(), text.rend());
  const std::string mirrored_part(part.rbegin(), part.rend());
  const size_t at = find_text(mirrored, mirrored_part);
  return at == kNone ? kNone : text.size() - part.size() - at;
}

std::vector<std::string_view> split_text(std::string_view text, std::string_view separator,
                                         size_t most) {
  std::vector<std::string_view> parts;
  size_t begin = 0;
  while (parts.size() < most) {
    const size_t at = find_text(text, separator, begin);
    if (at == kNone) break;
    parts.push_back(text.substr(begin, at - begin));
    begin = at + separator.size();
  }
  parts.push_back(text.substr(begin));
  return parts;
}

std::vector<std::string_view> rsplit_text(std::string_view text, std::string_view separator,
                                          size_t most) {
  const std::string mirrored(text.rbegin(), text.rend());
  const std::string mirrored_separator(separator.rbegin(), separator.rend());
  std::vector<std::string_view> parts = split_text(mirrored, mirrored_separator, most);
  for (std::string_view& part : parts) {
    const auto begin = static_cast<size_t>(part.data() - mirrored.data());
    part = text.substr(text.size() - begin - part.size(), part.size());
  }
  std::reverse(parts.begin(), parts.end());
  return parts;
}

std::vector<std::string_view> split_blanks(std::string_view text, size_t most) {
  std::vector<std::string_view> parts;
  while (true) {
    text = strip_blanks(text, true, false);
    if (text.empty()) return parts;
    size_t end = text.size();
    if (parts.size() < most) {
      for (end = 0; end < text.size();) {
        const Character c = character_at(text, end);
        if (is_blank(c.code)) break;
        end += c.len;
      }
    }
    parts.push_back(text.substr(0, end));
    text.remove_prefix(end);
  }
}

std::vector<std::string_view> rsplit_blanks(std::string_view text, size_t most) {
  std::vector<std::string_view> parts;
  while (true) {
    text = strip_blanks(text, false, true);
    if (text.empty()) break;
    size_t begin = 0;
    if (parts.size() < most) {
      for (begin = text.size(); begin > 0;) {
        const size_t before = begin_of_character_before(text, begin);
        if (is_blank(character_at(text, before).code)) break;
        begin = before;
      }
    }
    parts.push_back(text.substr(begin));
    text.remove_suffix(text.size() - begin);
  }
  std::reverse(parts.begin(), parts.end());
  return parts;
}

std::vector<std::string_view> split_lines(std::string_view text, bool keep_ends) {
  std::vector<std::string_view> lines;
  size_t begin = 0;
  for (size_t at = 0; at < text.size();) {
    const Character c = character_at(text, at);
    const size_t end = at;
    at += c.len;
    if (!ends_line(c.code)) continue;
    if (c.code == '\r' && at < text.size() && text[at] == '\n') ++at;
    lines.push_back(text.substr(begin, (keep_ends ? at : end) - begin));
    begin = at;
  }
  if (begin < text.size()) lines.push_back(text.substr(begin));
  return lines;
}

std::string_view strip_blanks(std::string_view text, bool left, bool right) {
  return strip_if(text, left, right, is_blank);
}

std::string_view strip_characters(std::string_view text, std::string_view which, bool left,
                                  bool right) {
  std::vector<uint32_t> codes;
  for (size_t at = 0; at < which.size();) {
    const Character c = character_at(which, at);
    codes.push_back(c.code);
    at += c.len;
  }
  std::sort(codes.begin(), codes.end());
  return strip_if(text, left, right, [&](uint32_t code) {
    return std::binary_search(codes.begin(), codes.end(), code);
  });
}

std::string to_upper(std::string_view text) {
  return mapped(text, [](std::string& out, uint32_t c, bool, uint32_t) { append_upper(out, c); });
}

std::string to_lower(std::string_view text) {
  return mapped(
      text, [](std::string& out, uint32_t c, bool, uint32_t) { append_character(out, lower(c)); });
}

std::string to_title(std::string_view text) {
  return mapped(text, [](std::string& out, uint32_t c, bool first, uint32_t previous) {
    const bool in_word = !first && (is_upper_letter(previous) || is_lower_letter(previous) ||
                                    category(previous) == UTF8PROC_CATEGORY_LT);
    append_character(out, in_word ? lower(c) : upper(c));
  });
}

// Jinja: words begin behind blanks and - ( { [ <.
std::string to_word_titles(std::string_view text) {
  return mapped(text, [](std::string& out, uint32_t c, bool first, uint32_t previous) {
    const bool at_word = first || is_blank(previous) || previous == '-' || previous == '(' ||
                         previous == '{' || previous == '[' || previous == '<';
    append_character(out, at_word ? upper(c) : lower(c));
  });
}

std::string to_capitalized(std::string_view text) {
  return mapped(text, [](std::string& out, uint32_t c, bool first, uint32_t) {
    append_character(out, first ? upper(c) : lower(c));
  });
}

std::string to_swapped_case(std::string_view text) {
  return mapped(text, [](std::string& out, uint32_t c, bool, uint32_t) {
    if (is_lower_letter(c)) {
      append_upper(out, c);
    } else {
      append_character(out, is_upper_letter(c) ? lower(c) : c);
    }
  });
}

std::string replace_text(std::string_view text, std::string_view from, std::string_view to,
                         size_t most, Budget& budget) {
  std::string out;
  size_t begin = 0;
  for (size_t count = 0; count < most; ++count) {
    size_t at = begin;
    if (!from.empty()) {
      at = find_text(text, from, begin);
    } else if (count > 0) {  // an empty part stands before every character and at the end
      at = begin < text.size() ? begin + character_at(text, begin).len : kNone;
    }
    if (at == kNone) break;
    budget.check_size(out.size() + (at - begin) + to.size());
    budget.touch(to.size());
    out.append(text, begin, at - begin);
    out += to;
    begin = at + from.size();
  }
  budget.make(out.size() + text.size() - begin);
  return out.append(text, begin);
}

}  // namespace sparrow::jinja

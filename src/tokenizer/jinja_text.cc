#include "tokenizer/jinja_text.h"

#include <algorithm>
#include <cctype>

namespace sparrow::jinja {
namespace {

constexpr std::string_view kBlanks = " \t\n\r\f\v";

bool is_letter(char c) { return std::isalpha(static_cast<unsigned char>(c)) != 0; }
char upper(char c) { return c >= 'a' && c <= 'z' ? static_cast<char>(c - 32) : c; }
char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; }

}  // namespace

std::vector<std::string> split_text(const std::string& text, const std::string& separator,
                                    size_t most, bool from_right) {
  if (separator.empty()) throw TemplateError("split() needs a separator that is not empty");
  std::vector<size_t> cuts;
  for (size_t at = 0; (at = text.find(separator, at)) != std::string::npos; at += separator.size())
    cuts.push_back(at);
  if (cuts.size() > most) {
    if (from_right) {
      cuts.erase(cuts.begin(), cuts.end() - static_cast<ptrdiff_t>(most));
    } else {
      cuts.resize(most);
    }
  }
  std::vector<std::string> parts;
  size_t begin = 0;
  for (const size_t cut : cuts) {
    parts.push_back(text.substr(begin, cut - begin));
    begin = cut + separator.size();
  }
  parts.push_back(text.substr(begin));
  return parts;
}

std::vector<std::string> split_blanks(const std::string& text, size_t most) {
  std::vector<std::string> parts;
  size_t at = 0;
  while ((at = text.find_first_not_of(kBlanks, at)) != std::string::npos) {
    if (parts.size() == most) {
      parts.push_back(strip(text.substr(at), "", false, true));
      break;
    }
    const size_t end = std::min(text.find_first_of(kBlanks, at), text.size());
    parts.push_back(text.substr(at, end - at));
    at = end;
  }
  return parts;
}

std::vector<std::string> split_lines(const std::string& text) {
  std::vector<std::string> lines;
  size_t at = 0;
  while (at < text.size()) {
    const size_t end = std::min(text.find_first_of("\r\n", at), text.size());
    lines.push_back(text.substr(at, end - at));
    at = end + (text.compare(end, 2, "\r\n") == 0 ? 2 : 1);
  }
  return lines;
}

std::string strip(const std::string& text, std::string_view characters, bool left, bool right) {
  const std::string_view which = characters.empty() ? kBlanks : characters;
  size_t begin = left ? text.find_first_not_of(which) : 0;
  if (begin == std::string::npos) return "";
  const size_t last = right ? text.find_last_not_of(which) : text.size() - 1;
  if (last == std::string::npos) return "";
  return text.substr(begin, last + 1 - begin);
}

std::string change_case(std::string text, std::string_view how) {
  bool at_word = true;
  for (size_t i = 0; i < text.size(); ++i) {
    const bool up =
        how == "upper" || (how == "title" && at_word) || (how == "capitalize" && i == 0);
    at_word = !is_letter(text[i]);
    text[i] = up ? upper(text[i]) : lower(text[i]);
  }
  return text;
}

std::string replace_text(const std::string& text, const std::string& from, const std::string& to,
                         size_t most, Budget& budget) {
  if (from.empty()) throw TemplateError("replace() needs a text that is not empty");
  std::string out;
  size_t begin = 0;
  for (size_t count = 0; count < most; ++count) {
    const size_t at = text.find(from, begin);
    if (at == std::string::npos) break;
    budget.make(out.size() + (at - begin) + to.size());
    out.append(text, begin, at - begin);
    out += to;
    begin = at + from.size();
  }
  budget.make(out.size() + text.size() - begin);
  return out.append(text, begin);
}

std::string join(const Value& list, const std::string& separator, Budget& budget) {
  std::string out;
  bool first = true;
  for (const Value& item : items_of(list, "join", budget)) {
    const std::string text = text_of(item, budget);
    if (out.size() + text.size() + separator.size() > budget.limits().max_output_bytes) {
      throw TemplateError("the template makes too much text");
    }
    if (!first) out += separator;
    first = false;
    out += text;
  }
  return out;
}

int64_t count_characters(std::string_view text) {
  return std::count_if(text.begin(), text.end(),
                       [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; });
}

}  // namespace sparrow::jinja

#include "tokenizer/added_token_matcher.h"

#include <utf8proc.h>

#include <algorithm>

#include "base/check.h"

namespace sparrow {
namespace {

struct Character {
  utf8proc_int32_t code_point;
  size_t len;
};

// `text` is valid UTF-8 and not empty.
Character first_character(std::string_view text) {
  Character c{};
  const auto len = utf8proc_iterate(reinterpret_cast<const utf8proc_uint8_t*>(text.data()),
                                    static_cast<utf8proc_ssize_t>(text.size()), &c.code_point);
  CHECK(len > 0);
  c.len = static_cast<size_t>(len);
  return c;
}

Character last_character(std::string_view text) {
  size_t begin = text.size() - 1;
  while (begin > 0 && (static_cast<unsigned char>(text[begin]) & 0xC0) == 0x80) --begin;
  return first_character(text.substr(begin));
}

// Unicode's White_Space property.
bool is_white_space(utf8proc_int32_t c) {
  return (c >= 0x09 && c <= 0x0D) || c == 0x20 || c == 0x85 || c == 0xA0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F ||
         c == 0x3000;
}

// \w of UTS 18: alphabetic, mark, decimal number, connector punctuation, join control.
bool is_word(utf8proc_int32_t c) {
  switch (utf8proc_category(c)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_PC:
      return true;
    default:
      break;
  }
  // Joiners, and the circled and squared letters, which are symbols with the property Alphabetic.
  return c == 0x200C || c == 0x200D || (c >= 0x24B6 && c <= 0x24E9) ||
         (c >= 0x1F130 && c <= 0x1F149) || (c >= 0x1F150 && c <= 0x1F169) ||
         (c >= 0x1F170 && c <= 0x1F189);
}

bool stands_alone(std::string_view text, size_t begin, size_t end) {
  if (begin > 0 && is_word(last_character(text.substr(0, begin)).code_point)) return false;
  return end == text.size() || !is_word(first_character(text.substr(end)).code_point);
}

}  // namespace

void AddedTokenMatcher::add(std::string_view content, TokenId id, const Flags& flags) {
  CHECK(!content.empty() && content.size() <= kMaxTokenBytes);
  starts_token_[static_cast<unsigned char>(content[0])] = true;
  uint32_t node = 0;
  for (const char c : content) {
    const uint64_t edge = uint64_t{node} << 8 | static_cast<unsigned char>(c);
    const auto [child, is_new] =
        child_of_node_.try_emplace(edge, static_cast<uint32_t>(entry_of_node_.size()));
    if (is_new) entry_of_node_.push_back(kNone);
    node = child->second;
  }
  CHECK(entry_of_node_[node] == kNone);
  entry_of_node_[node] = static_cast<uint32_t>(entries_.size());
  entries_.push_back({id, flags});
}

uint32_t AddedTokenMatcher::longest_at(std::string_view text, size_t at, size_t& end) const {
  uint32_t longest = kNone;
  uint32_t node = 0;
  for (size_t i = at; i < text.size(); ++i) {
    const auto child =
        child_of_node_.find(uint64_t{node} << 8 | static_cast<unsigned char>(text[i]));
    if (child == child_of_node_.end()) break;
    node = child->second;
    if (entry_of_node_[node] != kNone) {
      longest = entry_of_node_[node];
      end = i + 1;
    }
  }
  return longest;
}

void AddedTokenMatcher::split(std::string_view text, std::vector<Segment>& segments) const {
  size_t done = 0;  // everything before is in a segment
  size_t at = 0;
  while (!entries_.empty() && at < text.size()) {
    if (!starts_token_[static_cast<unsigned char>(text[at])]) {
      ++at;
      continue;
    }
    size_t end = 0;
    const uint32_t found = longest_at(text, at, end);
    if (found == kNone) {
      ++at;
      continue;
    }
    const Entry& entry = entries_[found];
    if (entry.flags.single_word && !stands_alone(text, at, end)) {
      at = end;
      continue;
    }
    size_t begin = at;
    while (entry.flags.lstrip && begin > done) {
      const Character c = last_character(text.substr(done, begin - done));
      if (!is_white_space(c.code_point)) break;
      begin -= c.len;
    }
    while (entry.flags.rstrip && end < text.size()) {
      const Character c = first_character(text.substr(end));
      if (!is_white_space(c.code_point)) break;
      end += c.len;
    }
    if (begin > done) segments.push_back({text.substr(done, begin - done), -1});
    segments.push_back({text.substr(begin, end - begin), entry.id});
    done = at = end;
  }
  if (done < text.size()) segments.push_back({text.substr(done), -1});
}

}  // namespace sparrow

#pragma once
// Text operations that filters and methods share: Python's str methods on UTF-8. Positions and
// lengths are bytes unless a name says characters. Linear in the text, whatever is searched for.
// Pure functions.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "tokenizer/jinja/budget.h"

namespace sparrow::jinja {

struct Character {
  uint32_t code = 0;
  size_t len = 1;  // bytes
};
// The character at `at` (< text.size()); a byte that is no UTF-8 is a character of its own.
Character character_at(std::string_view text, size_t at);
void append_character(std::string& out, uint32_t code);
size_t count_characters(std::string_view text);
// Byte position of a character; text.size() when there are fewer.
size_t byte_of_character(std::string_view text, size_t index);

// What str.isspace() accepts.
bool is_blank(uint32_t code);
bool is_upper_letter(uint32_t code);
bool is_lower_letter(uint32_t code);  // in any case of Python's: also letters without a big form
bool is_letter(uint32_t code);
bool is_printable(uint32_t code);  // by repr()

// npos when `part` is not in `text` behind `from`.
size_t find_text(std::string_view text, std::string_view part, size_t from = 0);
size_t rfind_text(std::string_view text, std::string_view part);

// At most `most` cuts. `separator` is not empty.
std::vector<std::string_view> split_text(std::string_view text, std::string_view separator,
                                         size_t most);
std::vector<std::string_view> rsplit_text(std::string_view text, std::string_view separator,
                                          size_t most);
std::vector<std::string_view> split_blanks(std::string_view text, size_t most);
std::vector<std::string_view> rsplit_blanks(std::string_view text, size_t most);
std::vector<std::string_view> split_lines(std::string_view text, bool keep_ends);

std::string_view strip_blanks(std::string_view text, bool left = true, bool right = true);
// Without the characters of `which` at the ends.
std::string_view strip_characters(std::string_view text, std::string_view which, bool left,
                                  bool right);

std::string to_upper(std::string_view text);
std::string to_lower(std::string_view text);
std::string to_title(std::string_view text);        // str.title()
std::string to_word_titles(std::string_view text);  // the filter title
std::string to_capitalized(std::string_view text);
std::string to_swapped_case(std::string_view text);

std::string replace_text(std::string_view text, std::string_view from, std::string_view to,
                         size_t most, Budget& budget);

}  // namespace sparrow::jinja

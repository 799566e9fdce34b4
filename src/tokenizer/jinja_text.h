#pragma once
// Text operations that filters and methods share: Python's str methods. ASCII letters change case;
// others stay as they are. Pure functions.

#include <string>
#include <string_view>
#include <vector>

#include "tokenizer/jinja_builtins.h"

namespace sparrow::jinja {

std::vector<std::string> split_text(const std::string& text, const std::string& separator,
                                    size_t most, bool from_right);
std::vector<std::string> split_blanks(const std::string& text, size_t most);
std::vector<std::string> split_lines(const std::string& text);
// Empty `characters`: white space.
std::string strip(const std::string& text, std::string_view characters, bool left, bool right);
// "upper", "lower", "title", "capitalize"
std::string change_case(std::string text, std::string_view how);
std::string replace_text(const std::string& text, const std::string& from, const std::string& to,
                         size_t most, Budget& budget);
std::string join(const Value& list, const std::string& separator, Budget& budget);
int64_t count_characters(std::string_view text);

}  // namespace sparrow::jinja

#pragma once
// How values become text: Python's str() and repr(), and json.dumps() as transformers' tojson calls
// it. Every item spends a step and every byte is checked against the budget while it is made. Pure
// functions.

#include <string>

#include "tokenizer/jinja/value.h"

namespace sparrow::jinja {

// str(): what {{ }} prints. Undefined prints nothing.
void append_text(std::string& out, const Value& value, Budget& budget);
std::string text_of(const Value& value, Budget& budget);

struct JsonStyle {
  int indent = -1;  // below 0: one line
  bool ensure_ascii = false;
  bool sort_keys = false;
  std::string item_separator;
  std::string key_separator;
};
void append_json(std::string& out, const Value& value, const JsonStyle& style, Budget& budget,
                 int level = 0);

}  // namespace sparrow::jinja

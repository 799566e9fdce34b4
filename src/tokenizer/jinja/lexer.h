#pragma once
// Lexer of the template language: text and tags, with Jinja's white space rules (trim_blocks,
// lstrip_blocks, -, +) already applied. Throws TemplateError with the line.

#include <string>
#include <string_view>
#include <vector>

namespace sparrow::jinja {

enum class TokenKind {
  kText,        // literal output
  kOpenOutput,  // {{
  kCloseOutput,
  kOpenBlock,  // {%
  kCloseBlock,
  kName,
  kInteger,
  kFloat,
  kString,    // text is the unescaped content
  kOperator,  // text is one of + - * / // % ** ~ == != < <= > >= = ( ) [ ] { } , . : |
  kEnd,
};

struct Token {
  TokenKind kind = TokenKind::kEnd;
  std::string text;
  int line = 1;
};

// `source` has \n line ends.
std::vector<Token> tokenize(std::string_view source);

}  // namespace sparrow::jinja

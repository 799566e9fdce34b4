#include "tokenizer/jinja/lexer.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>

#include "tokenizer/jinja/budget.h"
#include "tokenizer/jinja/text.h"

namespace sparrow::jinja {
namespace {

constexpr std::array<std::string_view, 24> kOperators = {
    "**", "//", "==", "!=", "<=", ">=", "+", "-", "*", "/", "%", "~",
    "<",  ">",  "=",  "(",  ")",  "[",  "]", "{", "}", ",", ".", ":"};

constexpr size_t kMaxNameBytes = 200;

bool is_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }
bool is_name_char(char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_'; }
bool is_digit(char c) { return c >= '0' && c <= '9'; }

class Lexer {
 public:
  explicit Lexer(std::string_view source) : source_(source) {}

  std::vector<Token> run() {
    while (at_ < source_.size()) {
      const size_t open = next_tag();
      text(open);
      if (open == std::string_view::npos) break;
      tag();
    }
    push(TokenKind::kEnd, "");
    return std::move(tokens_);
  }

 private:
  [[noreturn]] void fail(const std::string& what) const {
    throw TemplateError(fmt::format("line {}: {}", line_, what));
  }

  size_t next_tag() const {
    size_t at = at_;
    while ((at = source_.find('{', at)) != std::string_view::npos) {
      if (at + 1 < source_.size() &&
          (source_[at + 1] == '{' || source_[at + 1] == '%' || source_[at + 1] == '#'))
        return at;
      ++at;
    }
    return at;
  }

  bool looking_at(std::string_view text) const { return source_.substr(at_).starts_with(text); }

  // Literal text up to `end`, cut by the tags around it.
  void text(size_t end) {
    std::string_view raw = source_.substr(at_, end == std::string_view::npos ? end : end - at_);
    const size_t consumed = raw.size();
    if (strip_next_) {
      raw = strip_blanks(raw, true, false);
    } else if (trim_next_ && !raw.empty() && raw.front() == '\n') {
      raw.remove_prefix(1);
    }
    strip_next_ = trim_next_ = false;
    if (end != std::string_view::npos) raw = strip_end(raw, end, consumed);
    if (!raw.empty()) push(TokenKind::kText, std::string(raw));
    advance(consumed);
  }

  std::string_view strip_end(std::string_view raw, size_t tag, size_t consumed) const {
    const char mark = tag + 2 < source_.size() ? source_[tag + 2] : '\0';
    if (mark == '-') return strip_blanks(raw, false, true);
    if (source_[tag + 1] == '{' || mark == '+') return raw;
    // lstrip_blocks: only blanks between the line's beginning and the tag.
    const size_t line = raw.rfind('\n') + 1;  // 0 when there is none
    const bool whole_line = line > 0 || begins_line(tag, consumed);
    return whole_line && strip_blanks(raw.substr(line)).empty() ? raw.substr(0, line) : raw;
  }

  // The text before the tag is blank: did its line begin with this text?
  bool begins_line(size_t tag, size_t consumed) const {
    const size_t begin = tag - consumed;
    return begin == 0 || source_[begin - 1] == '\n' ||
           source_.substr(begin, consumed).find('\n') != std::string_view::npos;
  }

  void tag() {
    const char kind = source_[at_ + 1];
    if (kind == '%' && raw_block(at_)) return;
    advance(2);
    if (kind == '#') return comment();
    if (looking_at("-") || looking_at("+")) advance(1);
    push(kind == '{' ? TokenKind::kOpenOutput : TokenKind::kOpenBlock, "");
    const std::string_view close = kind == '{' ? "}}" : "%}";
    int depth = 0;
    while (true) {
      while (at_ < source_.size() && is_space(source_[at_])) advance(1);
      if (at_ >= source_.size()) fail("the tag is not closed");
      if (depth == 0 && close_tag(close)) break;
      depth += one_token();
    }
    push(kind == '{' ? TokenKind::kCloseOutput : TokenKind::kCloseBlock, "");
  }

  bool close_tag(std::string_view close) {
    const char mark = source_[at_];
    const bool marked = (mark == '-' || mark == '+') && source_.substr(at_ + 1).starts_with(close);
    if (!marked && !looking_at(close)) return false;
    advance(marked ? 3 : 2);
    strip_next_ = marked && mark == '-';
    trim_next_ = close == "%}" && !(marked && mark == '+');
    return true;
  }

  void comment() {
    const size_t end = source_.find("#}", at_);
    if (end == std::string_view::npos) fail("the comment is not closed");
    strip_next_ = end > at_ && source_[end - 1] == '-';
    trim_next_ = true;
    advance(end + 2 - at_);
  }

  // The end of the block {% word %} whose "{%" stands at `at`, 0 when there is another block.
  size_t end_of_block(size_t at, std::string_view word) const {
    at += 2;
    if (at < source_.size() && (source_[at] == '-' || source_[at] == '+')) ++at;
    const auto skip_blanks = [&] {
      while (at < source_.size() && is_space(source_[at])) ++at;
    };
    skip_blanks();
    if (!source_.substr(std::min(at, source_.size())).starts_with(word)) return 0;
    at += word.size();
    skip_blanks();
    if (at < source_.size() && (source_[at] == '-' || source_[at] == '+')) ++at;
    return source_.substr(std::min(at, source_.size())).starts_with("%}") ? at + 2 : 0;
  }

  // {% raw %} ... {% endraw %}: the inside is text. False when this is another block.
  bool raw_block(size_t tag) {
    const size_t inside = end_of_block(tag, "raw");
    if (inside == 0) return false;
    size_t end = inside - 2, after = 0;
    while (after == 0) {
      end = source_.find("{%", end + 2);
      if (end == std::string_view::npos) fail("raw is not closed by endraw");
      after = end_of_block(end, "endraw");
    }
    advance(inside - at_);
    strip_next_ = source_[inside - 3] == '-';
    text(end);
    advance(after - end);
    strip_next_ = source_[after - 3] == '-';
    trim_next_ = source_[after - 3] != '+';
    return true;
  }

  // Returns the change of bracket depth.
  int one_token() {
    const char c = source_[at_];
    if (c == '"' || c == '\'') return string(c), 0;
    if (is_digit(c)) return number(), 0;
    if (is_name_char(c)) {
      size_t len = 1;
      while (at_ + len < source_.size() && is_name_char(source_[at_ + len])) ++len;
      if (len > kMaxNameBytes) fail("a name is too long");
      push(TokenKind::kName, std::string(source_.substr(at_, len)));
      advance(len);
      return 0;
    }
    if (c == '|') return push(TokenKind::kOperator, "|"), advance(1), 0;
    for (const std::string_view op : kOperators) {
      if (!looking_at(op)) continue;
      push(TokenKind::kOperator, std::string(op));
      advance(op.size());
      if (op == "(" || op == "[" || op == "{") return 1;
      return op == ")" || op == "]" || op == "}" ? -1 : 0;
    }
    fail(fmt::format("unexpected character '{}'", c));
  }

  void number() {
    size_t len = 0;
    const auto peek = [&](size_t offset) {
      return at_ + offset < source_.size() ? source_[at_ + offset] : '\0';
    };
    while (is_digit(peek(len)) || peek(len) == '_') ++len;
    bool is_float = false;
    if (peek(len) == '.' && is_digit(peek(len + 1))) {
      is_float = true;
      ++len;
      while (is_digit(peek(len))) ++len;
    }
    if ((peek(len) == 'e' || peek(len) == 'E') &&
        (is_digit(peek(len + 1)) ||
         ((peek(len + 1) == '-' || peek(len + 1) == '+') && is_digit(peek(len + 2))))) {
      is_float = true;
      len += 2;
      while (is_digit(peek(len))) ++len;
    }
    std::string digits(source_.substr(at_, len));
    std::erase(digits, '_');
    push(is_float ? TokenKind::kFloat : TokenKind::kInteger, std::move(digits));
    advance(len);
  }

  void string(char quote) {
    std::string content;
    size_t at = at_ + 1;
    while (at < source_.size() && source_[at] != quote) {
      if (source_[at] == '\\' && at + 1 < source_.size()) {
        at = escape(at + 1, content);
      } else {
        content += source_[at++];
      }
    }
    if (at >= source_.size()) fail("the string is not closed");
    push(TokenKind::kString, std::move(content));
    advance(at + 1 - at_);
  }

  // Appends what the escape at `at` (behind the backslash) means; returns where to go on.
  size_t escape(size_t at, std::string& content) const {
    switch (const char c = source_[at]) {
      case 'n':
        content += '\n';
        return at + 1;
      case 't':
        content += '\t';
        return at + 1;
      case 'r':
        content += '\r';
        return at + 1;
      case 'b':
        content += '\b';
        return at + 1;
      case 'f':
        content += '\f';
        return at + 1;
      case 'a':
        content += '\a';
        return at + 1;
      case 'v':
        content += '\v';
        return at + 1;
      case '\\':
      case '\'':
      case '"':
        content += c;
        return at + 1;
      case '\n':
        return at + 1;
      case 'x':
        return code_point(at + 1, 2, content);
      case 'u':
        return code_point(at + 1, 4, content);
      case 'U':
        return code_point(at + 1, 8, content);
      case 'N':
        fail("\\N escapes are not supported");
      default:
        if (c >= '0' && c <= '7') return octal(at, content);
        content += '\\';
        content += c;
        return at + 1;
    }
  }

  size_t octal(size_t at, std::string& content) const {
    uint32_t code = 0;
    const size_t end = std::min(at + 3, source_.size());
    for (; at < end && source_[at] >= '0' && source_[at] <= '7'; ++at)
      code = code * 8 + static_cast<uint32_t>(source_[at] - '0');
    append_character(content, code);
    return at;
  }

  size_t code_point(size_t at, size_t digits, std::string& content) const {
    uint32_t code = 0;
    for (size_t i = 0; i < digits; ++i) {
      const char c = at + i < source_.size() ? source_[at + i] : '\0';
      if (std::isxdigit(static_cast<unsigned char>(c)) == 0) fail("wrong escape in a string");
      code = code * 16 + static_cast<uint32_t>(is_digit(c) ? c - '0' : (c | 32) - 'a' + 10);
    }
    if (code > 0x10FFFF || (code >= 0xD800 && code < 0xE000)) fail("wrong escape in a string");
    append_character(content, code);
    return at + digits;
  }

  void push(TokenKind kind, std::string text) { tokens_.push_back({kind, std::move(text), line_}); }
  void advance(size_t count) {
    const auto begin = source_.begin() + static_cast<ptrdiff_t>(at_);
    line_ += static_cast<int>(std::count(begin, begin + static_cast<ptrdiff_t>(count), '\n'));
    at_ += count;
  }

  std::string_view source_;
  size_t at_ = 0;
  int line_ = 1;
  bool strip_next_ = false;  // the tag ended with -
  bool trim_next_ = false;   // a block or comment ended: its newline goes
  std::vector<Token> tokens_;
};

}  // namespace

std::vector<Token> tokenize(std::string_view source) { return Lexer(source).run(); }

}  // namespace sparrow::jinja

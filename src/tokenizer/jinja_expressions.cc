// Expressions by precedence, lowest first: a if b else c; or; and; not; comparisons; + -; ~;
// * / // %; **; unary; then what follows a value: . [] () | is.

#include <fmt/format.h>

#include <charconv>

#include "tokenizer/jinja_builtins.h"
#include "tokenizer/jinja_parser.h"

namespace sparrow::jinja {

// A tree may be deeper than the syntax nests (a + b + c leans left): bounded apart.
constexpr int kMaxTreeDepth = 500;

class DepthGuard {
 public:
  explicit DepthGuard(ExpressionParser& parser) : parser_(parser) {
    if (++parser_.depth_ > parser_.max_depth_) parser_.fail("the expression is nested too deeply");
  }
  ~DepthGuard() { --parser_.depth_; }

 private:
  ExpressionParser& parser_;
};

const Token& ExpressionParser::peek(size_t ahead) const {
  return tokens_[std::min(at_ + ahead, tokens_.size() - 1)];
}
const Token& ExpressionParser::next() {
  const Token& token = peek();
  if (at_ < tokens_.size()) ++at_;
  return token;
}
bool ExpressionParser::is_operator(std::string_view op) const {
  return peek().kind == TokenKind::kOperator && peek().text == op;
}
bool ExpressionParser::is_name(std::string_view name) const {
  return peek().kind == TokenKind::kName && peek().text == name;
}
bool ExpressionParser::take_operator(std::string_view op) {
  if (!is_operator(op)) return false;
  next();
  return true;
}
bool ExpressionParser::take_name(std::string_view name) {
  if (!is_name(name)) return false;
  next();
  return true;
}
void ExpressionParser::expect_operator(std::string_view op) {
  if (!take_operator(op)) fail(fmt::format("expected '{}', found '{}'", op, peek().text));
}
std::string ExpressionParser::expect_identifier(const char* what) {
  if (peek().kind != TokenKind::kName)
    fail(fmt::format("expected {}, found '{}'", what, peek().text));
  return next().text;
}
void ExpressionParser::fail(const std::string& what) const {
  throw TemplateError(fmt::format("line {}: {}", peek().line, what));
}

ExprPtr ExpressionParser::make(ExprKind kind, std::string name) {
  auto expr = std::make_unique<Expr>();
  expr->kind = kind;
  expr->line = peek().line;
  expr->name = std::move(name);
  return expr;
}

// Sets the depth from the children and holds the bound.
ExprPtr ExpressionParser::measured(ExprPtr expr) {
  for (const ExprPtr& child : expr->children) expr->depth = std::max(expr->depth, child->depth + 1);
  for (const auto& [name, child] : expr->keywords)
    expr->depth = std::max(expr->depth, child->depth + 1);
  if (expr->depth > kMaxTreeDepth) fail("the expression is too long");
  return expr;
}

ExprPtr ExpressionParser::binary(std::string op, ExprPtr left, ExprPtr right) {
  ExprPtr expr = make(ExprKind::kBinary, std::move(op));
  expr->children.push_back(std::move(left));
  expr->children.push_back(std::move(right));
  return measured(std::move(expr));
}

ExprPtr ExpressionParser::expression_or_tuple() {
  ExprPtr first = expression();
  if (!is_operator(",")) return first;
  ExprPtr tuple = make(ExprKind::kList);
  tuple->children.push_back(std::move(first));
  while (take_operator(",")) {
    if (peek().kind == TokenKind::kCloseBlock || peek().kind == TokenKind::kCloseOutput) break;
    tuple->children.push_back(expression());
  }
  return measured(std::move(tuple));
}

ExprPtr ExpressionParser::expression() {
  const DepthGuard guard(*this);
  ExprPtr value = disjunction();
  while (take_name("if")) {
    ExprPtr expr = make(ExprKind::kCondition);
    expr->children.push_back(std::move(value));
    expr->children.push_back(disjunction());
    if (take_name("else")) expr->children.push_back(expression());
    value = measured(std::move(expr));
  }
  return value;
}

ExprPtr ExpressionParser::without_condition() {
  const DepthGuard guard(*this);
  return disjunction();
}

ExprPtr ExpressionParser::disjunction() {
  ExprPtr left = conjunction();
  while (take_name("or")) left = binary("or", std::move(left), conjunction());
  return left;
}

ExprPtr ExpressionParser::conjunction() {
  ExprPtr left = negation();
  while (take_name("and")) left = binary("and", std::move(left), negation());
  return left;
}

ExprPtr ExpressionParser::negation() {
  if (!is_name("not")) return comparison();
  const DepthGuard guard(*this);
  next();
  ExprPtr expr = make(ExprKind::kUnary, "not");
  expr->children.push_back(negation());
  return measured(std::move(expr));
}

ExprPtr ExpressionParser::comparison() {
  ExprPtr left = sum();
  while (true) {
    std::string op;
    for (const char* known : {"==", "!=", "<=", ">=", "<", ">"}) {
      if (is_operator(known)) op = known;
    }
    if (op.empty() && is_name("in")) op = "in";
    if (op.empty() && is_name("not") && peek(1).kind == TokenKind::kName && peek(1).text == "in") {
      next();
      op = "not in";
    }
    if (op.empty()) return left;
    next();
    left = binary(op, std::move(left), sum());
  }
}

ExprPtr ExpressionParser::sum() {
  ExprPtr left = concatenation();
  while (is_operator("+") || is_operator("-")) {
    std::string op = next().text;
    left = binary(std::move(op), std::move(left), concatenation());
  }
  return left;
}

ExprPtr ExpressionParser::concatenation() {
  ExprPtr left = product();
  while (take_operator("~")) left = binary("~", std::move(left), product());
  return left;
}

ExprPtr ExpressionParser::product() {
  ExprPtr left = power();
  while (is_operator("*") || is_operator("/") || is_operator("//") || is_operator("%")) {
    std::string op = next().text;
    left = binary(std::move(op), std::move(left), power());
  }
  return left;
}

ExprPtr ExpressionParser::power() {
  ExprPtr left = unary();
  while (take_operator("**")) left = binary("**", std::move(left), unary());
  return left;
}

ExprPtr ExpressionParser::unary() {
  if (!is_operator("-") && !is_operator("+")) return postfix(primary());
  const DepthGuard guard(*this);
  ExprPtr expr = make(ExprKind::kUnary, next().text);
  expr->children.push_back(unary());
  return measured(std::move(expr));
}

ExprPtr ExpressionParser::primary() {
  const Token token = peek();
  ExprPtr expr = make(ExprKind::kLiteral);
  switch (token.kind) {
    case TokenKind::kString:
      next();
      // Neighbouring strings are one, as in Python.
      expr->value = token.text;
      while (peek().kind == TokenKind::kString) expr->value = expr->value.string() + next().text;
      return expr;
    case TokenKind::kInteger: {
      next();
      int64_t value = 0;
      const char* end = token.text.data() + token.text.size();
      if (std::from_chars(token.text.data(), end, value).ec != std::errc())
        fail("the number is too large");
      expr->value = value;
      return expr;
    }
    case TokenKind::kFloat: {
      next();
      double value = 0;
      std::from_chars(token.text.data(), token.text.data() + token.text.size(), value);
      expr->value = value;
      return expr;
    }
    case TokenKind::kName:
      break;
    case TokenKind::kOperator:
      if (token.text == "(") return parenthesized();
      if (token.text == "[") return list_literal("]");
      if (token.text == "{") return dict_literal();
      fail(fmt::format("unexpected '{}'", token.text));
    default:
      fail("the expression ends too early");
  }
  next();
  if (token.text == "true" || token.text == "True") return expr->value = true, std::move(expr);
  if (token.text == "false" || token.text == "False") return expr->value = false, std::move(expr);
  if (token.text == "none" || token.text == "None") return expr->value = None{}, std::move(expr);
  expr->kind = ExprKind::kName;
  expr->name = token.text;
  return expr;
}

ExprPtr ExpressionParser::parenthesized() {
  const DepthGuard guard(*this);
  expect_operator("(");
  if (take_operator(")")) return make(ExprKind::kList);
  ExprPtr inner = expression();
  if (take_operator(")")) return inner;
  ExprPtr tuple = make(ExprKind::kList);
  tuple->children.push_back(std::move(inner));
  while (take_operator(",")) {
    if (is_operator(")")) break;
    tuple->children.push_back(expression());
  }
  expect_operator(")");
  return measured(std::move(tuple));
}

ExprPtr ExpressionParser::list_literal(const char* close) {
  const DepthGuard guard(*this);
  next();
  ExprPtr list = make(ExprKind::kList);
  while (!is_operator(close)) {
    list->children.push_back(expression());
    if (!take_operator(",")) break;
  }
  expect_operator(close);
  return measured(std::move(list));
}

ExprPtr ExpressionParser::dict_literal() {
  const DepthGuard guard(*this);
  next();
  ExprPtr dict = make(ExprKind::kDict);
  while (!is_operator("}")) {
    dict->children.push_back(expression());
    expect_operator(":");
    dict->children.push_back(expression());
    if (!take_operator(",")) break;
  }
  expect_operator("}");
  return measured(std::move(dict));
}

ExprPtr ExpressionParser::postfix(ExprPtr object) {
  while (true) {
    if (take_operator(".")) {
      std::string name = expect_identifier("an attribute");
      if (is_operator("(")) {
        if (!is_known_method(name)) fail(fmt::format("unknown method '{}'", name));
        ExprPtr call = make(ExprKind::kMethod, std::move(name));
        call->children.push_back(std::move(object));
        arguments(*call);
        object = measured(std::move(call));
      } else {
        ExprPtr attribute = make(ExprKind::kAttribute, std::move(name));
        attribute->children.push_back(std::move(object));
        object = measured(std::move(attribute));
      }
    } else if (is_operator("[")) {
      object = subscript(std::move(object));
    } else if (is_operator("(")) {
      if (object->kind != ExprKind::kName) fail("only functions, macros and methods can be called");
      ExprPtr call = make(ExprKind::kCall, object->name);
      called_.emplace_back(object->name, call->line);
      arguments(*call);
      object = measured(std::move(call));
    } else if (take_operator("|")) {
      object = filter(std::move(object));
    } else if (take_name("is")) {
      object = test(std::move(object));
    } else {
      return object;
    }
  }
}

ExprPtr ExpressionParser::subscript(ExprPtr object) {
  const DepthGuard guard(*this);
  expect_operator("[");
  std::vector<ExprPtr> parts;
  bool is_slice = false;
  ExprPtr part = is_operator(":") ? nullptr : expression();
  parts.push_back(std::move(part));
  while (take_operator(":")) {
    is_slice = true;
    part = is_operator(":") || is_operator("]") ? nullptr : expression();
    parts.push_back(std::move(part));
  }
  expect_operator("]");
  if (parts.size() > 3) fail("a slice has at most three parts");
  ExprPtr expr = make(is_slice ? ExprKind::kSlice : ExprKind::kIndex);
  expr->children.push_back(std::move(object));
  if (is_slice) parts.resize(3);
  for (ExprPtr& one : parts) {
    if (one == nullptr) {
      one = make(ExprKind::kLiteral);
      one->value = None{};
    }
    expr->children.push_back(std::move(one));
  }
  return measured(std::move(expr));
}

ExprPtr ExpressionParser::filter(ExprPtr object) {
  std::string name = expect_identifier("a filter");
  if (!is_known_filter(name)) fail(fmt::format("unknown filter '{}'", name));
  ExprPtr expr = make(ExprKind::kFilter, std::move(name));
  expr->children.push_back(std::move(object));
  if (is_operator("(")) arguments(*expr);
  return measured(std::move(expr));
}

ExprPtr ExpressionParser::test(ExprPtr object) {
  const bool negated = take_name("not");
  std::string name = expect_identifier("a test");
  if (!is_known_test(name)) fail(fmt::format("unknown test '{}'", name));
  ExprPtr expr = make(ExprKind::kTest, std::move(name));
  expr->children.push_back(std::move(object));
  const bool is_word = is_name("and") || is_name("or") || is_name("else") || is_name("if") ||
                       is_name("is") || is_name("not") || is_name("in");
  const bool is_value = peek().kind == TokenKind::kString || peek().kind == TokenKind::kInteger ||
                        peek().kind == TokenKind::kFloat ||
                        (peek().kind == TokenKind::kName && !is_word) || is_operator("[");
  if (is_operator("(")) {
    arguments(*expr);
  } else if (is_value) {
    expr->children.push_back(primary());
  }
  expr = measured(std::move(expr));
  if (!negated) return expr;
  ExprPtr negation = make(ExprKind::kUnary, "not");
  negation->children.push_back(std::move(expr));
  return measured(std::move(negation));
}

void ExpressionParser::arguments(Expr& call) {
  const DepthGuard guard(*this);
  expect_operator("(");
  while (!is_operator(")")) {
    const bool is_keyword = peek().kind == TokenKind::kName &&
                            peek(1).kind == TokenKind::kOperator && peek(1).text == "=";
    if (is_keyword) {
      std::string name = next().text;
      next();
      call.keywords.emplace_back(std::move(name), expression());
    } else {
      call.children.push_back(expression());
    }
    if (!take_operator(",")) break;
  }
  expect_operator(")");
}

}  // namespace sparrow::jinja

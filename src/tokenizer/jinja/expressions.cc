// Expressions by precedence, lowest first: a if b else c; or; and; not; comparisons; + -; ~;
// * / // %; **; unary; then what follows a value: . [] () | is.

#include <fmt/format.h>

#include <charconv>

#include "tokenizer/jinja/parser.h"

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
std::string ExpressionParser::expect_target(const char* what) {
  for (const char* word : {"true", "false", "none", "True", "False", "None", "loop", "and", "or",
                           "not", "in", "is", "if", "else"}) {
    if (is_name(word)) fail(fmt::format("'{}' cannot be assigned to", word));
  }
  return expect_identifier(what);
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
  ExprPtr tuple = make(ExprKind::kTuple);
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
  const auto take = [&]() -> std::string {
    for (const char* known : {"==", "!=", "<=", ">=", "<", ">"}) {
      if (take_operator(known)) return known;
    }
    if (take_name("in")) return "in";
    const bool is_not_in =
        is_name("not") && peek(1).kind == TokenKind::kName && peek(1).text == "in";
    if (!is_not_in) return "";
    next();
    next();
    return "not in";
  };
  ExprPtr left = sum();
  std::string op = take();
  if (op.empty()) return left;
  ExprPtr compared = binary(std::move(op), std::move(left), sum());
  if (!take().empty()) fail("comparisons in a row are not supported: join them with 'and'");
  return compared;
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
    if (op == "%" && left->kind == ExprKind::kLiteral && left->value.is_string())
      fail("the % of strings is not supported: use ~ or replace");
    left = binary(std::move(op), std::move(left), power());
  }
  return left;
}

ExprPtr ExpressionParser::power() {
  ExprPtr left = unary(true);
  while (take_operator("**")) left = binary("**", std::move(left), unary(true));
  return left;
}

// A sign binds closer than filters: -1 | abs is 1.
ExprPtr ExpressionParser::unary(bool with_filters) {
  ExprPtr expr;
  if (is_operator("-") || is_operator("+")) {
    const DepthGuard guard(*this);
    expr = make(ExprKind::kUnary, next().text);
    expr->children.push_back(unary(false));
    expr = measured(std::move(expr));
  } else {
    expr = postfix(primary());
  }
  return with_filters ? filters_and_tests(std::move(expr)) : std::move(expr);
}

ExprPtr ExpressionParser::number() {
  const Token& token = next();
  const char* end = token.text.data() + token.text.size();
  ExprPtr expr = make(ExprKind::kLiteral);
  if (token.kind == TokenKind::kInteger) {
    int64_t value = 0;
    if (std::from_chars(token.text.data(), end, value).ec != std::errc())
      fail("the number is too large");
    expr->value = value;
  } else {
    double value = 0;
    if (std::from_chars(token.text.data(), end, value).ec != std::errc())
      fail("the number is too large");
    expr->value = value;
  }
  return expr;
}

ExprPtr ExpressionParser::primary() {
  const Token& token = peek();
  ExprPtr expr = make(ExprKind::kLiteral);
  switch (token.kind) {
    case TokenKind::kString: {
      // Neighbouring strings are one, as in Python.
      std::string text;
      while (peek().kind == TokenKind::kString) text += next().text;
      expr->value = std::move(text);
      return expr;
    }
    case TokenKind::kInteger:
    case TokenKind::kFloat:
      return number();
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
  if (token.text == "true" || token.text == "True") {
    expr->value = true;
  } else if (token.text == "false" || token.text == "False") {
    expr->value = false;
  } else if (token.text == "none" || token.text == "None") {
    expr->value = None{};
  } else {
    expr->kind = ExprKind::kName;
    expr->name = token.text;
  }
  return expr;
}

ExprPtr ExpressionParser::parenthesized() {
  const DepthGuard guard(*this);
  expect_operator("(");
  if (take_operator(")")) return make(ExprKind::kTuple);
  ExprPtr inner = expression();
  if (take_operator(")")) return inner;
  ExprPtr tuple = make(ExprKind::kTuple);
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
      object = attribute(std::move(object));
    } else if (is_operator("[")) {
      object = subscript(std::move(object));
    } else if (is_operator("(")) {
      object = call(std::move(object));
    } else {
      return object;
    }
  }
}

ExprPtr ExpressionParser::filters_and_tests(ExprPtr object) {
  while (true) {
    if (take_operator("|")) {
      object = filter(std::move(object));
    } else if (take_name("is")) {
      object = test(std::move(object));
    } else if (is_operator("(")) {
      object = call(std::move(object));
    } else {
      return object;
    }
  }
}

ExprPtr ExpressionParser::attribute(ExprPtr object) {
  ExprPtr expr = make(ExprKind::kIndex);
  expr->children.push_back(std::move(object));
  if (peek().kind == TokenKind::kInteger) {  // list.0
    expr->children.push_back(number());
    return measured(std::move(expr));
  }
  expr->name = expect_identifier("an attribute");
  if (expr->name.starts_with("__")) fail(fmt::format("access to '{}' is refused", expr->name));
  expr->kind = is_operator("(") ? ExprKind::kMethod : ExprKind::kAttribute;
  if (expr->kind == ExprKind::kMethod) {
    expr->builtin = find_method(expr->name);
    if (expr->builtin == nullptr) fail(fmt::format("unknown method '{}'", expr->name));
    arguments(*expr);
    check_call(*expr, 1);
  }
  return measured(std::move(expr));
}

ExprPtr ExpressionParser::call(ExprPtr callee) {
  if (callee->kind != ExprKind::kName) fail("only functions, macros and methods can be called");
  ExprPtr expr = make(ExprKind::kCall, callee->name);
  expr->builtin = find_function(expr->name);
  arguments(*expr);
  NamedCall named{expr->name, expr->line, ""};
  if (expr->builtin == nullptr) {
    named.complaint = fmt::format("unknown function '{}'", expr->name);
  } else {
    std::vector<std::string> keywords;
    for (const auto& [name, child] : expr->keywords) keywords.push_back(name);
    named.complaint = expr->builtin->complaint(expr->children.size(), keywords);
  }
  if (!named.complaint.empty()) called_.push_back(std::move(named));
  return measured(std::move(expr));
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
  ExprPtr expr = make(ExprKind::kFilter, expect_identifier("a filter"));
  expr->builtin = find_filter(expr->name);
  if (expr->builtin == nullptr) fail(fmt::format("unknown filter '{}'", expr->name));
  expr->children.push_back(std::move(object));
  if (is_operator("(")) arguments(*expr);
  check_call(*expr, 1);
  check_named_builtin(*expr);
  return measured(std::move(expr));
}

ExprPtr ExpressionParser::test(ExprPtr object) {
  const bool negated = take_name("not");
  ExprPtr expr = make(ExprKind::kTest, expect_identifier("a test"));
  expr->builtin = find_test(expr->name);
  if (expr->builtin == nullptr) fail(fmt::format("unknown test '{}'", expr->name));
  expr->children.push_back(std::move(object));
  const bool is_word = is_name("and") || is_name("or") || is_name("else") || is_name("if") ||
                       is_name("is") || is_name("not") || is_name("in");
  const bool is_value = peek().kind == TokenKind::kString || peek().kind == TokenKind::kInteger ||
                        peek().kind == TokenKind::kFloat ||
                        (peek().kind == TokenKind::kName && !is_word) || is_operator("[") ||
                        is_operator("{");
  if (is_operator("(")) {
    arguments(*expr);
  } else if (is_value) {
    expr->children.push_back(postfix(primary()));
  }
  check_call(*expr, 1);
  expr = measured(std::move(expr));
  if (!negated) return expr;
  ExprPtr negation = make(ExprKind::kUnary, "not");
  negation->children.push_back(std::move(expr));
  return measured(std::move(negation));
}

void ExpressionParser::check_call(const Expr& call, size_t first_argument) const {
  std::vector<std::string> keywords;
  for (const auto& [name, child] : call.keywords) keywords.push_back(name);
  const std::string complaint =
      call.builtin->complaint(call.children.size() - first_argument, keywords);
  if (!complaint.empty()) fail(complaint);
}

// The filter that map() names and the test that select() and its like name, when written as a
// string: known now rather than at the first request.
void ExpressionParser::check_named_builtin(const Expr& call) const {
  const bool is_map = call.name == "map";
  const bool takes_test = call.name.starts_with("select") || call.name.starts_with("reject");
  if (!is_map && !takes_test) return;
  const size_t index = call.name.ends_with("attr") ? 2 : 1;
  if (call.children.size() <= index) {
    for (const auto& [name, child] : call.keywords) {
      if (!is_map || (name != "attribute" && name != "default"))
        fail(fmt::format("'{}' has no argument '{}'", call.name, name));
    }
    return;
  }
  const Expr& named = *call.children[index];
  if (named.kind != ExprKind::kLiteral || !named.value.is_string()) return;
  const std::string& name = named.value.string();
  const Builtin* builtin = is_map ? find_filter(name) : find_test(name);
  if (builtin == nullptr) fail(fmt::format("unknown {} '{}'", is_map ? "filter" : "test", name));
  std::vector<std::string> keywords;
  for (const auto& [keyword, child] : call.keywords) keywords.push_back(keyword);
  const std::string complaint = builtin->complaint(call.children.size() - index - 1, keywords);
  if (!complaint.empty()) fail(complaint);
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

#pragma once
// Parser of the template language: tokens to a tree. Unknown statements, filters, tests, functions
// and methods are refused here, with their line, not at the first request. Throws TemplateError.

#include <string_view>
#include <vector>

#include "tokenizer/jinja/ast.h"
#include "tokenizer/jinja/lexer.h"

namespace sparrow::jinja {

// max_depth bounds the nesting of syntax, and with it every recursion over the tree.
Body parse_template(const std::vector<Token>& tokens, size_t max_depth);

// Reads expressions from a token list; used by the statement parser.
class ExpressionParser {
 public:
  ExpressionParser(const std::vector<Token>& tokens, size_t max_depth)
      : tokens_(tokens), max_depth_(max_depth) {}

  ExprPtr expression();           // with "a if b else c"
  ExprPtr expression_or_tuple();  // "a, b" gives a list
  ExprPtr without_condition();    // the iterable of a for

  const Token& peek(size_t ahead = 0) const;
  const Token& next();
  bool is_operator(std::string_view op) const;
  bool is_name(std::string_view name) const;
  bool take_operator(std::string_view op);
  bool take_name(std::string_view name);
  void expect_operator(std::string_view op);
  std::string expect_identifier(const char* what);
  std::string expect_target(const char* what);  // a name that may be assigned to
  [[noreturn]] void fail(const std::string& what) const;
  // Calls by name, to be checked against macros and functions at the end of the template.
  struct NamedCall {
    std::string name;
    int line = 1;
    std::string complaint;  // of the function of this name; empty when the call fits it
  };
  const std::vector<NamedCall>& called() const { return called_; }

 private:
  friend class DepthGuard;
  ExprPtr disjunction();
  ExprPtr conjunction();
  ExprPtr negation();
  ExprPtr comparison();
  ExprPtr sum();
  ExprPtr concatenation();
  ExprPtr product();
  ExprPtr power();
  ExprPtr unary(bool with_filters);
  ExprPtr primary();
  ExprPtr number();
  ExprPtr postfix(ExprPtr object);            // . [] ()
  ExprPtr filters_and_tests(ExprPtr object);  // | is ()
  ExprPtr attribute(ExprPtr object);
  ExprPtr subscript(ExprPtr object);
  ExprPtr call(ExprPtr callee);
  ExprPtr filter(ExprPtr object);
  ExprPtr test(ExprPtr object);
  ExprPtr list_literal(const char* close);
  ExprPtr dict_literal();
  ExprPtr parenthesized();
  void arguments(Expr& call);
  void check_call(const Expr& call, size_t first_argument) const;
  void check_named_builtin(const Expr& call) const;
  ExprPtr make(ExprKind kind, std::string name = "");
  ExprPtr binary(std::string op, ExprPtr left, ExprPtr right);
  ExprPtr measured(ExprPtr expr);

  const std::vector<Token>& tokens_;
  const size_t max_depth_;
  size_t at_ = 0;
  size_t depth_ = 0;
  std::vector<NamedCall> called_;
};

}  // namespace sparrow::jinja

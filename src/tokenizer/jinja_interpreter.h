#pragma once
// Interpreter of the template language: walks the tree once, within a budget. One object per
// rendering. Throws TemplateError.

#include <map>
#include <string>
#include <vector>

#include "tokenizer/jinja_ast.h"
#include "tokenizer/jinja_builtins.h"

namespace sparrow::jinja {

class Interpreter {
 public:
  Interpreter(const ChatTemplateLimits& limits, Dict variables);
  std::string render(const Body& body);

 private:
  enum class Flow { kNext, kBreak, kContinue };
  using Scope = std::map<std::string, Value, std::less<>>;
  struct LoopState;

  Flow run(const Body& body, std::string& out);
  Flow run_statement(const Statement& statement, std::string& out);
  Flow run_for(const Statement& statement, std::string& out);
  void bind_loop_variables(const Statement& statement, const Value& item);
  void assign(const Statement& statement);
  void print(const Value& value, std::string& out);

  Value evaluate(const Expr& expr);
  Value binary(const Expr& expr);
  Value add(const Value& a, const Value& b);
  Value multiply(const Value& a, const Value& b);
  Value divide(const std::string& op, const Value& a, const Value& b);
  Value unary(const Expr& expr);
  Value slice(const Expr& expr);
  Value dict(const Expr& expr);
  Value call(const Expr& expr);
  Value call_macro(const Macro& macro, const Arguments& arguments);
  Value lookup(const std::string& name) const;
  Arguments arguments_of(const Expr& expr, size_t first);

  Budget budget_;
  std::vector<Scope> scopes_;  // the last is innermost; assignments go there
  int macro_depth_ = 0;
};

}  // namespace sparrow::jinja

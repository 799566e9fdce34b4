#pragma once
// Interpreter of the template language: walks the tree once, within a budget of steps, text and
// depth. One object per rendering. Throws TemplateError.

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "tokenizer/jinja/ast.h"

namespace sparrow::jinja {

class Interpreter {
 public:
  Interpreter(const ChatTemplateLimits& limits, Dict variables);
  ~Interpreter();
  Interpreter(const Interpreter&) = delete;
  Interpreter& operator=(const Interpreter&) = delete;

  std::string render(const Body& body);

 private:
  enum class Flow { kNext, kBreak, kContinue };
  using Scope = std::map<std::string, Value, std::less<>>;
  class DepthGuard;

  Flow run(const Body& body, std::string& out);
  Flow run_statement(const Statement& statement, std::string& out);
  Flow run_for(const Statement& statement, std::string& out);
  Value loop_items(const Statement& statement);
  void bind(const std::vector<std::string>& names, const Value& value, const char* what);
  void assign(const Statement& statement, Value value);
  Value block_text(const Statement& statement);
  void print_text(std::string_view text, std::string& out);

  Value evaluate(const Expr& expr);
  Value binary(const Expr& expr);
  Value add(const Value& a, const Value& b);
  Value multiply(const Value& a, const Value& b);
  Value divide(const std::string& op, const Value& a, const Value& b);
  Value unary(const Expr& expr);
  Value slice(const Expr& expr);
  List list(const Expr& expr);
  Value dict(const Expr& expr);
  Value call(const Expr& expr);
  Value call_builtin(const Expr& expr);
  Value call_macro(const MacroRef& callee, const Arguments& arguments);
  Value lookup(const std::string& name);
  Arguments arguments_of(const Expr& expr, size_t first);

  Budget budget_;
  std::vector<Scope> scopes_;  // the last is innermost; assignments go there
  // Namespaces may refer to each other in circles: all are emptied at the end.
  std::vector<std::shared_ptr<Dict>> namespaces_;
  int depth_ = 0;  // of calls of run_statement() and evaluate() inside each other
};

}  // namespace sparrow::jinja

#include "tokenizer/jinja/interpreter.h"

#include <fmt/format.h>

#include <algorithm>

#include "tokenizer/jinja/printing.h"

namespace sparrow::jinja {
namespace {

// Bounds the stack: a level takes about 1 kB of it. What the parser accepts nests to 600; macros
// that call themselves reach this.
constexpr int kMaxDepth = 1500;

}  // namespace

class Interpreter::DepthGuard {
 public:
  explicit DepthGuard(Interpreter& interpreter) : interpreter_(interpreter) {
    if (++interpreter_.depth_ > kMaxDepth)
      throw TemplateError("the macros call each other too deeply");
  }
  ~DepthGuard() { --interpreter_.depth_; }

 private:
  Interpreter& interpreter_;
};

Interpreter::Interpreter(const ChatTemplateLimits& limits, Dict variables) : budget_(limits) {
  scopes_.emplace_back();
  for (auto& [name, value] : variables) scopes_.front().insert_or_assign(name, std::move(value));
  scopes_.emplace_back();  // what the template sets itself
}

Interpreter::~Interpreter() {
  for (const auto& fields : namespaces_) fields->clear();
}

std::string Interpreter::render(const Body& body) {
  std::string out;
  run(body, out);
  return out;
}

Value Interpreter::lookup(const std::string& name) {
  budget_.step(scopes_.size() / 8);
  for (auto scope = scopes_.rbegin(); scope != scopes_.rend(); ++scope) {
    const auto found = scope->find(name);
    if (found != scope->end()) return found->second;
  }
  return Value::undefined(name);
}

void Interpreter::print_text(std::string_view text, std::string& out) {
  budget_.touch(text.size());
  budget_.check_size(out.size() + text.size());
  out += text;
}

Interpreter::Flow Interpreter::run(const Body& body, std::string& out) {
  for (const Statement& statement : body) {
    budget_.step();
    const Flow flow = run_statement(statement, out);
    if (flow != Flow::kNext) return flow;
  }
  return Flow::kNext;
}

Interpreter::Flow Interpreter::run_statement(const Statement& statement, std::string& out) {
  const DepthGuard guard(*this);
  switch (statement.kind) {
    case StatementKind::kText:
      print_text(statement.text, out);
      break;
    case StatementKind::kOutput:
      append_text(out, evaluate(*statement.expr), budget_);
      break;
    case StatementKind::kIf:
      return run(evaluate(*statement.expr).truthy() ? statement.body : statement.otherwise, out);
    case StatementKind::kFor:
      return run_for(statement, out);
    case StatementKind::kSet:
      assign(statement, evaluate(*statement.expr));
      break;
    case StatementKind::kSetBlock:
      assign(statement, block_text(statement));
      break;
    case StatementKind::kMacro:
      scopes_.back().insert_or_assign(statement.macro->name,
                                      MacroRef{statement.macro.get(), scopes_.size()});
      break;
    case StatementKind::kBreak:
      return Flow::kBreak;
    case StatementKind::kContinue:
      return Flow::kContinue;
  }
  return Flow::kNext;
}

Value Interpreter::block_text(const Statement& statement) {
  std::string text;
  scopes_.emplace_back();
  run(statement.body, text);
  scopes_.pop_back();
  return text;
}

void Interpreter::bind(const std::vector<std::string>& names, const Value& value,
                       const char* what) {
  Scope& scope = scopes_.back();
  budget_.step(names.size());
  if (names.size() == 1) {
    scope.insert_or_assign(names[0], value);
    return;
  }
  const Value parts = list_of(value, what, budget_);
  if (parts.list().size() != names.size())
    throw TemplateError(
        fmt::format("{}: {} values for {} names", what, parts.list().size(), names.size()));
  for (size_t i = 0; i < names.size(); ++i) scope.insert_or_assign(names[i], parts.list()[i]);
}

// The items of a for, without those its `if` leaves out.
Value Interpreter::loop_items(const Statement& statement) {
  const Value all = list_of(evaluate(*statement.expr), "for", budget_);
  if (statement.condition == nullptr) return all;
  List kept;
  scopes_.emplace_back();
  for (const Value& item : all.list()) {
    bind(statement.names, item, "for");
    if (evaluate(*statement.condition).truthy()) kept.push_back(item);
  }
  scopes_.pop_back();
  return kept;
}

Interpreter::Flow Interpreter::run_for(const Statement& statement, std::string& out) {
  const auto loop = std::make_shared<LoopState>();
  loop->items = loop_items(statement);
  bool finished_a_round = false;
  scopes_.emplace_back();
  const List& items = loop->items.list();
  for (; loop->index < items.size(); ++loop->index) {
    scopes_.back().clear();  // what one round sets is gone in the next
    bind(statement.names, items[loop->index], "for");
    scopes_.back().insert_or_assign("loop", loop);
    const Flow flow = run(statement.body, out);
    if (flow == Flow::kBreak) break;
    finished_a_round = finished_a_round || flow == Flow::kNext;
  }
  scopes_.pop_back();
  // As Jinja does: else also runs when every round was left by break or continue.
  return finished_a_round ? Flow::kNext : run(statement.otherwise, out);
}

void Interpreter::assign(const Statement& statement, Value value) {
  if (statement.attribute.empty()) return bind(statement.names, value, "set");
  const Value target = lookup(statement.names[0]);
  if (!target.is_namespace())
    throw TemplateError(
        fmt::format("'{}' is not a namespace: its attributes cannot be set", statement.names[0]));
  set_key(target.fields(), statement.attribute, std::move(value), budget_);
}

Arguments Interpreter::arguments_of(const Expr& expr, size_t first) {
  Arguments arguments;
  arguments.positional.reserve(expr.children.size() - first);
  for (size_t i = first; i < expr.children.size(); ++i)
    arguments.positional.push_back(evaluate(*expr.children[i]));
  for (const auto& [name, child] : expr.keywords)
    arguments.keywords.emplace_back(name, evaluate(*child));
  return arguments;
}

Value Interpreter::evaluate(const Expr& expr) {
  const DepthGuard guard(*this);
  budget_.step();
  switch (expr.kind) {
    case ExprKind::kLiteral:
      return expr.value;
    case ExprKind::kName:
      return lookup(expr.name);
    case ExprKind::kList:
      return list(expr);
    case ExprKind::kTuple:
      return Tuple{list(expr)};
    case ExprKind::kDict:
      return dict(expr);
    case ExprKind::kUnary:
      return unary(expr);
    case ExprKind::kBinary:
      return binary(expr);
    case ExprKind::kCondition:
      if (evaluate(*expr.children[1]).truthy()) return evaluate(*expr.children[0]);
      return expr.children.size() > 2 ? evaluate(*expr.children[2]) : Value();
    case ExprKind::kAttribute:
      return get_attribute(evaluate(*expr.children[0]), expr.name, budget_);
    case ExprKind::kIndex: {
      const Value object = evaluate(*expr.children[0]);
      return get_item(object, evaluate(*expr.children[1]), budget_);
    }
    case ExprKind::kSlice:
      return slice(expr);
    case ExprKind::kCall:
      return call(expr);
    case ExprKind::kMethod:
    case ExprKind::kFilter:
    case ExprKind::kTest:
      return call_builtin(expr);
  }
  return Value();
}

List Interpreter::list(const Expr& expr) {
  List items;
  items.reserve(expr.children.size());
  for (const auto& child : expr.children) items.push_back(evaluate(*child));
  return items;
}

Value Interpreter::dict(const Expr& expr) {
  Dict out;
  for (size_t i = 0; i + 1 < expr.children.size(); i += 2) {
    const Value key = evaluate(*expr.children[i]);
    if (!key.is_string()) throw TemplateError("the keys of a dict are strings");
    set_key(out, key.string(), evaluate(*expr.children[i + 1]), budget_);
  }
  return out;
}

Value Interpreter::call_builtin(const Expr& expr) {
  const Value subject = evaluate(*expr.children[0]);
  return expr.builtin->run(subject, arguments_of(expr, 1), budget_);
}

Value Interpreter::call(const Expr& expr) {
  const Arguments arguments = arguments_of(expr, 0);
  const Value callee = lookup(expr.name);
  if (callee.is_macro()) return call_macro(callee.macro(), arguments);
  if (expr.builtin == nullptr || !callee.is_undefined())
    throw TemplateError(fmt::format("line {}: '{}' cannot be called here", expr.line, expr.name));
  Value result = expr.builtin->run(Value(), arguments, budget_);
  if (result.is_namespace()) namespaces_.push_back(result.shared_fields());
  return result;
}

Value Interpreter::call_macro(const MacroRef& callee, const Arguments& arguments) {
  const Macro& macro = *callee.macro;
  if (arguments.positional.size() > macro.parameters.size())
    throw TemplateError(
        fmt::format("the macro '{}' takes {} arguments", macro.name, macro.parameters.size()));
  for (const auto& [name, value] : arguments.keywords) {
    const bool known = std::any_of(macro.parameters.begin(), macro.parameters.end(),
                                   [&](const auto& parameter) { return parameter.first == name; });
    if (!known)
      throw TemplateError(fmt::format("the macro '{}' has no argument '{}'", macro.name, name));
  }
  // A macro sees what surrounds its definition, not what surrounds the call.
  const auto visible = static_cast<ptrdiff_t>(std::min(callee.num_scopes, scopes_.size()));
  std::vector<Scope> hidden(std::make_move_iterator(scopes_.begin() + visible),
                            std::make_move_iterator(scopes_.end()));
  scopes_.resize(static_cast<size_t>(visible));
  scopes_.emplace_back();
  for (size_t i = 0; i < macro.parameters.size(); ++i) {
    const auto& [name, otherwise] = macro.parameters[i];
    const Value* given = arguments.find(i, name);
    Value value = given != nullptr       ? *given
                  : otherwise != nullptr ? evaluate(*otherwise)
                                         : Value::undefined(name);
    scopes_.back().insert_or_assign(name, std::move(value));
  }
  std::string out;
  run(macro.body, out);
  scopes_.resize(static_cast<size_t>(visible));
  std::move(hidden.begin(), hidden.end(), std::back_inserter(scopes_));
  return out;
}

}  // namespace sparrow::jinja

#include "tokenizer/jinja_interpreter.h"

#include <fmt/format.h>

#include <algorithm>

namespace sparrow::jinja {
namespace {

constexpr int kMaxMacroDepth = 20;
// What the variables of one round cost: a round is dearer than a step.
constexpr size_t kLoopRoundBytes = 4096;

}  // namespace

Interpreter::Interpreter(const ChatTemplateLimits& limits, Dict variables) : budget_(limits) {
  scopes_.emplace_back();
  for (auto& [name, value] : variables) scopes_.front().insert_or_assign(name, std::move(value));
  scopes_.emplace_back();  // what the template sets itself
}

std::string Interpreter::render(const Body& body) {
  std::string out;
  run(body, out);
  return out;
}

Value Interpreter::lookup(const std::string& name) const {
  for (auto scope = scopes_.rbegin(); scope != scopes_.rend(); ++scope) {
    const auto found = scope->find(name);
    if (found != scope->end()) return found->second;
  }
  return Value::undefined(name);
}

void Interpreter::print(const Value& value, std::string& out) {
  const size_t before = out.size();
  append_text(out, value);
  budget_.make(out.size() - before);
  if (out.size() > budget_.limits().max_output_bytes)
    throw TemplateError("the template makes too much text");
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
  switch (statement.kind) {
    case StatementKind::kText:
      print(statement.text, out);
      break;
    case StatementKind::kOutput:
      print(evaluate(*statement.expr), out);
      break;
    case StatementKind::kIf:
      return run(evaluate(*statement.expr).truthy() ? statement.body : statement.otherwise, out);
    case StatementKind::kFor:
      return run_for(statement, out);
    case StatementKind::kSet:
      assign(statement);
      break;
    case StatementKind::kSetBlock: {
      std::string text;
      scopes_.emplace_back();
      run(statement.body, text);
      scopes_.pop_back();
      scopes_.back().insert_or_assign(statement.names[0], std::move(text));
      break;
    }
    case StatementKind::kMacro:
      scopes_.back().insert_or_assign(statement.macro->name, MacroRef{statement.macro.get()});
      break;
    case StatementKind::kBreak:
      return Flow::kBreak;
    case StatementKind::kContinue:
      return Flow::kContinue;
  }
  return Flow::kNext;
}

void Interpreter::bind_loop_variables(const Statement& statement, const Value& item) {
  Scope& scope = scopes_.back();
  if (statement.names.size() == 1) {
    scope.insert_or_assign(statement.names[0], item);
    return;
  }
  const List parts = items_of(item, "for", budget_);
  if (parts.size() != statement.names.size())
    throw TemplateError("for: the items do not match the loop variables");
  for (size_t i = 0; i < parts.size(); ++i) scope.insert_or_assign(statement.names[i], parts[i]);
}

Interpreter::Flow Interpreter::run_for(const Statement& statement, std::string& out) {
  List items = items_of(evaluate(*statement.expr), "for", budget_);
  scopes_.emplace_back();
  if (statement.condition != nullptr) {
    std::erase_if(items, [&](const Value& item) {
      bind_loop_variables(statement, item);
      return !evaluate(*statement.condition).truthy();
    });
  }
  const auto size = static_cast<int64_t>(items.size());
  for (int64_t i = 0; i < size; ++i) {
    scopes_.back().clear();  // what one round sets is gone in the next
    budget_.make(kLoopRoundBytes);
    bind_loop_variables(statement, items[static_cast<size_t>(i)]);
    Dict loop = {{"index", i + 1},       {"index0", i},
                 {"revindex", size - i}, {"revindex0", size - i - 1},
                 {"first", i == 0},      {"last", i == size - 1},
                 {"length", size}};
    if (i > 0) loop.emplace_back("previtem", items[static_cast<size_t>(i - 1)]);
    if (i + 1 < size) loop.emplace_back("nextitem", items[static_cast<size_t>(i + 1)]);
    scopes_.back().insert_or_assign("loop", std::move(loop));
    if (run(statement.body, out) == Flow::kBreak) break;
  }
  scopes_.pop_back();
  return size == 0 ? run(statement.otherwise, out) : Flow::kNext;
}

void Interpreter::assign(const Statement& statement) {
  Value value = evaluate(*statement.expr);
  if (!statement.attribute.empty()) {
    const Value target = lookup(statement.names[0]);
    if (!target.is_namespace())
      throw TemplateError(
          fmt::format("'{}' is not a namespace: its attributes cannot be set", statement.names[0]));
    Dict& fields = target.fields();
    const auto found = std::find_if(fields.begin(), fields.end(), [&](const auto& field) {
      return field.first == statement.attribute;
    });
    if (found != fields.end()) {
      found->second = std::move(value);
    } else {
      budget_.make(sizeof(Value));
      fields.emplace_back(statement.attribute, std::move(value));
    }
    return;
  }
  Scope& scope = scopes_.back();
  if (statement.names.size() == 1) {
    scope.insert_or_assign(statement.names[0], std::move(value));
    return;
  }
  const List parts = items_of(value, "set", budget_);
  if (parts.size() != statement.names.size())
    throw TemplateError("set: the values do not match the names");
  for (size_t i = 0; i < parts.size(); ++i) scope.insert_or_assign(statement.names[i], parts[i]);
}

Arguments Interpreter::arguments_of(const Expr& expr, size_t first) {
  Arguments arguments;
  for (size_t i = first; i < expr.children.size(); ++i)
    arguments.positional.push_back(evaluate(*expr.children[i]));
  for (const auto& [name, child] : expr.keywords)
    arguments.keywords.emplace_back(name, evaluate(*child));
  return arguments;
}

Value Interpreter::evaluate(const Expr& expr) {
  budget_.step();
  switch (expr.kind) {
    case ExprKind::kLiteral:
      return expr.value;
    case ExprKind::kName:
      return lookup(expr.name);
    case ExprKind::kList: {
      List list;
      for (const auto& child : expr.children) list.push_back(evaluate(*child));
      return list;
    }
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
      return get_attribute(evaluate(*expr.children[0]), expr.name);
    case ExprKind::kIndex: {
      const Value object = evaluate(*expr.children[0]);
      if (object.is_string()) budget_.make(object.string().size());
      return get_item(object, evaluate(*expr.children[1]));
    }
    case ExprKind::kSlice:
      return slice(expr);
    case ExprKind::kCall:
      return call(expr);
    case ExprKind::kMethod: {
      const Value object = evaluate(*expr.children[0]);
      return call_method(expr.name, object, arguments_of(expr, 1), budget_);
    }
    case ExprKind::kFilter: {
      const Value object = evaluate(*expr.children[0]);
      return call_filter(expr.name, object, arguments_of(expr, 1), budget_);
    }
    case ExprKind::kTest: {
      const Value object = evaluate(*expr.children[0]);
      return call_test(expr.name, object, arguments_of(expr, 1), budget_);
    }
  }
  return Value();
}

Value Interpreter::dict(const Expr& expr) {
  Dict out;
  for (size_t i = 0; i + 1 < expr.children.size(); i += 2) {
    const Value key = evaluate(*expr.children[i]);
    if (!key.is_string()) throw TemplateError("the keys of a dict are strings");
    out.emplace_back(key.string(), evaluate(*expr.children[i + 1]));
  }
  return out;
}

Value Interpreter::call(const Expr& expr) {
  const Arguments arguments = arguments_of(expr, 0);
  const Value callee = lookup(expr.name);
  if (callee.is_macro()) return call_macro(callee.macro(), arguments);
  if (!is_known_function(expr.name))
    throw TemplateError(fmt::format("line {}: '{}' cannot be called here", expr.line, expr.name));
  return call_function(expr.name, arguments, budget_);
}

Value Interpreter::call_macro(const Macro& macro, const Arguments& arguments) {
  if (++macro_depth_ > kMaxMacroDepth)
    throw TemplateError(fmt::format("the macro '{}' calls itself too often", macro.name));
  if (arguments.positional.size() > macro.parameters.size())
    throw TemplateError(fmt::format("the macro '{}' takes fewer arguments", macro.name));
  // A macro sees what the template set at its top, not the loops around the call.
  std::vector<Scope> inner(scopes_.begin() + 2, scopes_.end());
  scopes_.resize(2);
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
  scopes_.resize(2);
  std::move(inner.begin(), inner.end(), std::back_inserter(scopes_));
  --macro_depth_;
  return out;
}

}  // namespace sparrow::jinja

#pragma once
// The parsed template: expressions and statements as plain trees. Built once by parser.h, read
// by any number of renderings.

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tokenizer/jinja/builtins.h"

namespace sparrow::jinja {

enum class ExprKind {
  kLiteral,    // value
  kName,       // name
  kList,       // children
  kTuple,      // children
  kDict,       // children: key, value, key, value
  kUnary,      // name: "-" "+" "not"
  kBinary,     // name: operator; "and" "or" do not evaluate the right side needlessly
  kCondition,  // children: then, condition[, else]
  kAttribute,  // children[0].name
  kIndex,      // children[0][children[1]]
  kSlice,      // children: object, begin, end, step; missing ones are literal None
  kCall,       // name(children, keywords): a macro, else the built-in function
  kMethod,     // children[0].name(children[1...], keywords)
  kFilter,     // children[0] | name(children[1...], keywords)
  kTest,       // children[0] is name(children[1...]); negated by "not" around it
};

struct Expr {
  ExprKind kind = ExprKind::kLiteral;
  int line = 1;
  int depth = 1;  // of the tree below, bounded by the parser
  std::string name;
  const Builtin* builtin = nullptr;  // of kCall, kMethod, kFilter, kTest
  Value value;
  std::vector<std::unique_ptr<Expr>> children;
  std::vector<std::pair<std::string, std::unique_ptr<Expr>>> keywords;
};
using ExprPtr = std::unique_ptr<Expr>;

enum class StatementKind {
  kText,      // text
  kOutput,    // expr
  kIf,        // expr, body, otherwise (an elif is an if inside it)
  kFor,       // names in expr [if condition], body, otherwise
  kSet,       // names = expr, or attribute of a namespace: names[0].attribute = expr
  kSetBlock,  // names[0] = rendered body, or attribute of a namespace
  kMacro,     // macro
  kBreak,
  kContinue,
};

struct Statement;
using Body = std::vector<Statement>;

struct Macro {
  std::string name;
  std::vector<std::pair<std::string, ExprPtr>> parameters;  // with default or null
  Body body;
};

struct Statement {
  StatementKind kind = StatementKind::kText;
  int line = 1;
  std::string text;
  std::vector<std::string> names;
  std::string attribute;
  ExprPtr expr;
  ExprPtr condition;
  Body body;
  Body otherwise;
  std::unique_ptr<Macro> macro;
};

}  // namespace sparrow::jinja

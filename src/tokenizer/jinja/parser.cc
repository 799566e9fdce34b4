#include "tokenizer/jinja/parser.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

namespace sparrow::jinja {
namespace {

class StatementParser {
 public:
  StatementParser(const std::vector<Token>& tokens, size_t max_depth)
      : in_(tokens, max_depth), max_depth_(max_depth) {}

  Body run() {
    Body body = statements({});
    if (in_.peek().kind != TokenKind::kEnd) in_.fail("text after the end");
    for (const auto& [name, line, complaint] : in_.called()) {
      if (!macros_.contains(name)) throw TemplateError(fmt::format("line {}: {}", line, complaint));
    }
    return body;
  }

 private:
  // Statements up to a block whose name is in `ends`; that name is still to be read.
  Body statements(const std::vector<std::string_view>& ends) {
    if (++depth_ > max_depth_) in_.fail("the blocks are nested too deeply");
    Body body;
    while (true) {
      const Token& token = in_.peek();
      if (token.kind == TokenKind::kEnd) {
        if (!ends.empty()) in_.fail(fmt::format("'{}' is missing", ends.back()));
        break;
      }
      if (token.kind == TokenKind::kText) {
        Statement text;
        text.line = token.line;
        text.text = in_.next().text;
        body.push_back(std::move(text));
      } else if (token.kind == TokenKind::kOpenOutput) {
        body.push_back(output());
      } else {
        const Token& name = in_.peek(1);
        const bool is_end = name.kind == TokenKind::kName &&
                            std::find(ends.begin(), ends.end(), name.text) != ends.end();
        if (is_end) {
          in_.next();
          break;
        }
        block(body);
      }
    }
    --depth_;
    return body;
  }

  Statement output() {
    Statement statement = start(StatementKind::kOutput);
    statement.expr = in_.expression_or_tuple();
    if (in_.next().kind != TokenKind::kCloseOutput) in_.fail("expected }}");
    return statement;
  }

  Statement start(StatementKind kind) {
    Statement statement;
    statement.kind = kind;
    statement.line = in_.next().line;
    return statement;
  }

  void close() {
    if (in_.peek().kind != TokenKind::kCloseBlock)
      in_.fail(fmt::format("expected %}}, found '{}'", in_.peek().text));
    in_.next();
  }

  void end(std::string_view name) {
    if (!in_.take_name(name)) in_.fail(fmt::format("expected '{}'", name));
    close();
  }

  void block(Body& body) {
    const std::string name = in_.peek(1).kind == TokenKind::kName ? in_.peek(1).text : "";
    Statement statement = start(StatementKind::kText);
    in_.next();
    if (name == "if") return body.push_back(if_block(std::move(statement)));
    if (name == "for") return body.push_back(for_block(std::move(statement)));
    if (name == "set") return body.push_back(set_block(std::move(statement)));
    if (name == "macro") return body.push_back(macro_block(std::move(statement)));
    if (name == "generation") {  // marks assistant text for training: nothing to do here
      close();
      Body inner = statements({"endgeneration"});
      end("endgeneration");
      std::move(inner.begin(), inner.end(), std::back_inserter(body));
      return;
    }
    if (name == "break" || name == "continue") {
      if (num_loops_ == 0) in_.fail(fmt::format("'{}' outside of a loop", name));
      statement.kind = name == "break" ? StatementKind::kBreak : StatementKind::kContinue;
      close();
      return body.push_back(std::move(statement));
    }
    in_.fail(fmt::format("unknown statement '{}'", name));
  }

  Statement if_block(Statement statement) {
    statement.kind = StatementKind::kIf;
    statement.expr = in_.expression_or_tuple();
    close();
    statement.body = statements({"elif", "else", "endif"});
    if (in_.is_name("elif")) {
      if (++depth_ > max_depth_) in_.fail("too many elif");
      Statement other;
      other.line = in_.next().line;
      statement.otherwise.push_back(if_block(std::move(other)));
      --depth_;
      return statement;  // the inner one read endif
    }
    if (in_.take_name("else")) {
      close();
      statement.otherwise = statements({"endif"});
    }
    end("endif");
    return statement;
  }

  Statement for_block(Statement statement) {
    statement.kind = StatementKind::kFor;
    const bool in_parentheses = in_.take_operator("(");
    do {
      statement.names.push_back(in_.expect_target("a loop variable"));
    } while (in_.take_operator(","));
    if (in_parentheses) in_.expect_operator(")");
    if (!in_.take_name("in")) in_.fail("expected 'in'");
    statement.expr = in_.without_condition();
    if (in_.take_name("if")) statement.condition = in_.expression();
    if (in_.is_name("recursive")) in_.fail("recursive loops are not supported");
    close();
    ++num_loops_;
    statement.body = statements({"else", "endfor"});
    --num_loops_;
    if (in_.take_name("else")) {
      close();
      statement.otherwise = statements({"endfor"});
    }
    end("endfor");
    return statement;
  }

  Statement set_block(Statement statement) {
    statement.kind = StatementKind::kSet;
    const bool in_parentheses = in_.take_operator("(");
    do {
      statement.names.push_back(in_.expect_target("a name"));
    } while (in_.take_operator(","));
    if (in_parentheses) in_.expect_operator(")");
    if (statement.names.size() == 1 && in_.take_operator("."))
      statement.attribute = in_.expect_identifier("an attribute");
    if (in_.take_operator("=")) {
      statement.expr = in_.expression_or_tuple();
      close();
      return statement;
    }
    if (statement.names.size() > 1) in_.fail("expected '='");
    if (in_.is_operator("|")) in_.fail("filters of a set block are not supported");
    close();
    statement.kind = StatementKind::kSetBlock;
    statement.body = statements({"endset"});
    end("endset");
    return statement;
  }

  Statement macro_block(Statement statement) {
    statement.kind = StatementKind::kMacro;
    statement.macro = std::make_unique<Macro>();
    statement.macro->name = in_.expect_target("a macro name");
    in_.expect_operator("(");
    while (!in_.is_operator(")")) {
      std::string name = in_.expect_target("a parameter");
      ExprPtr otherwise;
      if (in_.take_operator("=")) otherwise = in_.expression();
      statement.macro->parameters.emplace_back(std::move(name), std::move(otherwise));
      if (!in_.take_operator(",")) break;
    }
    in_.expect_operator(")");
    close();
    macros_.insert(statement.macro->name);
    const int num_outer_loops = std::exchange(num_loops_, 0);
    statement.macro->body = statements({"endmacro"});
    num_loops_ = num_outer_loops;
    end("endmacro");
    return statement;
  }

  ExpressionParser in_;
  const size_t max_depth_;
  size_t depth_ = 0;
  int num_loops_ = 0;
  std::set<std::string> macros_;
};

}  // namespace

Body parse_template(const std::vector<Token>& tokens, size_t max_depth) {
  return StatementParser(tokens, max_depth).run();
}

}  // namespace sparrow::jinja

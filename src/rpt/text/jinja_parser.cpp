// SPDX-License-Identifier: MIT
#include <initializer_list>

#include "rpt/text/jinja_expression_parser.h"

namespace rpt::text::jinja {
namespace {

class Parser : private ExpressionParser {
 public:
  using ExpressionParser::ExpressionParser;

  std::vector<Statement> run() {
    std::vector<Statement> statements = block({});
    if (now().kind != Token::Kind::end) unexpected();
    return statements;
  }

 private:
  /// Statements up to a tag that begins with one of `ends`, which is left to be read.
  std::vector<Statement> block(std::initializer_list<std::string_view> ends) {
    const Deeper deeper(*this);
    std::vector<Statement> statements;
    while (now().kind != Token::Kind::end) {
      if (now().kind == Token::Kind::block_begin && ahead().kind == Token::Kind::name &&
          std::find(ends.begin(), ends.end(), ahead().text) != ends.end()) {
        take();
        return statements;
      }
      statements.push_back(statement());
    }
    if (ends.size() > 0) fail(fmt::format("the template ends before '{}'", fmt::join(ends, "' or '")));
    return statements;
  }

  Statement begin(Statement::Kind kind) const {
    Statement s;
    s.kind = kind;
    s.line = now().line;
    return s;
  }

  Statement statement() {
    if (now().kind == Token::Kind::data) {
      Statement s = begin(Statement::Kind::data);
      s.text = take().text;
      return s;
    }
    if (now().kind == Token::Kind::print_begin) {
      Statement s = begin(Statement::Kind::print);
      take();
      s.expression = tuple_or_expression(true);
      drop_safe(s.expression);
      refuse_safe_within();
      expect(Token::Kind::print_end);
      return s;
    }
    expect(Token::Kind::block_begin);
    if (now().kind != Token::Kind::name) unexpected();
    Statement s = tag(now().text);
    refuse_safe_within();
    expect(Token::Kind::block_end);
    return s;
  }

  Statement tag(const std::string& name) {
    if (name == "if") return condition();
    if (name == "for") return loop();
    if (name == "set") return set();
    if (name == "macro") return macro();
    if (name == "break" || name == "continue") {
      if (loops_ == 0) fail(fmt::format("'{}' outside of a for", name));
      Statement s = begin(name == "break" ? Statement::Kind::leave : Statement::Kind::next);
      take();
      return s;
    }
    if (name == "generation") {
      Statement s = begin(Statement::Kind::scope);
      take();
      expect(Token::Kind::block_end);
      const int outer = std::exchange(loops_, 0);
      s.body = block({"endgeneration"});
      loops_ = outer;
      take();
      return s;
    }
    for (const std::string_view known : {"elif", "else", "endif", "endfor", "endset", "endmacro", "endgeneration"}) {
      if (name == known) fail(fmt::format("'{}' without what it belongs to", name));
    }
    fail(fmt::format("the tag '{}' is not supported", for_message(name)));
  }

  /// From behind `if` or `elif` to behind `endif`.
  Statement condition() {
    const Deeper deeper(*this);
    Statement s = begin(Statement::Kind::condition);
    take();
    s.expression = tuple_or_expression(false);
    expect(Token::Kind::block_end);
    s.body = block({"elif", "else", "endif"});
    if (is_name("elif")) {
      s.otherwise.push_back(condition());
      return s;
    }
    if (skip_name("else")) {
      expect(Token::Kind::block_end);
      s.otherwise = block({"endif"});
    }
    take();
    return s;
  }

  Statement loop() {
    Statement s = begin(Statement::Kind::loop);
    take();
    s.target.names = target_names();
    if (!skip_name("in")) unexpected();
    s.expression = tuple_or_expression(false);
    if (skip_name("if")) s.condition = expression();
    if (is_name("recursive")) fail("a recursive for is not supported");
    expect(Token::Kind::block_end);
    ++loops_;
    s.body = block({"else", "endfor"});
    --loops_;
    if (skip_name("else")) {
      expect(Token::Kind::block_end);
      s.otherwise = block({"endfor"});
    }
    take();
    return s;
  }

  std::vector<std::string> target_names() {
    const bool bracket = skip_symbol("(");
    std::vector<std::string> names;
    do {
      names.push_back(expect_name());
      check_assignable(names.back());
    } while (skip_symbol(",") && now().kind == Token::Kind::name && !is_name("in"));
    if (bracket) expect_symbol(")");
    return names;
  }

  void check_assignable(const std::string& name) const {
    for (const std::string_view constant :
         {"true", "false", "none", "True", "False", "None", "not", "and", "or", "in", "is", "if", "else"}) {
      if (name == constant) fail(fmt::format("'{}' cannot be assigned", name));
    }
  }

  Statement set() {
    Statement s = begin(Statement::Kind::set);
    take();
    if (now().kind == Token::Kind::name && ahead().kind == Token::Kind::symbol && ahead().text == ".") {
      s.target.names.push_back(take().text);
      take();
      s.target.attribute = expect_name();
    } else {
      s.target.names = target_names();
    }
    if (skip_symbol("=")) {
      s.expression = tuple_or_expression(true);
      return s;
    }
    if (s.target.names.size() > 1) unexpected();
    s.kind = Statement::Kind::set_block;
    if (is_symbol("|")) s.expression = filters(nullptr);
    expect(Token::Kind::block_end);
    const int outer = std::exchange(loops_, 0);
    s.body = block({"endset"});
    loops_ = outer;
    take();
    return s;
  }

  Statement macro() {
    Statement s = begin(Statement::Kind::macro);
    take();
    s.text = expect_name();
    check_assignable(s.text);
    expect_symbol("(");
    while (!skip_symbol(")")) {
      if (!s.parameters.empty()) expect_symbol(",");
      std::string name = expect_name();
      check_assignable(name);
      ExpressionPtr otherwise;
      if (skip_symbol("=")) {
        otherwise = expression();
      } else if (!s.parameters.empty() && s.parameters.back().second != nullptr) {
        fail("a parameter without default behind one with default");
      }
      s.parameters.emplace_back(std::move(name), std::move(otherwise));
    }
    expect(Token::Kind::block_end);
    const int outer = std::exchange(loops_, 0);
    ++macros_;
    s.body = block({"endmacro"});
    --macros_;
    loops_ = outer;
    take();
    return s;
  }

  int loops_ = 0;
};

}  // namespace

std::vector<Statement> parse(std::string_view source, const std::string& where) {
  return Parser(tokenize(source, where), where).run();
}

}  // namespace rpt::text::jinja

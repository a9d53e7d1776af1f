// SPDX-License-Identifier: MIT
#pragma once
#include <algorithm>
#include <array>
#include <charconv>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "rpt/core/error.h"
#include "rpt/text/jinja_syntax.h"
#include "rpt/text/utf8.h"

namespace rpt::text::jinja {

/// Nested expressions and statements; a tree is evaluated, and taken down, by recursion.
inline constexpr int kMostDepth = 150;

/// Reads expressions by recursive descent, with jinja2's precedence. Only for jinja_parser.cpp, which adds statements.
class ExpressionParser {
 public:
  ExpressionParser(std::vector<Token> tokens, const std::string& where) : tokens_(std::move(tokens)), where_(where) {}

 protected:
  using Kind = Expression::Kind;

  // Tokens.
  const Token& now() const { return tokens_[at_]; }
  const Token& ahead() const { return tokens_[std::min(at_ + 1, tokens_.size() - 1)]; }
  const Token& take() { return tokens_[at_ + 1 < tokens_.size() ? at_++ : at_]; }
  bool is_symbol(std::string_view text) const { return now().kind == Token::Kind::symbol && now().text == text; }
  bool is_name(std::string_view text) const { return now().kind == Token::Kind::name && now().text == text; }
  bool skip_symbol(std::string_view text) {
    if (!is_symbol(text)) return false;
    take();
    return true;
  }
  bool skip_name(std::string_view text) {
    if (!is_name(text)) return false;
    take();
    return true;
  }
  [[noreturn]] void fail(const std::string& what) const { fail_at(where_, now().line, what); }
  [[noreturn]] void unexpected() const {
    switch (now().kind) {
      case Token::Kind::end:
        fail("the template ends too early");
      case Token::Kind::print_end:
      case Token::Kind::block_end:
        fail("a tag ends too early");
      default:
        fail(fmt::format("'{}' is not expected here", for_message(now().text)));
    }
  }
  void expect_symbol(std::string_view text) {
    if (!skip_symbol(text)) unexpected();
  }
  void expect(Token::Kind kind) {
    if (now().kind != kind) unexpected();
    take();
  }
  std::string expect_name() {
    if (now().kind != Token::Kind::name) unexpected();
    return take().text;
  }

  /// Counts the recursion of the parser itself.
  class Deeper {
   public:
    explicit Deeper(ExpressionParser& parser) : parser_(parser) {
      if (++parser_.depth_ > kMostDepth) parser_.fail(fmt::format("nested deeper than {} levels", kMostDepth));
    }
    ~Deeper() { --parser_.depth_; }
    Deeper(const Deeper&) = delete;
    Deeper& operator=(const Deeper&) = delete;

   private:
    ExpressionParser& parser_;
  };

  // Expressions, from the loosest to the tightest.

  ExpressionPtr make(Kind kind) const {
    auto e = std::make_unique<Expression>();
    e->kind = kind;
    e->line = now().line;
    return e;
  }

  /// Adds an operand and keeps the depth of the tree within bounds.
  void add(Expression& e, ExpressionPtr argument) const {
    if (argument) {
      e.depth = std::max(e.depth, argument->depth + 1);
      if (e.depth > kMostDepth) fail(fmt::format("an expression of more than {} levels", kMostDepth));
    }
    e.arguments.push_back(std::move(argument));
  }

  ExpressionPtr binary(Kind kind, ExpressionPtr left, ExpressionPtr right, char operation = '\0') const {
    ExpressionPtr e = make(kind);
    add(*e, std::move(left));
    add(*e, std::move(right));
    if (operation != '\0') e->operations = operation;
    return e;
  }

  /// `a`, or `a, b` as a tuple.
  ExpressionPtr tuple_or_expression(bool with_condition) {
    const auto one = [&] { return with_condition ? expression() : disjunction(); };
    ExpressionPtr first = one();
    if (!is_symbol(",")) return first;
    ExpressionPtr tuple = make(Kind::tuple);
    add(*tuple, std::move(first));
    while (skip_symbol(",") && !ends_tuple()) add(*tuple, one());
    return tuple;
  }
  bool ends_tuple() const {
    return now().kind == Token::Kind::print_end || now().kind == Token::Kind::block_end || is_symbol(")") ||
           is_name("if") || is_name("recursive");
  }

  ExpressionPtr expression() {
    const Deeper deeper(*this);
    ExpressionPtr value = disjunction();
    while (skip_name("if")) {
      ExpressionPtr e = make(Kind::conditional);
      add(*e, disjunction());
      add(*e, std::move(value));
      add(*e, skip_name("else") ? expression() : nullptr);
      value = std::move(e);
    }
    return value;
  }

  ExpressionPtr disjunction() {
    ExpressionPtr left = conjunction();
    while (skip_name("or")) left = binary(Kind::logical_or, std::move(left), conjunction());
    return left;
  }

  ExpressionPtr conjunction() {
    ExpressionPtr left = negation();
    while (skip_name("and")) left = binary(Kind::logical_and, std::move(left), negation());
    return left;
  }

  ExpressionPtr negation() {
    if (!is_name("not")) return comparison();
    const Deeper deeper(*this);
    ExpressionPtr e = make(Kind::logical_not);
    take();
    add(*e, negation());
    return e;
  }

  /// The operation of a comparison that stands here, taken, or '\0'.
  char comparison_operation() {
    constexpr std::array<std::pair<std::string_view, char>, 6> kSymbols = {
        {{"==", '='}, {"!=", '!'}, {"<", '<'}, {"<=", 'l'}, {">", '>'}, {">=", 'g'}}};
    for (const auto& [text, operation] : kSymbols) {
      if (skip_symbol(text)) return operation;
    }
    if (skip_name("in")) return 'i';
    if (is_name("not") && ahead().kind == Token::Kind::name && ahead().text == "in") {
      take();
      take();
      return 'n';
    }
    return '\0';
  }

  ExpressionPtr comparison() {
    ExpressionPtr first = sum();
    char operation = comparison_operation();
    if (operation == '\0') return first;
    ExpressionPtr e = make(Kind::compare);
    add(*e, std::move(first));
    for (; operation != '\0'; operation = comparison_operation()) {
      e->operations += operation;
      add(*e, sum());
    }
    return e;
  }

  ExpressionPtr sum() {
    ExpressionPtr left = concatenation();
    while (is_symbol("+") || is_symbol("-")) {
      const char operation = take().text.front();
      left = binary(Kind::arithmetic, std::move(left), concatenation(), operation);
    }
    return left;
  }

  ExpressionPtr concatenation() {
    ExpressionPtr first = product();
    if (!is_symbol("~")) return first;
    ExpressionPtr e = make(Kind::concatenate);
    add(*e, std::move(first));
    while (skip_symbol("~")) add(*e, product());
    return e;
  }

  ExpressionPtr product() {
    ExpressionPtr left = unary(true);
    while (is_symbol("*") || is_symbol("/") || is_symbol("//") || is_symbol("%")) {
      const std::string text = take().text;
      left = binary(Kind::arithmetic, std::move(left), unary(true), text == "//" ? 'f' : text.front());
    }
    if (is_symbol("**")) fail("the operator '**' is not supported");
    return left;
  }

  ExpressionPtr unary(bool with_filters) {
    const Deeper deeper(*this);
    ExpressionPtr e;
    if (is_symbol("-") || is_symbol("+")) {
      e = make(is_symbol("-") ? Kind::minus : Kind::plus);
      take();
      add(*e, unary(false));
    } else {
      e = primary();
    }
    e = postfix(std::move(e));
    return with_filters ? filters_and_tests(std::move(e)) : std::move(e);
  }

  ExpressionPtr primary() {
    switch (now().kind) {
      case Token::Kind::name:
        return name();
      case Token::Kind::string: {
        ExpressionPtr e = make(Kind::constant);
        std::string text = take().text;
        while (now().kind == Token::Kind::string) text += take().text;
        e->constant.is = std::make_shared<const std::string>(std::move(text));
        return e;
      }
      case Token::Kind::integer:
      case Token::Kind::real:
        return numeral();
      default:
        break;
    }
    if (skip_symbol("(")) return parenthesis();
    if (skip_symbol("[")) return sequence();
    if (skip_symbol("{")) return dict();
    unexpected();
  }

  ExpressionPtr name() {
    const std::string text = now().text;
    for (const std::string_view keyword : {"not", "and", "or", "in", "is", "if", "else"}) {
      if (text == keyword) unexpected();
    }
    for (const std::string_view refused : {"lipsum", "cycler", "joiner", "caller", "self", "super"}) {
      if (text == refused) fail(fmt::format("'{}' is not supported", text));
    }
    // In a macro jinja2 puts there what no parameter takes.
    if (macros_ > 0 && (text == "varargs" || text == "kwargs")) {
      fail(fmt::format("'{}' in a macro is not supported", text));
    }
    ExpressionPtr e = make(Kind::name);
    e->name = text;
    take();
    if (text == "true" || text == "True" || text == "false" || text == "False") {
      e->kind = Kind::constant;
      e->constant.is = text == "true" || text == "True";
    } else if (text == "none" || text == "None") {
      e->kind = Kind::constant;
      e->constant.is = None();
    }
    return e;
  }

  ExpressionPtr numeral() {
    ExpressionPtr e = make(Kind::constant);
    const std::string& text = now().text;
    const char* end = text.data() + text.size();
    std::int64_t whole = 0;
    double real = 0;
    const bool is_whole = now().kind == Token::Kind::integer;
    const auto error =
        is_whole ? std::from_chars(text.data(), end, whole).ec : std::from_chars(text.data(), end, real).ec;
    if (error != std::errc()) fail(fmt::format("the number {} is too large", for_message(text)));
    if (is_whole) {
      e->constant.is = whole;
    } else {
      e->constant.is = real;
    }
    take();
    return e;
  }

  ExpressionPtr parenthesis() {
    ExpressionPtr e = make(Kind::tuple);
    if (skip_symbol(")")) return e;
    e = tuple_or_expression(true);
    expect_symbol(")");
    return e;
  }

  ExpressionPtr sequence() {
    ExpressionPtr e = make(Kind::list);
    while (!skip_symbol("]")) {
      if (!e->arguments.empty()) {
        expect_symbol(",");
        if (skip_symbol("]")) break;
      }
      add(*e, expression());
    }
    return e;
  }

  ExpressionPtr dict() {
    ExpressionPtr e = make(Kind::dict);
    while (!skip_symbol("}")) {
      if (!e->arguments.empty()) {
        expect_symbol(",");
        if (skip_symbol("}")) break;
      }
      add(*e, expression());
      expect_symbol(":");
      add(*e, expression());
    }
    return e;
  }

  ExpressionPtr postfix(ExpressionPtr e) {
    while (true) {
      if (skip_symbol(".")) {
        ExpressionPtr outer = make(Kind::attribute);
        add(*outer, std::move(e));
        if (now().kind == Token::Kind::integer) {
          outer->kind = Kind::item;
          add(*outer, numeral());
        } else {
          outer->name = expect_name();
        }
        e = std::move(outer);
      } else if (skip_symbol("[")) {
        e = subscript(std::move(e));
      } else if (skip_symbol("(")) {
        e = call(std::move(e));
      } else {
        return e;
      }
    }
  }

  ExpressionPtr subscript(ExpressionPtr e) {
    ExpressionPtr outer = make(Kind::item);
    add(*outer, std::move(e));
    const auto part = [&] { return is_symbol(":") || is_symbol("]") ? nullptr : expression(); };
    ExpressionPtr first = part();
    if (is_symbol(":")) {
      outer->kind = Kind::slice;
      add(*outer, std::move(first));
      take();
      add(*outer, part());
      add(*outer, skip_symbol(":") ? part() : nullptr);
    } else if (first == nullptr) {
      unexpected();
    } else {
      add(*outer, std::move(first));
    }
    expect_symbol("]");
    return outer;
  }

  /// A call of `e`, from behind the opening bracket to behind the closing one.
  ExpressionPtr call(ExpressionPtr e) {
    ExpressionPtr outer = make(Kind::call);
    add(*outer, std::move(e));
    arguments(*outer);
    return outer;
  }

  void arguments(Expression& e) {
    bool first = true;
    while (!skip_symbol(")")) {
      if (!first) {
        expect_symbol(",");
        if (skip_symbol(")")) return;
      }
      first = false;
      if (is_symbol("*") || is_symbol("**")) fail("unpacked arguments are not supported");
      if (now().kind == Token::Kind::name && ahead().kind == Token::Kind::symbol && ahead().text == "=") {
        std::string name = take().text;
        take();
        ExpressionPtr value = expression();
        e.depth = std::max(e.depth, value->depth + 1);
        e.named.emplace_back(std::move(name), std::move(value));
      } else {
        if (!e.named.empty()) fail("an argument without name behind one with a name");
        add(e, expression());
      }
    }
  }

  ExpressionPtr filters_and_tests(ExpressionPtr e) {
    while (true) {
      if (is_symbol("|")) {
        e = filters(std::move(e));
      } else if (is_name("is")) {
        e = test(std::move(e));
      } else if (skip_symbol("(")) {
        e = call(std::move(e));
      } else {
        return e;
      }
    }
  }

  /// A chain of filters; with a null operand, one for the text of a set block.
  ExpressionPtr filters(ExpressionPtr e) {
    while (skip_symbol("|")) {
      ExpressionPtr outer = make(Kind::filter);
      outer->name = expect_name();
      outer->filter = find_filter(outer->name);
      if (outer->filter == nullptr) fail(fmt::format("the filter '{}' is not supported", for_message(outer->name)));
      if (outer->name == "safe") {
        safe_line_ = outer->line;
        ++safe_count_;
      }
      add(*outer, std::move(e));
      if (skip_symbol("(")) arguments(*outer);
      e = std::move(outer);
    }
    return e;
  }

  ExpressionPtr test(ExpressionPtr e) {
    take();
    const bool negated = skip_name("not");
    ExpressionPtr outer = make(Kind::test);
    outer->name = expect_name();
    outer->test = find_test(outer->name);
    if (outer->test == nullptr) fail(fmt::format("the test '{}' is not supported", for_message(outer->name)));
    add(*outer, std::move(e));
    if (skip_symbol("(")) {
      arguments(*outer);
    } else if (begins_argument()) {
      add(*outer, postfix(primary()));
    }
    if (is_name("is")) fail("a test behind a test");
    if (!negated) return outer;
    ExpressionPtr inverse = make(Kind::logical_not);
    add(*inverse, std::move(outer));
    return inverse;
  }

  bool begins_argument() const {
    switch (now().kind) {
      case Token::Kind::string:
      case Token::Kind::integer:
      case Token::Kind::real:
        return true;
      case Token::Kind::name:
        return !is_name("else") && !is_name("or") && !is_name("and") && !is_name("is");
      default:
        return is_symbol("(") || is_symbol("[") || is_symbol("{");
    }
  }

  // `safe` marks a text; where it is printed as it stands that changes nothing, elsewhere it would escape other texts.
  void drop_safe(ExpressionPtr& e) {
    while (e->kind == Kind::filter && e->name == "safe" && e->arguments.size() == 1) {
      e = std::move(e->arguments.front());
      --safe_count_;
    }
  }
  void refuse_safe_within() {
    if (safe_count_ > 0) fail_at(where_, safe_line_, "the filter 'safe' is supported only at the end of {{ … }}");
  }

  int safe_count_ = 0;  ///< filters `safe` that were not dropped
  int safe_line_ = 1;   ///< where the last one stands
  int macros_ = 0;      ///< around what is read

 private:
  std::vector<Token> tokens_;
  const std::string& where_;
  std::size_t at_ = 0;
  int depth_ = 0;
};

}  // namespace rpt::text::jinja

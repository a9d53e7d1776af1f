// SPDX-License-Identifier: MIT
#pragma once
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "rpt/text/jinja_functions.h"
#include "rpt/text/jinja_value.h"

namespace rpt::text::jinja {

/// A piece of an expression or a statement's frame.
struct Token {
  enum class Kind : std::uint8_t {
    data,         ///< text between tags
    print_begin,  ///< {{
    print_end,
    block_begin,  ///< {%
    block_end,
    name,
    string,
    integer,
    real,
    symbol,
    end,
  };
  Kind kind = Kind::end;
  std::string text;  ///< of a string what it means, else as it is written
  int line = 1;
};

/// Takes a template apart, white-space control applied as transformers asks for it (trim_blocks, lstrip_blocks).
/// Throws ConfigError.
std::vector<Token> tokenize(std::string_view source, const std::string& where);

struct Expression;
using ExpressionPtr = std::unique_ptr<Expression>;

struct Expression {
  enum class Kind : std::uint8_t {
    constant,
    name,
    list,
    tuple,
    dict,       ///< key, value, key, value …
    attribute,  ///< arguments[0].name
    item,       ///< arguments[0][arguments[1]]
    slice,      ///< arguments[0][1:2:3], any of the three may be null
    call,       ///< arguments[0](rest)
    filter,     ///< arguments[0] | filter(rest)
    test,       ///< arguments[0] is test(rest)
    logical_not,
    logical_and,
    logical_or,
    minus,
    plus,
    arithmetic,   ///< by operations[0]
    concatenate,  ///< ~
    compare,      ///< arguments[0] operations[0] arguments[1] operations[1] arguments[2] …
    conditional,  ///< arguments[1] if arguments[0] else arguments[2], which may be null
  };
  Kind kind = Kind::constant;
  int line = 1;
  int depth = 1;  ///< of the tree below
  std::string name;
  Value constant;
  /// '+', '-', '*', '/', 'f' (//), '%'; '=', '!', '<', 'l' (<=), '>', 'g' (>=), 'i' (in), 'n' (not in).
  std::string operations;
  std::vector<ExpressionPtr> arguments;
  std::vector<std::pair<std::string, ExpressionPtr>> named;
  const Filter* filter = nullptr;
  const Test* test = nullptr;
};

/// What a for or set assigns to.
struct Target {
  std::vector<std::string> names;  ///< several: unpacked
  std::string attribute;           ///< of a namespace; empty for a variable
};

struct Statement {
  enum class Kind : std::uint8_t {
    data,
    print,
    condition,  ///< body if expression, else `otherwise`
    loop,       ///< body for target in expression if condition, else `otherwise`
    set,        ///< target = expression
    set_block,  ///< target = body, through expression's filters if there are any
    macro,      ///< text is its name
    scope,      ///< body with variables of its own
    leave,      ///< break
    next,       ///< continue
  };
  Kind kind = Kind::data;
  int line = 1;
  std::string text;
  Target target;
  ExpressionPtr expression;
  ExpressionPtr condition;
  std::vector<Statement> body;
  std::vector<Statement> otherwise;
  std::vector<std::pair<std::string, ExpressionPtr>> parameters;  ///< of a macro, with defaults or null
};

/// Parses a template. Throws ConfigError naming line and construct.
std::vector<Statement> parse(std::string_view source, const std::string& where);

/// Throws ConfigError: `where: line N: what`.
[[noreturn]] void fail_at(const std::string& where, int line, const std::string& what);

}  // namespace rpt::text::jinja

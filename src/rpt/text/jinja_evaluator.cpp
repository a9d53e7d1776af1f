// SPDX-License-Identifier: MIT
#include "rpt/text/jinja_evaluator.h"

#include <algorithm>
#include <array>

#include "rpt/core/error.h"
#include "rpt/text/utf8.h"

namespace rpt::text::jinja {
namespace {

using Kind = Expression::Kind;

/// What a template finds without anybody having set it.
constexpr std::array<std::string_view, 5> kGlobals = {"raise_exception", "strftime_now", "namespace", "range", "dict"};

/// Counts a level of recursion while it lives.
class Deeper {
 public:
  Deeper(Runtime& runtime, int& depth) : depth_(depth) {
    if (depth_ >= runtime.depth_limit()) {
      runtime.fail(fmt::format("evaluation nested deeper than {} levels", runtime.depth_limit()));
    }
    ++depth_;
  }
  ~Deeper() { --depth_; }
  Deeper(const Deeper&) = delete;
  Deeper& operator=(const Deeper&) = delete;

 private:
  int& depth_;
};

}  // namespace

std::string Evaluator::run(const std::vector<Statement>& statements, Scope& scope) {
  std::string out;
  run_block(statements, scope, out);
  return out;
}

Evaluator::Flow Evaluator::run_block(const std::vector<Statement>& statements, Scope& scope, std::string& out) {
  for (const Statement& s : statements) {
    if (const Flow flow = run_statement(s, scope, out); flow != Flow::on) return flow;
  }
  return Flow::on;
}

Evaluator::Flow Evaluator::run_statement(const Statement& s, Scope& scope, std::string& out) {
  const Deeper deeper(runtime_, depth_);
  runtime_.line = s.line;
  runtime_.charge(1);
  switch (s.kind) {
    case Statement::Kind::data:
      runtime_.charge_bytes(s.text.size());
      out += s.text;
      return Flow::on;
    case Statement::Kind::print: {
      const Value value = evaluate(*s.expression, scope);
      const std::string* text = value.text();
      const std::string made = text == nullptr ? to_text(runtime_, value) : std::string();
      runtime_.charge_bytes(text == nullptr ? made.size() : text->size());
      out += text == nullptr ? made : *text;
      return Flow::on;
    }
    case Statement::Kind::condition:
      return run_block(truth(evaluate(*s.expression, scope)) ? s.body : s.otherwise, scope, out);
    case Statement::Kind::loop:
      return run_loop(s, scope, out);
    case Statement::Kind::set:
      assign(s.target, evaluate(*s.expression, scope), scope);
      return Flow::on;
    case Statement::Kind::set_block: {
      Scope& inner = runtime_.new_scope(&scope);
      std::string text;
      run_block(s.body, inner, text);
      Value value = runtime_.text(std::move(text));
      if (s.expression) {
        inner.set("", value);  // the operand that the innermost filter lacks
        value = evaluate(*s.expression, inner);
      }
      assign(s.target, value, scope);
      return Flow::on;
    }
    case Statement::Kind::macro:
      define_macro(s, scope);
      return Flow::on;
    case Statement::Kind::scope:
      run_block(s.body, runtime_.new_scope(&scope), out);
      return Flow::on;
    case Statement::Kind::leave:
      return Flow::leave;
    case Statement::Kind::next:
      return Flow::next;
  }
  return Flow::on;
}

/// What the loop runs over: the items that its condition keeps.
std::vector<Value> Evaluator::loop_items(const Statement& s, Scope& scope) {
  std::vector<Value> items = items_of(runtime_, evaluate(*s.expression, scope));
  if (!s.condition) return items;
  std::vector<Value> kept;
  for (Value& item : items) {
    Scope& inner = runtime_.new_scope(&scope);
    assign(s.target, item, inner);
    if (truth(evaluate(*s.condition, inner))) kept.push_back(std::move(item));
  }
  return kept;
}

Evaluator::Flow Evaluator::run_loop(const Statement& s, Scope& scope, std::string& out) {
  std::vector<Value> items = loop_items(s, scope);
  if (items.empty()) return run_block(s.otherwise, runtime_.new_scope(&scope), out);
  Loop& loop = runtime_.new_loop();
  loop.items = std::move(items);
  Flow flow = Flow::on;
  for (; loop.index < loop.items.size() && flow != Flow::leave; ++loop.index) {
    Scope& inner = runtime_.new_scope(&scope);
    inner.set("loop", {&loop});
    assign(s.target, loop.items[loop.index], inner);
    flow = run_block(s.body, inner, out);
  }
  // Whoever kept `loop` finds it at its last item.
  loop.index = std::min(loop.index, loop.items.size() - 1);
  return Flow::on;
}

void Evaluator::assign(const Target& target, const Value& value, Scope& scope) {
  if (!target.attribute.empty()) {
    Value* space = scope.find(target.names.front());
    if (space == nullptr || !space->as<Namespace*>()) {
      runtime_.fail(fmt::format("'{}' is no namespace, its attributes cannot be set", target.names.front()));
    }
    if (target.attribute.starts_with('_')) runtime_.fail("a namespace's attribute that begins with '_'");
    auto& attributes = (*space->as<Namespace*>())->attributes;
    const auto found =
        std::find_if(attributes.begin(), attributes.end(), [&](const auto& a) { return a.first == target.attribute; });
    if (found == attributes.end()) {
      attributes.emplace_back(target.attribute, value);
    } else {
      found->second = value;
    }
    return;
  }
  if (target.names.size() == 1) return scope.set(target.names.front(), value);
  if (value.is_undefined()) runtime_.fail("an undefined value cannot be unpacked");
  const std::vector<Value> items = items_of(runtime_, value);
  if (items.size() != target.names.size()) {
    runtime_.fail(fmt::format("{} values for {} names", items.size(), target.names.size()));
  }
  for (std::size_t i = 0; i < items.size(); ++i) scope.set(target.names[i], items[i]);
}

void Evaluator::define_macro(const Statement& s, Scope& scope) {
  Function& function = runtime_.new_function();
  function.kind = Function::Kind::macro;
  function.name = s.text;
  function.macro = &s;
  function.scope = &scope;
  scope.set(s.text, {&function});
}

Value Evaluator::evaluate(const Expression& e, Scope& scope) {
  const Deeper deeper(runtime_, depth_);
  runtime_.charge(1);
  switch (e.kind) {
    case Kind::constant:
      return e.constant;
    case Kind::name:
      return name(e, scope);
    case Kind::list:
    case Kind::tuple:
    case Kind::dict:
      return evaluate_collection(e, scope);
    case Kind::attribute:
    case Kind::item:
    case Kind::slice:
      return evaluate_access(e, scope);
    case Kind::call:
      return call(e, scope);
    case Kind::filter:
    case Kind::test: {
      const Value operand = e.arguments.front() ? evaluate(*e.arguments.front(), scope) : *scope.find("");
      const Arguments given = arguments(e, scope);
      runtime_.line = e.line;
      if (e.kind == Kind::test) return {e.test->apply(runtime_, operand, given)};
      return e.filter->apply(runtime_, operand, given);
    }
    default:
      return evaluate_operation(e, scope);
  }
}

Value Evaluator::name(const Expression& e, Scope& scope) {
  if (const Value* value = scope.find(e.name)) return *value;
  if (std::find(kGlobals.begin(), kGlobals.end(), e.name) != kGlobals.end()) {
    Function& function = runtime_.new_function();
    function.name = e.name;
    return {&function};
  }
  return {Undefined{std::make_shared<const std::string>(fmt::format("'{}'", e.name))}};
}

Value Evaluator::evaluate_collection(const Expression& e, Scope& scope) {
  if (e.kind == Kind::dict) {
    Dict& dict = runtime_.new_dict();
    for (std::size_t i = 0; i < e.arguments.size(); i += 2) {
      Value key = evaluate(*e.arguments[i], scope);
      if (key.text() == nullptr && !number(key) && !key.is_none()) {
        runtime_.fail(fmt::format("a {} as key of a dict is not supported", type_name(key)));
      }
      Value value = evaluate(*e.arguments[i + 1], scope);
      const auto found = std::find_if(dict.entries.begin(), dict.entries.end(),
                                      [&](const auto& entry) { return equal(runtime_, entry.first, key); });
      if (found == dict.entries.end()) {
        dict.entries.emplace_back(std::move(key), std::move(value));
      } else {
        found->second = std::move(value);
      }
    }
    return {&dict};
  }
  List& list = runtime_.new_list(e.kind == Kind::list ? List::Form::list : List::Form::tuple);
  for (const ExpressionPtr& item : e.arguments) list.items.push_back(evaluate(*item, scope));
  return {&list};
}

Value Evaluator::evaluate_access(const Expression& e, Scope& scope) {
  const Value operand = evaluate(*e.arguments.front(), scope);
  const auto part = [&](std::size_t i) { return e.arguments[i] ? evaluate(*e.arguments[i], scope) : Value(); };
  if (e.kind == Kind::attribute) {
    runtime_.line = e.line;
    return get_attribute(runtime_, operand, e.name);
  }
  const Value first = part(1);
  const Value second = e.kind == Kind::slice ? part(2) : Value();
  const Value third = e.kind == Kind::slice ? part(3) : Value();
  runtime_.line = e.line;
  if (e.kind == Kind::item) return get_item(runtime_, operand, first);
  return get_slice(runtime_, operand, first, second, third);
}

Value Evaluator::evaluate_operation(const Expression& e, Scope& scope) {
  const auto operand = [&](std::size_t i) { return evaluate(*e.arguments[i], scope); };
  switch (e.kind) {
    case Kind::logical_not:
      return {!truth(operand(0))};
    case Kind::logical_and: {
      Value left = operand(0);
      return truth(left) ? operand(1) : left;
    }
    case Kind::logical_or: {
      Value left = operand(0);
      return truth(left) ? left : operand(1);
    }
    case Kind::conditional:
      if (truth(operand(0))) return operand(1);
      return e.arguments[2] ? operand(2) : Value();
    case Kind::concatenate: {
      std::string out;
      for (std::size_t i = 0; i < e.arguments.size(); ++i) {
        const std::string part = to_text(runtime_, operand(i));
        runtime_.charge_bytes(part.size());
        out += part;
      }
      return {std::make_shared<const std::string>(std::move(out))};
    }
    case Kind::compare:
      return {compare(e, scope)};
    case Kind::arithmetic: {
      const Value left = operand(0);
      const Value right = operand(1);
      runtime_.line = e.line;
      return arithmetic(runtime_, e.operations.front(), left, right);
    }
    case Kind::minus:
    case Kind::plus: {
      const Value value = operand(0);
      runtime_.line = e.line;
      if (const double* real = value.as<double>()) return {e.kind == Kind::minus ? -*real : *real};
      return arithmetic(runtime_, e.kind == Kind::minus ? '-' : '+', {std::int64_t{0}}, value);
    }
    default:
      RPT_CHECK(false, "expression kind {}", static_cast<int>(e.kind));
  }
  return {};
}

/// A chain of comparisons, as Python: each operand is evaluated once, until one comparison fails.
bool Evaluator::compare(const Expression& e, Scope& scope) {
  Value left = evaluate(*e.arguments.front(), scope);
  for (std::size_t i = 0; i < e.operations.size(); ++i) {
    Value right = evaluate(*e.arguments[i + 1], scope);
    runtime_.line = e.line;
    bool holds = false;
    switch (e.operations[i]) {
      case '=':
        holds = equal(runtime_, left, right);
        break;
      case '!':
        holds = !equal(runtime_, left, right);
        break;
      case '<':
        holds = order(runtime_, left, right) < 0;
        break;
      case 'l':
        holds = order(runtime_, left, right) <= 0;
        break;
      case '>':
        holds = order(runtime_, left, right) > 0;
        break;
      case 'g':
        holds = order(runtime_, left, right) >= 0;
        break;
      case 'i':
        holds = contains(runtime_, left, right);
        break;
      default:
        holds = !contains(runtime_, left, right);
    }
    if (!holds) return false;
    left = std::move(right);
  }
  return true;
}

}  // namespace rpt::text::jinja

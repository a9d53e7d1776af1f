// SPDX-License-Identifier: MIT
#pragma once
#include <ctime>
#include <optional>
#include <string>
#include <vector>

#include "rpt/text/jinja_syntax.h"
#include "rpt/text/jinja_value.h"

namespace rpt::text::jinja {

/// Runs a parsed template: statements write to `out`, expressions give values. One rendering each.
class Evaluator {
 public:
  /// `now` is what strftime_now tells, local time.
  Evaluator(Runtime& runtime, std::optional<std::time_t> now) : runtime_(runtime), now_(now) {}

  /// Runs statements with the variables of `scope`.
  std::string run(const std::vector<Statement>& statements, Scope& scope);

 private:
  /// What ended a block early.
  enum class Flow : std::uint8_t { on, leave, next };

  Flow run_block(const std::vector<Statement>& statements, Scope& scope, std::string& out);
  Flow run_statement(const Statement& s, Scope& scope, std::string& out);
  Flow run_loop(const Statement& s, Scope& scope, std::string& out);
  std::vector<Value> loop_items(const Statement& s, Scope& scope);
  void assign(const Target& target, const Value& value, Scope& scope);
  void define_macro(const Statement& s, Scope& scope);

  Value evaluate(const Expression& e, Scope& scope);
  Value evaluate_collection(const Expression& e, Scope& scope);
  Value evaluate_access(const Expression& e, Scope& scope);
  Value evaluate_operation(const Expression& e, Scope& scope);
  Value name(const Expression& e, Scope& scope);
  bool compare(const Expression& e, Scope& scope);
  Arguments arguments(const Expression& e, Scope& scope);
  Value call(const Expression& e, Scope& scope);
  Value call_global(const std::string& name, const Arguments& arguments);
  Value call_macro(const Function& function, const Arguments& arguments);
  Value format_time(const std::string& format) const;
  Value range(const Arguments& arguments);

  Runtime& runtime_;
  std::optional<std::time_t> now_;
  int depth_ = 0;
};

}  // namespace rpt::text::jinja

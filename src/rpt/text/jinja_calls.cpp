// SPDX-License-Identifier: MIT
#include <array>
#include <ctime>

#include "rpt/core/error.h"
#include "rpt/text/jinja_evaluator.h"
#include "rpt/text/utf8.h"

namespace rpt::text::jinja {

Arguments Evaluator::arguments(const Expression& e, Scope& scope) {
  Arguments given;
  for (std::size_t i = 1; i < e.arguments.size(); ++i) given.values.push_back(evaluate(*e.arguments[i], scope));
  for (const auto& [name, value] : e.named) given.named.emplace_back(name, evaluate(*value, scope));
  return given;
}

Value Evaluator::call(const Expression& e, Scope& scope) {
  const Value callee = evaluate(*e.arguments.front(), scope);
  const auto* function = callee.as<Function*>();
  runtime_.line = e.line;
  if (function == nullptr) {
    const auto* undefined = callee.as<Undefined>();
    if (undefined == nullptr) runtime_.fail(fmt::format("a {} cannot be called", type_name(callee)));
    runtime_.fail(fmt::format("the function {} is undefined or not supported",
                              undefined->name ? for_message(*undefined->name) : "called here"));
  }
  const Arguments given = arguments(e, scope);
  runtime_.line = e.line;
  switch ((*function)->kind) {
    case Function::Kind::method:
      return call_method(runtime_, (*function)->self, (*function)->name, given);
    case Function::Kind::macro:
      return call_macro(**function, given);
    default:
      return call_global((*function)->name, given);
  }
}

Value Evaluator::call_global(const std::string& name, const Arguments& arguments) {
  if (name == "raise_exception") {
    const Value message = arguments.bind(runtime_, name, {"message"})[0];
    runtime_.fail("the template refuses the conversation: " + to_text(runtime_, message));
  }
  if (name == "strftime_now") {
    return format_time(text_argument(runtime_, arguments.bind(runtime_, name, {"format"})[0], name));
  }
  if (name == "range") return range(arguments);
  if (!arguments.values.empty()) runtime_.fail(fmt::format("{} of a value is not supported", name));
  if (name == "dict") {
    Dict& dict = runtime_.new_dict();
    for (const auto& [key, value] : arguments.named) dict.entries.emplace_back(runtime_.text(key), value);
    return {&dict};
  }
  Namespace& space = runtime_.new_namespace();
  for (const auto& [key, value] : arguments.named) {
    if (key.starts_with('_')) runtime_.fail("a namespace's attribute that begins with '_'");
    space.attributes.emplace_back(key, value);
  }
  return {&space};
}

Value Evaluator::range(const Arguments& arguments) {
  if (arguments.values.empty() || arguments.values.size() > 3 || !arguments.named.empty()) {
    runtime_.fail("range takes one to three whole numbers");
  }
  std::array<std::int64_t, 3> given{};
  for (std::size_t i = 0; i < arguments.values.size(); ++i) {
    const auto whole = whole_number(arguments.values[i]);
    if (!whole) runtime_.fail(fmt::format("range takes whole numbers, not {}", type_name(arguments.values[i])));
    given[i] = *whole;
  }
  const bool one = arguments.values.size() == 1;
  const std::int64_t begin = one ? 0 : given[0];
  const std::int64_t end = one ? given[0] : given[1];
  const std::int64_t step = arguments.values.size() == 3 ? given[2] : 1;
  if (step == 0) runtime_.fail("a range of step 0");
  constexpr std::size_t kMostItems = 100000;  // jinja2's sandbox draws the same line
  List& list = runtime_.new_list(List::Form::range);
  for (std::int64_t i = begin; step > 0 ? i < end : i > end;) {
    if (list.items.size() >= kMostItems) runtime_.fail(fmt::format("a range of more than {} items", kMostItems));
    runtime_.charge(1);
    list.items.push_back({i});
    if (__builtin_add_overflow(i, step, &i)) break;
  }
  return {&list};
}

Value Evaluator::call_macro(const Function& function, const Arguments& arguments) {
  const Statement& macro = *function.macro;
  if (arguments.values.size() > macro.parameters.size()) {
    runtime_.fail(fmt::format("the macro '{}' takes {} arguments, not {}", function.name, macro.parameters.size(),
                              arguments.values.size()));
  }
  Scope& scope = runtime_.new_scope(function.scope);
  std::size_t used = 0;
  for (std::size_t i = 0; i < macro.parameters.size(); ++i) {
    const auto& [name, otherwise] = macro.parameters[i];
    const Value* given = i < arguments.values.size() ? &arguments.values[i] : nullptr;
    for (const auto& [known, value] : arguments.named) {
      if (known != name) continue;
      if (given != nullptr) runtime_.fail(fmt::format("the argument '{}' is given twice", name));
      given = &value;
      ++used;
    }
    if (given != nullptr) {
      scope.set(name, *given);
    } else {
      scope.set(name, otherwise ? evaluate(*otherwise, scope)
                                : Value{Undefined{std::make_shared<const std::string>("'" + name + "'")}});
    }
  }
  if (used < arguments.named.size()) {
    runtime_.fail(fmt::format("the macro '{}' has no argument of a name given to it", function.name));
  }
  std::string out;
  run_block(macro.body, scope, out);
  return {std::make_shared<const std::string>(std::move(out))};
}

Value Evaluator::format_time(const std::string& format) const {
  constexpr std::size_t kMostFormat = 256;
  if (format.size() > kMostFormat || format.find('\0') != std::string::npos) {
    runtime_.fail(fmt::format("strftime_now with more than {} bytes or a zero byte", kMostFormat));
  }
  // A number between '%' and its letter is a width, and a width can be any size.
  for (std::size_t i = format.find('%'); i != std::string::npos; i = format.find('%', i + 2)) {
    if (format.find_first_of("0123456789", i) == i + 1) runtime_.fail("strftime_now with a width");
    const std::size_t letter = format.find_first_not_of("-_^#", i + 1);
    if (letter != std::string::npos && format[letter] >= '0' && format[letter] <= '9') {
      runtime_.fail("strftime_now with a width");
    }
  }
  const std::time_t now = now_ ? *now_ : std::time(nullptr);
  std::tm local{};
  if (localtime_r(&now, &local) == nullptr) runtime_.fail("the time cannot be told");
  std::array<char, 16384> buffer{};
  // A character in front tells an empty result from one that does not fit.
  const std::size_t size = std::strftime(buffer.data(), buffer.size(), ("." + format).c_str(), &local);
  if (size == 0) runtime_.fail("strftime_now of this format is too long");
  return runtime_.text(std::string(buffer.data() + 1, size - 1));
}

}  // namespace rpt::text::jinja

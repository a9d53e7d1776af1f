// SPDX-License-Identifier: MIT
#include <cmath>

#include "rpt/core/checked.h"
#include "rpt/text/jinja_value.h"
#include "rpt/text/utf8.h"

namespace rpt::text::jinja {
namespace {

[[noreturn]] void fail_types(Runtime& runtime, char operation, const Value& a, const Value& b) {
  for (const Value* v : {&a, &b}) {
    if (const auto* undefined = v->as<Undefined>()) {
      runtime.fail(fmt::format("{} is undefined", undefined->name ? for_message(*undefined->name) : "a value"));
    }
  }
  const std::string name = operation == 'f' ? "//" : std::string(1, operation);
  runtime.fail(fmt::format("'{}' of a {} and a {}", name, type_name(a), type_name(b)));
}

Value whole_arithmetic(Runtime& runtime, char operation, std::int64_t a, std::int64_t b) {
  std::int64_t result = 0;
  bool too_large = false;
  switch (operation) {
    case '+':
      too_large = __builtin_add_overflow(a, b, &result);
      break;
    case '-':
      too_large = __builtin_sub_overflow(a, b, &result);
      break;
    case '*':
      too_large = __builtin_mul_overflow(a, b, &result);
      break;
    default: {
      if (b == 0) runtime.fail("a division by zero");
      if (operation == '/') return {static_cast<double>(a) / static_cast<double>(b)};
      if (b == -1) {  // the one quotient that may not fit
        too_large = operation == 'f' && __builtin_sub_overflow(std::int64_t{0}, a, &result);
        break;
      }
      const std::int64_t rest = a % b;
      const bool differs = rest != 0 && (rest < 0) != (b < 0);  // Python rounds down
      result = operation == 'f' ? a / b - (differs ? 1 : 0) : rest + (differs ? b : 0);
    }
  }
  if (too_large) runtime.fail("a whole number beyond 64 bits");
  return {result};
}

Value float_arithmetic(Runtime& runtime, char operation, double a, double b) {
  switch (operation) {
    case '+':
      return {a + b};
    case '-':
      return {a - b};
    case '*':
      return {a * b};
    default: {
      if (b == 0) runtime.fail("a division by zero");
      if (operation == '/') return {a / b};
      // As CPython's float_divmod: the remainder has the sign of the divisor, and the quotient fits it.
      double rest = std::fmod(a, b);
      double quotient = (a - rest) / b;
      if (rest != 0) {
        if ((b < 0) != (rest < 0)) {
          rest += b;
          quotient -= 1;
        }
      } else {
        rest = std::copysign(0.0, b);
      }
      if (operation == '%') return {rest};
      if (quotient == 0) return {std::copysign(0.0, a / b)};
      const double down = std::floor(quotient);
      return {quotient - down > 0.5 ? down + 1 : down};
    }
  }
}

Value repeat(Runtime& runtime, const Value& value, std::int64_t times) {
  const auto count = static_cast<std::uint64_t>(times < 0 ? 0 : times);
  if (const std::string* text = value.text()) {
    const auto size = core::multiply(std::uint64_t{text->size()}, count);
    if (!size) runtime.fail("a text beyond all bounds");
    runtime.charge_bytes(*size);
    std::string out;
    out.reserve(*size);
    for (std::uint64_t i = 0; i < count && !text->empty(); ++i) out += *text;
    return {std::make_shared<const std::string>(std::move(out))};
  }
  const List& list = **value.as<List*>();
  const auto size = core::multiply(std::uint64_t{list.items.size()}, count);
  if (!size) runtime.fail("a list beyond all bounds");
  runtime.charge(*size);
  List& out = runtime.new_list(list.form);
  for (std::uint64_t i = 0; i < count && !list.items.empty(); ++i) {
    out.items.insert(out.items.end(), list.items.begin(), list.items.end());
  }
  return {&out};
}

bool is_sequence(const Value& value) {
  const auto* list = value.as<List*>();
  return value.text() != nullptr ||
         (list != nullptr && ((*list)->form == List::Form::list || (*list)->form == List::Form::tuple));
}

}  // namespace

Value arithmetic(Runtime& runtime, char operation, const Value& a, const Value& b) {
  runtime.charge(1);
  const auto x = whole_number(a);
  const auto y = whole_number(b);
  if (x && y) return whole_arithmetic(runtime, operation, *x, *y);
  const auto u = number(a);
  const auto v = number(b);
  if (u && v) return float_arithmetic(runtime, operation, *u, *v);
  if (operation == '+') {
    if (a.text() != nullptr && b.text() != nullptr) return runtime.text(*a.text() + *b.text());
    const auto* left = a.as<List*>();
    const auto* right = b.as<List*>();
    if (left != nullptr && right != nullptr && is_sequence(a) && (*left)->form == (*right)->form) {
      runtime.charge((*left)->items.size() + (*right)->items.size());
      List& out = runtime.new_list((*left)->form);
      out.items = (*left)->items;
      out.items.insert(out.items.end(), (*right)->items.begin(), (*right)->items.end());
      return {&out};
    }
  }
  if (operation == '*' && is_sequence(a) && y) return repeat(runtime, a, *y);
  if (operation == '*' && is_sequence(b) && x) return repeat(runtime, b, *x);
  if (operation == '%' && a.text() != nullptr) runtime.fail("formatting with % is not supported");
  fail_types(runtime, operation, a, b);
}

}  // namespace rpt::text::jinja

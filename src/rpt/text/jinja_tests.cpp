// SPDX-License-Identifier: MIT
#include <algorithm>
#include <array>

#include "rpt/text/jinja_functions.h"

namespace rpt::text::jinja {
namespace {

// What templates ask with `is`.

using Answer = bool (*)(const Value&);

template <Answer A>
bool test_of(Runtime& rt, const Value& v, const Arguments& a) {
  a.bind(rt, "a test", {});
  return A(v);
}

bool is_defined(const Value& v) {
  return !v.is_undefined();
}
bool is_undefined(const Value& v) {
  return v.is_undefined();
}
bool is_none(const Value& v) {
  return v.is_none();
}
bool is_string(const Value& v) {
  return v.text() != nullptr;
}
bool is_mapping(const Value& v) {
  return v.as<Dict*>() != nullptr;
}
bool is_iterable(const Value& v) {
  return is_string(v) || v.as<List*>() || is_mapping(v) || v.is_undefined() || v.as<Loop*>();
}
bool is_sequence(const Value& v) {
  const auto* list = v.as<List*>();
  if (list != nullptr) return (*list)->form != List::Form::view && (*list)->form != List::Form::generator;
  return is_string(v) || is_mapping(v) || v.is_undefined();
}
bool is_number(const Value& v) {
  return number(v).has_value();
}
bool is_integer(const Value& v) {
  return v.as<std::int64_t>() != nullptr;
}
bool is_float(const Value& v) {
  return v.as<double>() != nullptr;
}
bool is_boolean(const Value& v) {
  return v.as<bool>() != nullptr;
}
bool is_true(const Value& v) {
  return is_boolean(v) && *v.as<bool>();
}
bool is_false(const Value& v) {
  return is_boolean(v) && !*v.as<bool>();
}
bool is_callable(const Value& v) {
  return v.as<Function*>() != nullptr || v.is_undefined();  // jinja2's Undefined can be called, and raises then
}

template <bool (*Compare)(Runtime&, const Value&, const Value&)>
bool test_compare(Runtime& rt, const Value& v, const Arguments& a) {
  if (a.values.size() != 1 || !a.named.empty()) rt.fail("a test that compares takes one argument");
  return Compare(rt, v, a.values[0]);
}

bool differs(Runtime& rt, const Value& a, const Value& b) {
  return !equal(rt, a, b);
}
template <int Low, int High>
bool ordered(Runtime& rt, const Value& a, const Value& b) {
  const int o = order(rt, a, b);
  return (o < 0 ? -1 : o > 0 ? 1 : 0) >= Low && (o < 0 ? -1 : o > 0 ? 1 : 0) <= High;
}
/// Python's `is`: decided for what is one object by nature, else refused.
bool same(Runtime& rt, const Value& a, const Value& b) {
  if (a.is.index() != b.is.index()) return false;
  if (is_number(a) && !is_boolean(a)) rt.fail("sameas of numbers is not supported");
  if (is_string(a)) rt.fail("sameas of texts is not supported");
  if (const auto* list = a.as<List*>()) return *list == *b.as<List*>();
  if (const auto* dict = a.as<Dict*>()) return *dict == *b.as<Dict*>();
  return equal(rt, a, b);
}
template <int Rest>
bool has_rest(Runtime& rt, const Value& v, const Arguments& a) {
  a.bind(rt, "a test", {});
  return equal(rt, arithmetic(rt, '%', v, {std::int64_t{2}}), {std::int64_t{Rest}});
}
bool divisible(Runtime& rt, const Value& a, const Value& b) {
  return equal(rt, arithmetic(rt, '%', a, b), {std::int64_t{0}});
}

constexpr std::array<Test, 34> kTests = {{{"defined", test_of<is_defined>},
                                          {"undefined", test_of<is_undefined>},
                                          {"none", test_of<is_none>},
                                          {"string", test_of<is_string>},
                                          {"mapping", test_of<is_mapping>},
                                          {"iterable", test_of<is_iterable>},
                                          {"sequence", test_of<is_sequence>},
                                          {"number", test_of<is_number>},
                                          {"integer", test_of<is_integer>},
                                          {"float", test_of<is_float>},
                                          {"boolean", test_of<is_boolean>},
                                          {"true", test_of<is_true>},
                                          {"false", test_of<is_false>},
                                          {"callable", test_of<is_callable>},
                                          {"odd", has_rest<1>},
                                          {"even", has_rest<0>},
                                          {"divisibleby", test_compare<divisible>},
                                          {"sameas", test_compare<same>},
                                          {"in", test_compare<contains>},
                                          {"eq", test_compare<equal>},
                                          {"equalto", test_compare<equal>},
                                          {"==", test_compare<equal>},
                                          {"ne", test_compare<differs>},
                                          {"!=", test_compare<differs>},
                                          {"lt", test_compare<ordered<-1, -1>>},
                                          {"lessthan", test_compare<ordered<-1, -1>>},
                                          {"<", test_compare<ordered<-1, -1>>},
                                          {"le", test_compare<ordered<-1, 0>>},
                                          {"<=", test_compare<ordered<-1, 0>>},
                                          {"gt", test_compare<ordered<1, 1>>},
                                          {"greaterthan", test_compare<ordered<1, 1>>},
                                          {">", test_compare<ordered<1, 1>>},
                                          {"ge", test_compare<ordered<0, 1>>},
                                          {">=", test_compare<ordered<0, 1>>}}};

}  // namespace

const Test* find_test(std::string_view name) {
  const auto found = std::find_if(kTests.begin(), kTests.end(), [&](const Test& t) { return t.name == name; });
  return found == kTests.end() || name.empty() ? nullptr : &*found;
}

}  // namespace rpt::text::jinja

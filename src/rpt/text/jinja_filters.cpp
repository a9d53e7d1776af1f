// SPDX-License-Identifier: MIT
#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

#include "rpt/core/error.h"
#include "rpt/text/jinja_functions.h"
#include "rpt/text/utf8.h"
#include "rpt/text/white_space.h"

namespace rpt::text::jinja {
namespace {

// What templates call filters: a value and arguments in, a value out. Python's behaviour throughout.

Value filter_trim(Runtime& rt, const Value& v, const Arguments& a) {
  return rt.text(strip(rt, to_text(rt, v), a.bind(rt, "trim", {"chars"})[0], true, true));
}

template <std::string (*Change)(Runtime&, std::string_view)>
Value filter_case(Runtime& rt, const Value& v, const Arguments& a) {
  a.bind(rt, "a filter of letter case", {});
  return rt.text(Change(rt, to_text(rt, v)));
}

/// Jinja's own title: a word begins behind white space and - ( { [ <.
std::string title_words(Runtime& rt, std::string_view text) {
  const std::string small = lower(rt, text);
  const std::string large = upper(rt, text);
  std::string out;
  bool begins = true;
  for (std::size_t i = 0; i < small.size(); ++i) {
    out += begins ? large[i] : small[i];
    const char c = small[i];
    begins = is_python_space(static_cast<unsigned char>(c)) || std::string_view("-({[<").find(c) != std::string::npos;
  }
  return out;
}

Value filter_length(Runtime& rt, const Value& v, const Arguments& a) {
  a.bind(rt, "length", {});
  return {length_of(rt, v)};
}

Value filter_default(Runtime& rt, const Value& v, const Arguments& a) {
  const auto given = a.bind(rt, "default", {"default_value", "boolean"});
  if (!v.is_undefined() && !(truth(given[1]) && !truth(v))) return v;
  const bool absent = a.values.empty() && std::none_of(a.named.begin(), a.named.end(),
                                                       [](const auto& n) { return n.first == "default_value"; });
  return absent ? rt.text("") : given[0];
}

/// `a.b.0` of a value.
Value attribute_path(Runtime& rt, Value value, const Value& path) {
  if (path.text() == nullptr) return get_item(rt, value, path);
  std::string_view rest = *path.text();
  while (true) {
    const std::size_t dot = rest.find('.');
    const std::string_view part = rest.substr(0, dot);
    std::int64_t index = 0;
    const bool is_index = !part.empty() &&
                          std::all_of(part.begin(), part.end(), [](char c) { return c >= '0' && c <= '9'; }) &&
                          std::from_chars(part.data(), part.data() + part.size(), index).ec == std::errc();
    value = get_item(rt, value, is_index ? Value{index} : rt.text(std::string(part)));
    if (dot == std::string_view::npos) return value;
    rest.remove_prefix(dot + 1);
  }
}

Value filter_join(Runtime& rt, const Value& v, const Arguments& a) {
  const auto given = a.bind(rt, "join", {"d", "attribute"});
  const std::string separator = to_text(rt, given[0]);
  std::string out;
  bool first = true;
  for (const Value& item : items_of(rt, v)) {
    if (!first) out += separator;
    first = false;
    const bool whole = given[1].is_undefined() || given[1].is_none();
    const std::string part = to_text(rt, whole ? item : attribute_path(rt, item, given[1]));
    rt.charge_bytes(separator.size() + part.size());
    out += part;
  }
  return rt.text(std::move(out));
}

Value filter_replace(Runtime& rt, const Value& v, const Arguments& a) {
  const auto given = a.bind(rt, "replace", {"old", "new", "count"});
  return rt.text(replace(rt, to_text(rt, v), to_text(rt, given[0]), to_text(rt, given[1]),
                         whole_argument(rt, given[2], -1, "replace")));
}

Value filter_list(Runtime& rt, const Value& v, const Arguments& a) {
  a.bind(rt, "list", {});
  std::vector<Value> items = items_of(rt, v);
  List& list = rt.new_list(List::Form::list);
  list.items = std::move(items);
  return {&list};
}

Value generator(Runtime& rt, std::vector<Value> items) {
  List& list = rt.new_list(List::Form::generator);
  list.items = std::move(items);
  return {&list};
}

std::vector<Value> pairs_of(Runtime& rt, const Dict& dict) {
  std::vector<Value> pairs;
  for (const auto& [key, value] : dict.entries) {
    List& pair = rt.new_list(List::Form::tuple);
    pair.items = {key, value};
    pairs.push_back({&pair});
  }
  return pairs;
}

Value filter_items(Runtime& rt, const Value& v, const Arguments& a) {
  a.bind(rt, "items", {});
  if (v.is_undefined()) return generator(rt, {});
  const auto* dict = v.as<Dict*>();
  if (dict == nullptr) rt.fail(fmt::format("items takes a dict, not {}", type_name(v)));
  return generator(rt, pairs_of(rt, **dict));
}

/// What sort and dictsort compare: a text in small letters unless the case matters.
Value sort_key(Runtime& rt, const Value& v, bool case_sensitive) {
  return v.text() != nullptr && !case_sensitive ? rt.text(lower(rt, *v.text())) : v;
}

std::vector<Value> sorted(Runtime& rt, std::vector<std::pair<Value, Value>> keyed, bool reverse) {
  std::stable_sort(keyed.begin(), keyed.end(), [&](const auto& x, const auto& y) {
    return reverse ? order(rt, y.first, x.first) < 0 : order(rt, x.first, y.first) < 0;
  });
  std::vector<Value> out;
  for (auto& [key, value] : keyed) out.push_back(std::move(value));
  return out;
}

Value filter_dictsort(Runtime& rt, const Value& v, const Arguments& a) {
  const auto given = a.bind(rt, "dictsort", {"case_sensitive", "by", "reverse"});
  const auto* dict = v.as<Dict*>();
  if (dict == nullptr) rt.fail(fmt::format("dictsort takes a dict, not {}", type_name(v)));
  const bool by_value = given[1].text() != nullptr && *given[1].text() == "value";
  std::vector<std::pair<Value, Value>> keyed;
  for (const Value& pair : pairs_of(rt, **dict)) {
    keyed.emplace_back(sort_key(rt, (*pair.as<List*>())->items[by_value ? 1 : 0], truth(given[0])), pair);
  }
  List& list = rt.new_list(List::Form::list);
  list.items = sorted(rt, std::move(keyed), truth(given[2]));
  return {&list};
}

Value filter_sort(Runtime& rt, const Value& v, const Arguments& a) {
  const auto given = a.bind(rt, "sort", {"reverse", "case_sensitive", "attribute"});
  std::vector<std::pair<Value, Value>> keyed;
  for (const Value& item : items_of(rt, v)) {
    const bool whole = given[2].is_undefined() || given[2].is_none();
    keyed.emplace_back(sort_key(rt, whole ? item : attribute_path(rt, item, given[2]), truth(given[1])), item);
  }
  List& list = rt.new_list(List::Form::list);
  list.items = sorted(rt, std::move(keyed), truth(given[0]));
  return {&list};
}

Value filter_first(Runtime& rt, const Value& v, const Arguments& a) {
  a.bind(rt, "first", {});
  std::vector<Value> items = items_of(rt, v);
  if (items.empty()) return {};
  Value first = items.front();
  if (const auto* list = v.as<List*>(); list != nullptr && (*list)->form == List::Form::generator) {
    (*list)->items.assign(items.begin() + 1, items.end());
  }
  return first;
}

Value filter_last(Runtime& rt, const Value& v, const Arguments& a) {
  a.bind(rt, "last", {});
  if (const auto* list = v.as<List*>(); list != nullptr && (*list)->form == List::Form::generator) {
    rt.fail("a generator has no last item that can be had");
  }
  const std::vector<Value> items = items_of(rt, v);
  return items.empty() ? Value() : items.back();
}

Value filter_reverse(Runtime& rt, const Value& v, const Arguments& a) {
  a.bind(rt, "reverse", {});
  if (const std::string* text = v.text()) {
    std::string out;
    const std::vector<std::string_view> all = characters(rt, *text);
    for (auto it = all.rbegin(); it != all.rend(); ++it) out += *it;
    return rt.text(std::move(out));
  }
  std::vector<Value> items = items_of(rt, v);
  std::reverse(items.begin(), items.end());
  return generator(rt, std::move(items));
}

Value filter_string(Runtime& rt, const Value& v, const Arguments& a) {
  a.bind(rt, "string", {});
  return rt.text(to_text(rt, v));
}

/// A number as Python reads it from a text, spaces around it allowed.
std::optional<double> read_float(std::string_view text) {
  text.remove_prefix(leading_white_space(text));
  text = without_trailing_white_space(text);
  if (text.starts_with('+')) text.remove_prefix(1);
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

Value filter_int(Runtime& rt, const Value& v, const Arguments& a) {
  const auto given = a.bind(rt, "int", {"default"});
  if (v.is_undefined()) get_item(rt, v, {});  // says what is undefined
  const Value otherwise = given[0].is_undefined() ? Value{std::int64_t{0}} : given[0];
  if (const auto whole = whole_number(v)) return {*whole};
  if (const std::string* text = v.text()) {
    std::string_view t = std::string_view(*text).substr(leading_white_space(*text));
    t = without_trailing_white_space(t);
    if (t.starts_with('+')) t.remove_prefix(1);
    std::int64_t whole = 0;
    const auto [end, error] = std::from_chars(t.data(), t.data() + t.size(), whole);
    if (error == std::errc() && end == t.data() + t.size()) return {whole};
  }
  const auto real = v.text() != nullptr ? read_float(*v.text()) : number(v);
  if (!real || !std::isfinite(*real)) return otherwise;
  if (std::abs(*real) >= 9.2e18) rt.fail("a whole number beyond 64 bits");
  return {static_cast<std::int64_t>(*real)};
}

Value filter_float(Runtime& rt, const Value& v, const Arguments& a) {
  const auto given = a.bind(rt, "float", {"default"});
  if (v.is_undefined()) get_item(rt, v, {});  // says what is undefined
  const auto real = v.text() != nullptr ? read_float(*v.text()) : number(v);
  if (real) return {*real};
  return given[0].is_undefined() ? Value{0.0} : given[0];
}

Value filter_abs(Runtime& rt, const Value& v, const Arguments& a) {
  a.bind(rt, "abs", {});
  const auto whole = whole_number(v);
  if (whole && *whole < 0) return arithmetic(rt, '-', {std::int64_t{0}}, v);
  if (whole) return {*whole};
  const auto real = number(v);
  if (!real) rt.fail(fmt::format("abs takes a number, not {}", type_name(v)));
  return {std::abs(*real)};
}

Value filter_tojson(Runtime& rt, const Value& v, const Arguments& a) {
  return rt.text(to_json(rt, v, a));
}

/// Lines behind the first one moved to the right.
Value filter_indent(Runtime& rt, const Value& v, const Arguments& a) {
  const auto given = a.bind(rt, "indent", {"width", "first", "blank"});
  const std::int64_t width = given[0].text() != nullptr ? 0 : whole_argument(rt, given[0], 4, "indent");
  rt.charge_bytes(static_cast<std::uint64_t>(std::max<std::int64_t>(width, 0)));
  const std::string space = given[0].text() != nullptr
                                ? *given[0].text()
                                : std::string(static_cast<std::size_t>(std::max<std::int64_t>(width, 0)), ' ');
  const std::string& text = text_argument(rt, v, "indent");
  std::string out = truth(given[1]) ? space : "";
  for (std::size_t at = 0; at < text.size();) {
    std::size_t end = text.find('\n', at);
    end = end == std::string::npos ? text.size() : end + 1;
    const std::string_view line = std::string_view(text).substr(at, end - at);
    if (at > 0 && (truth(given[2]) || line != "\n")) {
      rt.charge_bytes(space.size());
      out += space;
    }
    out += line;
    at = end;
  }
  return rt.text(std::move(out));
}

/// Which items a select or reject keeps: by truth, or by a test and its arguments.
class Choice {
 public:
  Choice(Runtime& rt, const Arguments& a, std::size_t first) : rt_(rt) {
    if (!a.named.empty()) rt.fail("select and reject take no arguments by name");
    if (a.values.size() <= first) return;
    test_ = find_test(text_argument(rt, a.values[first], "select"));
    if (test_ == nullptr) rt.fail(fmt::format("the test '{}' is not supported", for_message(*a.values[first].text())));
    rest_.values.assign(a.values.begin() + static_cast<std::ptrdiff_t>(first) + 1, a.values.end());
  }
  bool operator()(const Value& v) const { return test_ == nullptr ? truth(v) : test_->apply(rt_, v, rest_); }

 private:
  Runtime& rt_;
  const Test* test_ = nullptr;
  Arguments rest_;
};

template <bool Keep, bool ByAttribute>
Value filter_select(Runtime& rt, const Value& v, const Arguments& a) {
  if (ByAttribute && a.values.empty()) rt.fail("selectattr and rejectattr take the name of an attribute");
  const Choice fits(rt, a, ByAttribute ? 1 : 0);
  std::vector<Value> kept;
  for (const Value& item : items_of(rt, v)) {
    rt.charge(1);
    if (fits(ByAttribute ? attribute_path(rt, item, a.values[0]) : item) == Keep) kept.push_back(item);
  }
  return generator(rt, std::move(kept));
}

/// map(attribute=…) or map('filter', …).
Value filter_map(Runtime& rt, const Value& v, const Arguments& a) {
  std::vector<Value> out;
  if (a.values.empty()) {
    const auto given = a.bind(rt, "map", {"attribute", "default"});
    if (given[0].is_undefined()) rt.fail("map without a filter or an attribute");
    for (const Value& item : items_of(rt, v)) {
      Value part = attribute_path(rt, item, given[0]);
      out.push_back(part.is_undefined() ? given[1] : std::move(part));
    }
    return generator(rt, std::move(out));
  }
  const std::string& name = text_argument(rt, a.values[0], "map");
  const Filter* filter = find_filter(name);
  if (filter == nullptr || name == "safe" || name == "map") {
    rt.fail(fmt::format("the filter '{}' in a map is not supported", for_message(name)));
  }
  Arguments rest;
  rest.values.assign(a.values.begin() + 1, a.values.end());
  rest.named = a.named;
  for (const Value& item : items_of(rt, v)) out.push_back(filter->apply(rt, item, rest));
  return generator(rt, std::move(out));
}

Value filter_safe(Runtime&, const Value& v, const Arguments&) {
  return v;
}

constexpr std::array<Filter, 30> kFilters = {{{"trim", filter_trim},
                                              {"upper", filter_case<upper>},
                                              {"lower", filter_case<lower>},
                                              {"capitalize", filter_case<capitalize>},
                                              {"title", filter_case<title_words>},
                                              {"length", filter_length},
                                              {"count", filter_length},
                                              {"default", filter_default},
                                              {"d", filter_default},
                                              {"join", filter_join},
                                              {"replace", filter_replace},
                                              {"list", filter_list},
                                              {"items", filter_items},
                                              {"dictsort", filter_dictsort},
                                              {"sort", filter_sort},
                                              {"first", filter_first},
                                              {"last", filter_last},
                                              {"reverse", filter_reverse},
                                              {"string", filter_string},
                                              {"int", filter_int},
                                              {"float", filter_float},
                                              {"abs", filter_abs},
                                              {"tojson", filter_tojson},
                                              {"indent", filter_indent},
                                              {"select", filter_select<true, false>},
                                              {"reject", filter_select<false, false>},
                                              {"selectattr", filter_select<true, true>},
                                              {"rejectattr", filter_select<false, true>},
                                              {"map", filter_map},
                                              {"safe", filter_safe}}};

}  // namespace

const Filter* find_filter(std::string_view name) {
  const auto found = std::find_if(kFilters.begin(), kFilters.end(), [&](const Filter& f) { return f.name == name; });
  return found == kFilters.end() ? nullptr : &*found;
}

std::vector<Value> Arguments::bind(Runtime& runtime, std::string_view callee,
                                   std::initializer_list<std::string_view> parameters) const {
  if (values.size() > parameters.size()) {
    runtime.fail(fmt::format("{} takes {} arguments, not {}", callee, parameters.size(), values.size()));
  }
  std::vector<Value> bound(parameters.size());
  std::copy(values.begin(), values.end(), bound.begin());
  for (const auto& [name, value] : named) {
    const auto found = std::find(parameters.begin(), parameters.end(), name);
    if (found == parameters.end()) {
      runtime.fail(fmt::format("the argument '{}' of {} is not supported", for_message(name), callee));
    }
    const auto at = static_cast<std::size_t>(found - parameters.begin());
    if (at < values.size()) runtime.fail(fmt::format("the argument '{}' of {} is given twice", name, callee));
    bound[at] = value;
  }
  return bound;
}

}  // namespace rpt::text::jinja

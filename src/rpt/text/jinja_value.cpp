// SPDX-License-Identifier: MIT
#include "rpt/text/jinja_value.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

#include "rpt/core/error.h"
#include "rpt/text/jinja_functions.h"
#include "rpt/text/jinja_syntax.h"
#include "rpt/text/utf8.h"

namespace rpt::text::jinja {
namespace {

/// Lists within lists that are printed or compared.
constexpr int kMostNesting = 50;

void check_nesting(const Runtime& runtime, int depth) {
  if (depth > kMostNesting) runtime.fail(fmt::format("values nested deeper than {} levels", kMostNesting));
}

std::string quoted(Runtime& runtime, std::string_view text) {
  const bool doubles = text.find('\'') != std::string_view::npos && text.find('"') == std::string_view::npos;
  const char quote = doubles ? '"' : '\'';
  std::string out(1, quote);
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x80) runtime.fail("printing a list or dict with text outside ASCII is not supported");
    if (c == quote || c == '\\') {
      out += '\\';
      out += c;
    } else if (c == '\n') {
      out += "\\n";
    } else if (c == '\r') {
      out += "\\r";
    } else if (c == '\t') {
      out += "\\t";
    } else if (byte < 0x20 || byte == 0x7F) {
      out += fmt::format("\\x{:02x}", byte);
    } else {
      out += c;
    }
  }
  return out + quote;
}

std::string representation(Runtime& runtime, const Value& value, int depth);

template <typename Range, typename Print>
std::string joined(Runtime& runtime, const Range& range, std::string_view open, std::string_view close, Print print) {
  std::string out(open);
  bool first = true;
  for (const auto& item : range) {
    if (!first) out += ", ";
    first = false;
    const std::size_t before = out.size();
    out += print(item);
    runtime.charge_bytes(out.size() - before);
  }
  return out += close;
}

std::string representation(Runtime& runtime, const Value& value, int depth) {
  check_nesting(runtime, depth);
  runtime.charge(1);
  if (const std::string* text = value.text()) return quoted(runtime, *text);
  const auto item = [&](const Value& v) { return representation(runtime, v, depth + 1); };
  if (const auto* list = value.as<List*>()) {
    const List& l = **list;
    if (l.form == List::Form::list) return joined(runtime, l.items, "[", "]", item);
    if (l.form == List::Form::tuple) return joined(runtime, l.items, "(", l.items.size() == 1 ? ",)" : ")", item);
  } else if (const auto* dict = value.as<Dict*>()) {
    return joined(runtime, (*dict)->entries, "{", "}",
                  [&](const auto& entry) { return item(entry.first) + ": " + item(entry.second); });
  } else if (!value.as<Namespace*>() && !value.as<Loop*>() && !value.as<Function*>() && !value.is_undefined()) {
    return to_text(runtime, value);
  }
  runtime.fail(fmt::format("printing a {} is not supported", type_name(value)));
}

bool equal_at(Runtime& runtime, const Value& a, const Value& b, int depth);

bool equal_lists(Runtime& runtime, const List& a, const List& b, int depth) {
  if (&a == &b) return true;
  const bool comparable = a.form == b.form && (a.form == List::Form::list || a.form == List::Form::tuple);
  if (!comparable || a.items.size() != b.items.size()) return false;
  for (std::size_t i = 0; i < a.items.size(); ++i) {
    if (!equal_at(runtime, a.items[i], b.items[i], depth + 1)) return false;
  }
  return true;
}

bool equal_dicts(Runtime& runtime, const Dict& a, const Dict& b, int depth) {
  if (&a == &b) return true;
  if (a.entries.size() != b.entries.size()) return false;
  for (const auto& entry : a.entries) {
    const auto found = std::find_if(b.entries.begin(), b.entries.end(),
                                    [&](const auto& e) { return equal_at(runtime, e.first, entry.first, depth + 1); });
    if (found == b.entries.end() || !equal_at(runtime, entry.second, found->second, depth + 1)) return false;
  }
  return true;
}

bool equal_at(Runtime& runtime, const Value& a, const Value& b, int depth) {
  check_nesting(runtime, depth);
  runtime.charge(1);
  if (const std::string* x = a.text()) {
    runtime.charge(x->size() / 64);
    return b.text() != nullptr && *x == *b.text();
  }
  const auto x = whole_number(a);
  const auto y = whole_number(b);
  if (x && y) return *x == *y;
  if (number(a) && number(b)) return *number(a) == *number(b);
  if (a.is.index() != b.is.index()) return false;
  if (a.is_none() || a.is_undefined()) return true;
  if (const auto* list = a.as<List*>()) return equal_lists(runtime, **list, **b.as<List*>(), depth);
  if (const auto* dict = a.as<Dict*>()) return equal_dicts(runtime, **dict, **b.as<Dict*>(), depth);
  if (const auto* space = a.as<Namespace*>()) return *space == *b.as<Namespace*>();
  if (const auto* loop = a.as<Loop*>()) return *loop == *b.as<Loop*>();
  return *a.as<Function*>() == *b.as<Function*>();
}

/// Begin, step and count of `[begin:end:step]` on `size` items, as Python's slice.indices.
struct SliceBounds {
  std::int64_t begin, step, count;
};

SliceBounds bounds(Runtime& runtime, std::int64_t size, const Value& begin, const Value& end, const Value& step) {
  const std::int64_t wanted = whole_argument(runtime, step, 1, "a slice");
  if (wanted == 0) runtime.fail("a slice of step 0");
  // A step beyond the size takes one item, as one of the size does.
  const std::int64_t most = std::max<std::int64_t>(size, 1);
  const std::int64_t by = std::clamp(wanted, -most, most);
  const auto place = [&](const Value& value, std::int64_t otherwise) {
    if (value.is_undefined() || value.is_none()) return otherwise;
    std::int64_t at = whole_argument(runtime, value, 0, "a slice");
    if (at < 0) at = at < -size ? -1 : at + size;
    // What lies before the first item is no item: 0 forwards, -1 backwards.
    return by > 0 ? std::clamp<std::int64_t>(at, 0, size) : std::clamp<std::int64_t>(at, -1, size - 1);
  };
  const std::int64_t from = place(begin, by > 0 ? 0 : size - 1);
  const std::int64_t to = place(end, by > 0 ? size : -1);
  const std::int64_t distance = by > 0 ? to - from : from - to;
  const std::int64_t stride = by > 0 ? by : -by;
  return {from, by, distance <= 0 ? 0 : (distance + stride - 1) / stride};
}

Value character(Runtime& runtime, std::string_view text, std::int64_t index) {
  const std::vector<std::string_view> all = characters(runtime, text);
  const std::int64_t at = index < 0 ? index + std::ssize(all) : index;
  if (at < 0 || at >= std::ssize(all)) return {};
  return runtime.text(std::string(all[static_cast<std::size_t>(at)]));
}

Value loop_attribute(Runtime& runtime, const Loop& loop, std::string_view name) {
  const auto whole = [](std::size_t n) { return Value{static_cast<std::int64_t>(n)}; };
  const std::size_t left = loop.items.size() - loop.index;
  if (name == "index") return whole(loop.index + 1);
  if (name == "index0") return whole(loop.index);
  if (name == "revindex") return whole(left);
  if (name == "revindex0") return whole(left - 1);
  if (name == "first") return {loop.index == 0};
  if (name == "last") return {left == 1};
  if (name == "length") return whole(loop.items.size());
  if (name == "depth") return whole(1);  // only recursive loops count
  if (name == "depth0") return whole(0);
  if (name == "previtem") return loop.index == 0 ? Value() : loop.items[loop.index - 1];
  if (name == "nextitem") return left == 1 ? Value() : loop.items[loop.index + 1];
  runtime.fail(fmt::format("loop.{} is not supported", for_message(name)));
}

}  // namespace

Value* Scope::find(std::string_view name) {
  for (Scope* scope = this; scope != nullptr; scope = scope->outer) {
    for (auto& [known, value] : scope->variables) {
      if (known == name) return &value;
    }
  }
  return nullptr;
}

void Scope::set(std::string_view name, Value value) {
  for (auto& [known, old] : variables) {
    if (known == name) {
      old = std::move(value);
      return;
    }
  }
  variables.emplace_back(name, std::move(value));
}

void Runtime::fail(const std::string& what) const {
  fail_at(where_, line, what);
}

void Runtime::charge(std::uint64_t steps) {
  if (steps > limits_.steps - steps_) fail(fmt::format("the template takes more than {} steps", limits_.steps));
  steps_ += steps;
}

void Runtime::charge_bytes(std::uint64_t bytes) {
  charge(bytes / 64);
  if (bytes > limits_.bytes - bytes_) fail(fmt::format("the template makes more than {} bytes", limits_.bytes));
  bytes_ += bytes;
}

Value Runtime::text(std::string value) {
  charge_bytes(value.size());
  return {std::make_shared<const std::string>(std::move(value))};
}

List& Runtime::new_list(List::Form form) {
  List& list = keep(lists_);
  list.form = form;
  return list;
}

Dict& Runtime::new_dict() {
  return keep(dicts_);
}

Scope& Runtime::new_scope(Scope* outer) {
  Scope& scope = keep(scopes_);
  scope.outer = outer;
  return scope;
}

std::string_view type_name(const Value& value) {
  if (const auto* list = value.as<List*>()) {
    constexpr std::array<std::string_view, 5> kForms = {"list", "tuple", "dict view", "range", "generator"};
    return kForms[static_cast<std::size_t>((*list)->form)];
  }
  constexpr std::array<std::string_view, 11> kNames = {"undefined", "None", "bool",      "int",  "float",   "str",
                                                       "list",      "dict", "namespace", "loop", "function"};
  return kNames[value.is.index()];
}

bool truth(const Value& value) {
  if (value.is_undefined() || value.is_none()) return false;
  if (const std::string* text = value.text()) return !text->empty();
  if (const auto n = number(value)) return *n != 0;
  if (const auto* list = value.as<List*>()) return (*list)->form == List::Form::generator || !(*list)->items.empty();
  if (const auto* dict = value.as<Dict*>()) return !(*dict)->entries.empty();
  return true;
}

bool equal(Runtime& runtime, const Value& a, const Value& b) {
  return equal_at(runtime, a, b, 0);
}

int order(Runtime& runtime, const Value& a, const Value& b) {
  runtime.charge(1);
  if (a.text() != nullptr && b.text() != nullptr) {
    runtime.charge(a.text()->size() / 64);
    return a.text()->compare(*b.text());  // UTF-8 keeps the order of code points
  }
  const auto x = whole_number(a);
  const auto y = whole_number(b);
  if (x && y) return *x < *y ? -1 : *x > *y ? 1 : 0;
  const auto u = number(a);
  const auto v = number(b);
  if (!u || !v) runtime.fail(fmt::format("the order of a {} and a {} is not supported", type_name(a), type_name(b)));
  return *u < *v ? -1 : *u > *v ? 1 : 0;
}

bool contains(Runtime& runtime, const Value& a, const Value& b) {
  if (const std::string* text = b.text()) {
    if (a.text() == nullptr) runtime.fail(fmt::format("a {} is looked for in a text", type_name(a)));
    runtime.charge(text->size() / 64);
    return text->find(*a.text()) != std::string::npos;
  }
  if (const auto* dict = b.as<Dict*>()) {
    const auto& entries = (*dict)->entries;
    return std::any_of(entries.begin(), entries.end(), [&](const auto& e) { return equal(runtime, e.first, a); });
  }
  const std::vector<Value> items = items_of(runtime, b);
  return std::any_of(items.begin(), items.end(), [&](const Value& item) { return equal(runtime, item, a); });
}

std::string float_text(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value < 0 ? "-inf" : "inf";
  std::array<char, 64> buffer{};
  const auto end = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value, std::chars_format::scientific);
  const std::string_view text(buffer.data(), static_cast<std::size_t>(end.ptr - buffer.data()));
  const std::size_t e = text.find('e');
  int exponent = 0;
  const std::size_t digits_of_exponent = e + (text[e + 1] == '+' ? 2 : 1);
  std::from_chars(text.data() + digits_of_exponent, text.data() + text.size(), exponent);
  // Python writes an exponent from 1e16 on and below 1e-4, at least two digits of it.
  if (exponent < -4 || exponent >= 16) {
    return fmt::format("{}e{}{:02}", text.substr(0, e), exponent < 0 ? '-' : '+', std::abs(exponent));
  }
  const auto fixed = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value, std::chars_format::fixed);
  std::string out(buffer.data(), fixed.ptr);
  if (out.find('.') == std::string::npos) out += ".0";
  return out;
}

std::string to_text(Runtime& runtime, const Value& value) {
  if (const std::string* text = value.text()) return *text;
  if (value.is_undefined()) return "";
  if (value.is_none()) return "None";
  if (const bool* b = value.as<bool>()) return *b ? "True" : "False";
  if (const auto* i = value.as<std::int64_t>()) return std::to_string(*i);
  if (const double* d = value.as<double>()) return float_text(*d);
  return representation(runtime, value, 0);
}

std::vector<Value> items_of(Runtime& runtime, const Value& value) {
  std::vector<Value> items;
  if (const std::string* text = value.text()) {
    for (const std::string_view c : characters(runtime, *text)) items.push_back(runtime.text(std::string(c)));
  } else if (const auto* list = value.as<List*>()) {
    if ((*list)->form == List::Form::generator) return std::exchange((*list)->items, {});
    items = (*list)->items;
  } else if (const auto* dict = value.as<Dict*>()) {
    for (const auto& [key, unused] : (*dict)->entries) items.push_back(key);
  } else if (!value.is_undefined()) {
    runtime.fail(fmt::format("a {} cannot be run over", type_name(value)));
  }
  runtime.charge(items.size());
  return items;
}

std::int64_t length_of(Runtime& runtime, const Value& value) {
  if (value.is_undefined()) return 0;
  if (const std::string* text = value.text()) return std::ssize(characters(runtime, *text));
  if (const auto* list = value.as<List*>(); list != nullptr && (*list)->form != List::Form::generator) {
    return std::ssize((*list)->items);
  }
  if (const auto* dict = value.as<Dict*>()) return std::ssize((*dict)->entries);
  runtime.fail(fmt::format("a {} has no length", type_name(value)));
}

Value get_item(Runtime& runtime, const Value& value, const Value& key) {
  runtime.charge(1);
  if (const auto* undefined = value.as<Undefined>()) {
    runtime.fail(fmt::format("{} is undefined", undefined->name ? for_message(*undefined->name) : "a value"));
  }
  if (const auto* dict = value.as<Dict*>()) {
    for (const auto& [known, item] : (*dict)->entries) {
      if (equal(runtime, known, key)) return item;
    }
  } else if (const auto index = whole_number(key)) {
    if (const std::string* text = value.text()) return character(runtime, *text, *index);
    const auto* list = value.as<List*>();
    if (list != nullptr && (*list)->form != List::Form::view && (*list)->form != List::Form::generator) {
      const auto& items = (*list)->items;
      const std::int64_t at = *index < 0 ? *index + std::ssize(items) : *index;
      if (at >= 0 && at < std::ssize(items)) return items[static_cast<std::size_t>(at)];
    }
  }
  Value none{Undefined{}};
  if (const std::string* name = key.text()) {
    if (value.as<Namespace*>() || value.as<Loop*>() || has_method(value, *name)) {
      return get_attribute(runtime, value, *name);
    }
    none.is = Undefined{std::make_shared<const std::string>(fmt::format("'{}'", *name))};
  }
  return none;
}

Value get_attribute(Runtime& runtime, const Value& value, std::string_view name) {
  runtime.charge(1);
  if (const auto* space = value.as<Namespace*>()) {
    for (const auto& [known, item] : (*space)->attributes) {
      if (known == name) return item;
    }
  } else if (has_method(value, name)) {
    Function& method = runtime.new_function();
    method.kind = Function::Kind::method;
    method.name = name;
    method.self = value;
    return {&method};
  } else if (const auto* loop = value.as<Loop*>()) {
    return loop_attribute(runtime, **loop, name);
  } else if (value.as<Dict*>() || value.is_undefined()) {
    return get_item(runtime, value, runtime.text(std::string(name)));
  }
  return {Undefined{std::make_shared<const std::string>(fmt::format("'{}'", name))}};
}

Value get_slice(Runtime& runtime, const Value& value, const Value& begin, const Value& end, const Value& step) {
  if (const std::string* text = value.text()) {
    const std::vector<std::string_view> all = characters(runtime, *text);
    const SliceBounds b = bounds(runtime, std::ssize(all), begin, end, step);
    std::string out;
    for (std::int64_t i = 0; i < b.count; ++i) out += all[static_cast<std::size_t>(b.begin + i * b.step)];
    return runtime.text(std::move(out));
  }
  const auto* list = value.as<List*>();
  if (list == nullptr || (*list)->form == List::Form::view || (*list)->form == List::Form::generator) {
    if (value.is_undefined()) return get_item(runtime, value, {});
    runtime.fail(fmt::format("a slice of a {} is not supported", type_name(value)));
  }
  const SliceBounds b = bounds(runtime, std::ssize((*list)->items), begin, end, step);
  runtime.charge(static_cast<std::uint64_t>(b.count));
  List& out = runtime.new_list((*list)->form);
  for (std::int64_t i = 0; i < b.count; ++i) {
    out.items.push_back((*list)->items[static_cast<std::size_t>(b.begin + i * b.step)]);
  }
  return {&out};
}

std::optional<std::int64_t> whole_number(const Value& value) {
  if (const bool* b = value.as<bool>()) return *b ? 1 : 0;
  if (const auto* i = value.as<std::int64_t>()) return *i;
  return std::nullopt;
}

std::optional<double> number(const Value& value) {
  if (const double* d = value.as<double>()) return *d;
  if (const auto whole = whole_number(value)) return static_cast<double>(*whole);
  return std::nullopt;
}

std::vector<std::string_view> characters(Runtime& runtime, std::string_view text) {
  runtime.charge(1 + text.size() / 16);
  std::vector<std::string_view> all;
  while (!text.empty()) {
    const std::size_t size = decode_utf8(text).size;
    all.push_back(text.substr(0, size));
    text.remove_prefix(size);
  }
  return all;
}

}  // namespace rpt::text::jinja

// SPDX-License-Identifier: MIT
#include <algorithm>
#include <array>
#include <span>

#include "rpt/core/error.h"
#include "rpt/text/jinja_functions.h"
#include "rpt/text/utf8.h"
#include "rpt/text/white_space.h"

namespace rpt::text::jinja {
namespace {

bool is_letter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}
char to_upper(char c) {
  return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
}
char to_lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

void check_ascii(Runtime& runtime, std::string_view text) {
  if (std::any_of(text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) >= 0x80; })) {
    runtime.fail(
        fmt::format("the other case of '{}' is not supported: only letters of ASCII have one here", for_message(text)));
  }
}

/// Python's str.title: capitals where no letter stands before.
std::string title(Runtime& runtime, std::string_view text) {
  check_ascii(runtime, text);
  std::string out(text);
  bool within = false;
  for (char& c : out) {
    c = within ? to_lower(c) : to_upper(c);
    within = is_letter(c);
  }
  return out;
}

Value list_of(Runtime& runtime, std::span<const std::string_view> parts) {
  List& list = runtime.new_list(List::Form::list);
  for (const std::string_view part : parts) list.items.push_back(runtime.text(std::string(part)));
  return {&list};
}

/// Without a separator, the words between white space, as str.split() with a greatest number of cuts.
std::vector<std::string_view> split_words(std::string_view text, std::int64_t most) {
  std::vector<std::string_view> parts;
  while (true) {
    text.remove_prefix(leading_white_space(text));
    if (text.empty()) return parts;
    if (most >= 0 && std::cmp_greater_equal(parts.size(), most)) break;
    std::size_t end = 0;
    while (end < text.size() && leading_white_space(text.substr(end)) == 0) end += decode_utf8(text.substr(end)).size;
    parts.push_back(text.substr(0, end));
    text.remove_prefix(end);
  }
  parts.push_back(text);
  return parts;
}

Value split(Runtime& runtime, std::string_view text, const Arguments& arguments, bool from_right) {
  const auto given = arguments.bind(runtime, from_right ? "rsplit" : "split", {"sep", "maxsplit"});
  const std::int64_t most = whole_argument(runtime, given[1], -1, "split");
  runtime.charge(1 + text.size() / 16);
  std::vector<std::string_view> parts;
  if (given[0].is_undefined() || given[0].is_none()) {
    if (from_right && most >= 0) runtime.fail("rsplit without a separator is not supported");
    return list_of(runtime, split_words(text, most));
  }
  const std::string& separator = text_argument(runtime, given[0], "split");
  if (separator.empty()) runtime.fail("split at an empty text");
  while (most < 0 || std::cmp_less(parts.size(), most)) {
    const std::size_t at = from_right ? text.rfind(separator) : text.find(separator);
    if (at == std::string_view::npos) break;
    runtime.charge(1);
    const std::string_view before = text.substr(0, at);
    const std::string_view behind = text.substr(at + separator.size());
    parts.push_back(from_right ? behind : before);
    text = from_right ? before : behind;
  }
  parts.push_back(text);
  if (from_right) std::reverse(parts.begin(), parts.end());
  return list_of(runtime, parts);
}

/// startswith and endswith, which take one text or several.
Value begins_or_ends(Runtime& runtime, std::string_view text, std::string_view name, const Arguments& arguments) {
  const auto given = arguments.bind(runtime, name, {"prefix"});
  const auto fits = [&](const Value& part) {
    const std::string& p = text_argument(runtime, part, name);
    return name == "startswith" ? text.starts_with(p) : text.ends_with(p);
  };
  const auto* list = given[0].as<List*>();
  if (list == nullptr) return {fits(given[0])};
  const auto& items = (*list)->items;
  runtime.charge(items.size());
  return {std::any_of(items.begin(), items.end(), fits)};
}

/// find and count, in characters.
Value search(Runtime& runtime, const std::string& text, std::string_view name, const Arguments& arguments) {
  const auto given = arguments.bind(runtime, name, {"sub"});
  const std::string& part = text_argument(runtime, given[0], name);
  runtime.charge(1 + text.size() / 16);
  if (name == "find") {
    const std::size_t at = text.find(part);
    if (at == std::string::npos) return {std::int64_t{-1}};
    return {static_cast<std::int64_t>(characters(runtime, std::string_view(text).substr(0, at)).size())};
  }
  if (part.empty()) return {static_cast<std::int64_t>(characters(runtime, text).size() + 1)};
  std::int64_t count = 0;
  for (std::size_t at = 0; (at = text.find(part, at)) != std::string::npos; at += part.size()) ++count;
  return {count};
}

Value join_texts(Runtime& runtime, const std::string& separator, const Arguments& arguments) {
  const auto given = arguments.bind(runtime, "join", {"iterable"});
  std::string out;
  bool first = true;
  for (const Value& item : items_of(runtime, given[0])) {
    if (!first) out += separator;
    first = false;
    out += text_argument(runtime, item, "join");
    runtime.charge_bytes(separator.size());
  }
  return runtime.text(std::move(out));
}

constexpr std::array<std::string_view, 17> kTextMethods = {
    "strip", "lstrip", "rstrip",     "split", "rsplit", "startswith", "endswith", "upper",     "lower",
    "title", "find",   "capitalize", "count", "join",   "replace",    "isdigit",  "splitlines"};

Value text_method(Runtime& runtime, const std::string& text, std::string_view name, const Arguments& arguments) {
  if (name == "strip" || name == "lstrip" || name == "rstrip") {
    const auto given = arguments.bind(runtime, name, {"chars"});
    return runtime.text(strip(runtime, text, given[0], name != "rstrip", name != "lstrip"));
  }
  if (name == "split" || name == "rsplit") return split(runtime, text, arguments, name == "rsplit");
  if (name == "startswith" || name == "endswith") return begins_or_ends(runtime, text, name, arguments);
  if (name == "find" || name == "count") return search(runtime, text, name, arguments);
  if (name == "join") return join_texts(runtime, text, arguments);
  if (name == "replace") {
    const auto given = arguments.bind(runtime, name, {"old", "new", "count"});
    return runtime.text(replace(runtime, text, text_argument(runtime, given[0], name),
                                text_argument(runtime, given[1], name), whole_argument(runtime, given[2], -1, name)));
  }
  arguments.bind(runtime, name, {});
  if (name == "upper") return runtime.text(upper(runtime, text));
  if (name == "lower") return runtime.text(lower(runtime, text));
  if (name == "title") return runtime.text(title(runtime, text));
  if (name == "capitalize") return runtime.text(capitalize(runtime, text));
  if (name == "isdigit") {
    check_ascii(runtime, text);
    return {!text.empty() && std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; })};
  }
  runtime.fail(fmt::format("the method '{}' of a str is not supported", for_message(name)));
}

constexpr std::array<std::string_view, 11> kDictMethods = {"items",      "keys",   "values",  "get",   "copy",    "pop",
                                                           "setdefault", "update", "popitem", "clear", "fromkeys"};

Value dict_method(Runtime& runtime, const Dict& dict, std::string_view name, const Arguments& arguments) {
  if (name == "get") {
    const auto given = arguments.bind(runtime, name, {"key", "default"});
    for (const auto& [key, value] : dict.entries) {
      if (equal(runtime, key, given[0])) return value;
    }
    return arguments.values.size() > 1 || !arguments.named.empty() ? given[1] : Value{None()};
  }
  if (name != "items" && name != "keys" && name != "values") {
    runtime.fail(fmt::format("the method '{}' of a dict is not supported", for_message(name)));
  }
  arguments.bind(runtime, name, {});
  List& view = runtime.new_list(List::Form::view);
  for (const auto& [key, value] : dict.entries) {
    if (name == "items") {
      List& pair = runtime.new_list(List::Form::tuple);
      pair.items = {key, value};
      view.items.push_back({&pair});
    } else {
      view.items.push_back(name == "keys" ? key : value);
    }
  }
  return {&view};
}

constexpr std::array<std::string_view, 9> kListMethods = {"append", "extend", "insert",  "pop", "remove",
                                                          "index",  "count",  "reverse", "sort"};

template <std::size_t N>
bool holds(const std::array<std::string_view, N>& names, std::string_view name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

}  // namespace

bool has_method(const Value& self, std::string_view name) {
  if (self.text() != nullptr) return holds(kTextMethods, name);
  if (self.as<Dict*>()) return holds(kDictMethods, name);
  if (const auto* list = self.as<List*>()) return (*list)->form == List::Form::list && holds(kListMethods, name);
  return self.as<Loop*>() && name == "cycle";
}

Value call_method(Runtime& runtime, const Value& self, std::string_view name, const Arguments& arguments) {
  if (const std::string* text = self.text()) return text_method(runtime, *text, name, arguments);
  if (const auto* dict = self.as<Dict*>()) return dict_method(runtime, **dict, name, arguments);
  if (const auto* loop = self.as<Loop*>()) {
    if (arguments.values.empty() || !arguments.named.empty()) runtime.fail("loop.cycle without values");
    return arguments.values[(*loop)->index % arguments.values.size()];
  }
  runtime.fail(fmt::format("the method '{}' of a {} is not supported", for_message(name), type_name(self)));
}

std::string strip(Runtime& runtime, std::string_view text, const Value& characters_to_strip, bool left, bool right) {
  runtime.charge(1 + text.size() / 64);
  if (characters_to_strip.is_undefined() || characters_to_strip.is_none()) {
    if (left) text.remove_prefix(leading_white_space(text));
    if (right) text = without_trailing_white_space(text);
    return std::string(text);
  }
  const std::vector<std::string_view> set = characters(runtime, text_argument(runtime, characters_to_strip, "strip"));
  const auto goes = [&](std::string_view c) {
    runtime.charge(1 + set.size() / 16);
    return std::find(set.begin(), set.end(), c) != set.end();
  };
  while (left && !text.empty() && goes(text.substr(0, decode_utf8(text).size))) {
    text.remove_prefix(decode_utf8(text).size);
  }
  while (right && !text.empty() && goes(text.substr(last_character(text)))) text = text.substr(0, last_character(text));
  return std::string(text);
}

std::string replace(Runtime& runtime, std::string_view text, std::string_view from, std::string_view to,
                    std::int64_t count) {
  std::string out;
  runtime.charge(1 + text.size() / 16);
  const auto put = [&](std::string_view part) {
    runtime.charge_bytes(part.size());
    out += part;
  };
  std::int64_t done = 0;
  const auto wanted = [&] { return count < 0 || done < count; };
  if (from.empty()) {  // before each character and at the end
    for (const std::string_view c : characters(runtime, text)) {
      if (wanted()) put(to), ++done;
      put(c);
    }
    if (wanted()) put(to);
    return out;
  }
  std::size_t at = 0;
  while (wanted()) {
    const std::size_t found = text.find(from, at);
    if (found == std::string_view::npos) break;
    put(text.substr(at, found - at));
    put(to);
    runtime.charge(1);
    ++done;
    at = found + from.size();
  }
  put(text.substr(at));
  return out;
}

std::string upper(Runtime& runtime, std::string_view text) {
  check_ascii(runtime, text);
  std::string out(text);
  std::transform(out.begin(), out.end(), out.begin(), to_upper);
  return out;
}

std::string lower(Runtime& runtime, std::string_view text) {
  check_ascii(runtime, text);
  std::string out(text);
  std::transform(out.begin(), out.end(), out.begin(), to_lower);
  return out;
}

std::string capitalize(Runtime& runtime, std::string_view text) {
  std::string out = lower(runtime, text);
  if (!out.empty()) out.front() = to_upper(out.front());
  return out;
}

const std::string& text_argument(Runtime& runtime, const Value& value, std::string_view callee) {
  if (value.text() == nullptr) runtime.fail(fmt::format("{} takes a str, not {}", callee, type_name(value)));
  return *value.text();
}

std::int64_t whole_argument(Runtime& runtime, const Value& value, std::int64_t otherwise, std::string_view callee) {
  if (value.is_undefined() || value.is_none()) return otherwise;
  const auto whole = whole_number(value);
  if (!whole) runtime.fail(fmt::format("{} takes an int, not {}", callee, type_name(value)));
  return *whole;
}

}  // namespace rpt::text::jinja

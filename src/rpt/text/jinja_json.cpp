// SPDX-License-Identifier: MIT
#include <algorithm>
#include <cmath>

#include "rpt/core/error.h"
#include "rpt/text/jinja_functions.h"
#include "rpt/text/utf8.h"

namespace rpt::text::jinja {
namespace {

constexpr int kMostNesting = 50;

/// One call of Python's json.dumps.
class JsonWriter {
 public:
  JsonWriter(Runtime& runtime, const Arguments& arguments) : runtime_(runtime) {
    const auto given = arguments.bind(runtime, "tojson", {"ensure_ascii", "indent", "separators", "sort_keys"});
    ascii_ = truth(given[0]);
    sorted_ = truth(given[3]);
    if (!given[1].is_undefined() && !given[1].is_none()) {
      indents_ = true;
      between_ = ",";
      if (const std::string* text = given[1].text()) {
        indent_ = *text;
      } else {
        const std::int64_t width = whole_argument(runtime, given[1], 0, "tojson");
        if (width > 64) runtime.fail("an indent of more than 64 spaces is not supported");
        indent_.assign(static_cast<std::size_t>(std::max<std::int64_t>(width, 0)), ' ');
      }
    }
    if (given[2].is_undefined() || given[2].is_none()) return;
    const std::vector<Value> separators = items_of(runtime, given[2]);
    if (separators.size() != 2) runtime.fail("separators takes two texts");
    between_ = text_argument(runtime, separators[0], "separators");
    colon_ = text_argument(runtime, separators[1], "separators");
  }

  std::string write(const Value& value) {
    put(value, 0);
    return std::move(out_);
  }

 private:
  void append(std::string_view text) {
    runtime_.charge_bytes(text.size());
    out_ += text;
  }

  void put(const Value& value, int depth) {
    runtime_.charge(1);
    if (depth > kMostNesting) runtime_.fail(fmt::format("values nested deeper than {} levels", kMostNesting));
    if (const std::string* text = value.text()) return put_text(*text);
    if (const auto* dict = value.as<Dict*>()) return put_dict(**dict, depth);
    const auto* list = value.as<List*>();
    if (list != nullptr && ((*list)->form == List::Form::list || (*list)->form == List::Form::tuple)) {
      const auto& items = (*list)->items;
      return put_all('[', ']', items.size(), depth, [&](std::size_t i) { put(items[i], depth + 1); });
    }
    append(scalar(value));
  }

  std::string scalar(const Value& value) const {
    if (value.is_none()) return "null";
    if (const bool* b = value.as<bool>()) return *b ? "true" : "false";
    if (const auto* i = value.as<std::int64_t>()) return std::to_string(*i);
    if (const double* d = value.as<double>()) {
      if (std::isnan(*d)) return "NaN";
      if (std::isinf(*d)) return *d < 0 ? "-Infinity" : "Infinity";
      return float_text(*d);
    }
    runtime_.fail(fmt::format("a {} cannot be written as JSON", type_name(value)));
  }

  void put_dict(const Dict& dict, int depth) {
    std::vector<const std::pair<Value, Value>*> entries;
    for (const auto& entry : dict.entries) entries.push_back(&entry);
    if (sorted_) {
      std::stable_sort(entries.begin(), entries.end(),
                       [&](const auto* a, const auto* b) { return order(runtime_, a->first, b->first) < 0; });
    }
    put_all('{', '}', entries.size(), depth, [&](std::size_t i) {
      const Value& key = entries[i]->first;
      put_text(key.text() != nullptr ? *key.text() : scalar(key));
      append(colon_);
      put(entries[i]->second, depth + 1);
    });
  }

  template <typename PutOne>
  void put_all(char open, char close, std::size_t count, int depth, const PutOne& put_one) {
    append(std::string_view(&open, 1));
    for (std::size_t i = 0; i < count; ++i) {
      if (i > 0) append(between_);
      if (indents_) break_line(depth + 1);
      put_one(i);
    }
    if (indents_ && count > 0) break_line(depth);
    append(std::string_view(&close, 1));
  }

  void break_line(int depth) {
    append("\n");
    for (int i = 0; i < depth; ++i) append(indent_);
  }

  void put_text(std::string_view text) {
    std::string out = "\"";
    while (!text.empty()) {
      const Utf8Char c = decode_utf8(text);
      const std::string_view as_is = text.substr(0, c.size);
      text.remove_prefix(c.size);
      constexpr std::string_view kMeanings = "\"\\\b\f\n\r\t";
      constexpr std::string_view kNames = "\"\\bfnrt";
      const std::size_t known = c.code_point < 0x80 ? kMeanings.find(as_is) : std::string_view::npos;
      if (known != std::string_view::npos) {
        out += '\\';
        out += kNames[known];
      } else if (c.code_point < 0x20 || (ascii_ && c.code_point > 0x7E)) {
        out += escaped(c.code_point);
      } else {
        out += as_is;
      }
    }
    append(out += '"');
  }

  static std::string escaped(char32_t c) {
    if (c < 0x10000) return fmt::format("\\u{:04x}", static_cast<std::uint32_t>(c));
    const auto rest = static_cast<std::uint32_t>(c) - 0x10000;
    return fmt::format("\\u{:04x}\\u{:04x}", 0xD800 + (rest >> 10U), 0xDC00 + (rest & 0x3FFU));
  }

  Runtime& runtime_;
  bool ascii_ = false;
  bool sorted_ = false;
  bool indents_ = false;
  std::string indent_;
  std::string between_ = ", ";
  std::string colon_ = ": ";
  std::string out_;
};

}  // namespace

std::string to_json(Runtime& runtime, const Value& value, const Arguments& arguments) {
  return JsonWriter(runtime, arguments).write(value);
}

}  // namespace rpt::text::jinja

// SPDX-License-Identifier: MIT
#pragma once
#include <functional>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "rpt/text/jinja_value.h"

namespace rpt::text::jinja {

/// What a call was given.
struct Arguments {
  std::vector<Value> values;
  std::vector<std::pair<std::string, Value>> named;

  /// One value for each parameter, undefined where nothing was given. Fails for arguments that have no parameter.
  std::vector<Value> bind(Runtime& runtime, std::string_view callee,
                          std::initializer_list<std::string_view> parameters) const;
};

struct Filter {
  std::string_view name;
  Value (*apply)(Runtime&, const Value&, const Arguments&);
};

struct Test {
  std::string_view name;
  bool (*apply)(Runtime&, const Value&, const Arguments&);
};

/// A filter or test by name; null where there is none.
const Filter* find_filter(std::string_view name);
const Test* find_test(std::string_view name);

/// Whether values of this type have a method of this name that templates may call.
bool has_method(const Value& self, std::string_view name);
/// self.name(arguments).
Value call_method(Runtime& runtime, const Value& self, std::string_view name, const Arguments& arguments);

/// Parts of texts that filters and methods share; they work on characters as Python does.
std::string strip(Runtime& runtime, std::string_view text, const Value& characters_to_strip, bool left, bool right);
std::string replace(Runtime& runtime, std::string_view text, std::string_view from, std::string_view to,
                    std::int64_t count);
std::string to_json(Runtime& runtime, const Value& value, const Arguments& arguments);
/// Letters of ASCII texts in the other case; fails for other texts.
std::string upper(Runtime& runtime, std::string_view text);
std::string lower(Runtime& runtime, std::string_view text);
std::string capitalize(Runtime& runtime, std::string_view text);
/// A text, else fails naming who asks.
const std::string& text_argument(Runtime& runtime, const Value& value, std::string_view callee);
/// A whole number, `otherwise` where undefined or none, else fails.
std::int64_t whole_argument(Runtime& runtime, const Value& value, std::int64_t otherwise, std::string_view callee);

}  // namespace rpt::text::jinja

// SPDX-License-Identifier: MIT
#pragma once
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "rpt/core/checked.h"

namespace rpt::report {

/// Named figures in the order in which they were first set: what a command reports, written as JSON.
class Record {
 public:
  /// Setting a name again replaces its value in its place.
  void set(std::string name, std::nullptr_t) { put(std::move(name), nullptr); }
  void set(std::string name, std::same_as<bool> auto value) { put(std::move(name), value); }
  void set(std::string name, std::floating_point auto value) { put(std::move(name), static_cast<double>(value)); }
  /// Throws LogicError where the value is beyond int64.
  template <std::integral T>
  requires(!std::same_as<T, bool>) void set(std::string name, T value) {
    put(std::move(name), core::narrow<std::int64_t>(value));
  }
  void set(std::string name, std::string_view value) { put(std::move(name), std::string(value)); }
  void set(std::string name, const char* value) { put(std::move(name), std::string(value)); }
  void set(std::string name, const std::string& value) { put(std::move(name), value); }
  void set(std::string name, std::vector<std::int64_t> values) { put(std::move(name), std::move(values)); }
  void set(std::string name, std::vector<double> values) { put(std::move(name), std::move(values)); }
  void set(std::string name, std::vector<std::string> values) { put(std::move(name), std::move(values)); }
  void set(std::string name, Record value) { put(std::move(name), std::make_shared<const Record>(std::move(value))); }
  void set(std::string name, std::vector<Record> values) { put(std::move(name), std::move(values)); }
  /// An absent value is null.
  template <typename T>
  void set(std::string name, const std::optional<T>& value) {
    if (value) {
      set(std::move(name), *value);
    } else {
      set(std::move(name), nullptr);
    }
  }

  /// Sets every figure of another record here, in its order.
  void append(const Record& other) {
    for (const auto& [name, value] : other.entries_) put(name, value);
  }

  /// One JSON object. Doubles read back the same and are short; infinities and NaNs are null; bytes of a text that are
  /// not UTF-8 become U+FFFD. `indent` spaces a level, or −1 for a single line.
  std::string to_json(int indent = 2) const;

 private:
  using Value =
      std::variant<std::nullptr_t, bool, std::int64_t, double, std::string, std::vector<std::int64_t>,
                   std::vector<double>, std::vector<std::string>, std::shared_ptr<const Record>, std::vector<Record>>;
  friend struct RecordWriter;
  void put(std::string name, Value value);
  std::vector<std::pair<std::string, Value>> entries_;
};

/// A JSON array of objects, each as Record::to_json.
std::string records_to_json(const std::vector<Record>& records, int indent = 2);

}  // namespace rpt::report

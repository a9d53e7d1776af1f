// SPDX-License-Identifier: MIT
#include "rpt/report/record.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <type_traits>

namespace rpt::report {

/// Turns records into the library's values; nlohmann::ordered_json itself writes infinities and NaNs as null.
struct RecordWriter {
  using Json = nlohmann::ordered_json;

  static Json object(const Record& record) {
    Json json = Json::object();
    for (const auto& [name, value] : record.entries_) {
      json[name] = std::visit([](const auto& v) { return convert(v); }, value);
    }
    return json;
  }
  template <typename T>
  static Json convert(const T& value) {
    return value;
  }
  static Json convert(const std::shared_ptr<const Record>& record) { return object(*record); }
  static Json convert(const std::vector<Record>& records) {
    Json json = Json::array();
    for (const Record& record : records) json.push_back(object(record));
    return json;
  }
  static std::string text(const Json& json, int indent) {
    return json.dump(indent, ' ', false, Json::error_handler_t::replace);
  }
};

void Record::put(std::string name, Value value) {
  const auto known =
      std::find_if(entries_.begin(), entries_.end(), [&](const auto& entry) { return entry.first == name; });
  if (known != entries_.end()) {
    known->second = std::move(value);
  } else {
    entries_.emplace_back(std::move(name), std::move(value));
  }
}

std::string Record::to_json(int indent) const {
  return RecordWriter::text(RecordWriter::object(*this), indent);
}

std::string records_to_json(const std::vector<Record>& records, int indent) {
  return RecordWriter::text(RecordWriter::convert(records), indent);
}

}  // namespace rpt::report

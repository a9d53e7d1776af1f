// SPDX-License-Identifier: MIT
#pragma once
#include <array>
#include <string>
#include <string_view>
#include <utility>

#include "rpt/core/error.h"

/// Enumerations and their names in files and options.
namespace rpt::prune {

template <typename T, std::size_t Count>
using Names = std::array<std::pair<T, std::string_view>, Count>;

/// The name of a value, which must be in the table.
template <typename T, std::size_t Count>
std::string_view name_of(const Names<T, Count>& names, T value) {
  for (const auto& [known, text] : names) {
    if (known == value) return text;
  }
  RPT_CHECK(false, "a value without name");
  return {};
}

/// The value of that name. Throws: ConfigError that lists the names, `what` being what they name.
template <typename T, std::size_t Count>
T parse_name(const Names<T, Count>& names, std::string_view text, std::string_view what) {
  std::string all;
  for (const auto& [value, known] : names) {
    if (known == text) return value;
    all += fmt::format("{}{}", all.empty() ? "" : ", ", known);
  }
  throw ConfigError(fmt::format("unknown {} \"{}\"; there are {}", what, text, all));
}

}  // namespace rpt::prune

// SPDX-License-Identifier: MIT
#pragma once
#include <concepts>
#include <cstdint>
#include <optional>
#include <utility>

#include "rpt/core/error.h"

namespace rpt::core {

/// a · b, or nothing where the product does not fit.
inline std::optional<std::uint64_t> multiply(std::uint64_t a, std::uint64_t b) {
  std::uint64_t r = 0;
  if (__builtin_mul_overflow(a, b, &r)) return std::nullopt;
  return r;
}

/// a + b, or nothing where the sum does not fit.
inline std::optional<std::uint64_t> add(std::uint64_t a, std::uint64_t b) {
  std::uint64_t r = 0;
  if (__builtin_add_overflow(a, b, &r)) return std::nullopt;
  return r;
}

/// The integer as another integer type. Throws LogicError where the value does not fit.
template <std::integral To, std::integral From>
constexpr To narrow(From value) {
  if (!std::in_range<To>(value)) check_failed(__FILE__, __LINE__, "std::in_range<To>(value)", fmt::format("{}", value));
  return static_cast<To>(value);
}

/// Rounds n up to a multiple of `to` (not 0), or nothing where that does not fit.
inline std::optional<std::uint64_t> round_up(std::uint64_t n, std::uint64_t to) {
  RPT_CHECK(to > 0, "multiple of 0");
  const std::uint64_t rest = n % to;
  return rest == 0 ? n : add(n, to - rest);
}

}  // namespace rpt::core

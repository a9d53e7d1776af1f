// SPDX-License-Identifier: MIT
#include "rpt/ternary/scale_rules.h"

#include <array>
#include <string>
#include <utility>
#include <vector>

#include "rpt/core/error.h"
#include "rpt/core/float16.h"
#include "rpt/ternary/latent_rows.h"

namespace rpt::ternary {
namespace {

using tensor::DType;

constexpr std::array<std::pair<ScaleRule, std::string_view>, 2> kNames = {{
    {ScaleRule::online_absmean, "online_absmean"},
    {ScaleRule::stored, "stored"},
}};

constexpr double kSmallestMean = 1e-5;

float round_to(DType type, float value) {
  switch (type) {
    case DType::f32:
      return value;
    case DType::bf16:
      return core::bf16_to_float(core::float_to_bf16(value));
    case DType::f16:
      return core::f16_to_float(core::float_to_f16(value));
    default:
      throw ConfigError(fmt::format("a scale cannot be {}", tensor::name(type)));
  }
}

}  // namespace

std::string_view name(ScaleRule rule) {
  for (const auto& [known, text] : kNames) {
    if (known == rule) return text;
  }
  return "?";
}

ScaleRule parse_scale_rule(std::string_view text) {
  std::string all;
  for (const auto& [rule, known] : kNames) {
    if (known == text) return rule;
    all += fmt::format("{}{}", all.empty() ? "" : ", ", known);
  }
  throw ConfigError(fmt::format("unknown scale rule '{}'; there are {}", text, all));
}

double mean_abs(const tensor::StoredView& latents) {
  const LatentRows rows(latents);
  std::vector<double> sums(static_cast<std::size_t>(latents.rows));
  for_row_ranges(latents.rows, latents.columns, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t n = begin; n < end; ++n) sums[static_cast<std::size_t>(n)] = rows.sum_abs(n);
  });
  double total = 0;
  for (const double sum : sums) total += sum;
  return total / (static_cast<double>(latents.rows) * static_cast<double>(latents.columns));
}

AbsmeanScale absmean_scale(const tensor::StoredView& latents, DType scale_type) {
  double mean = mean_abs(latents);
  if (mean < kSmallestMean) mean = kSmallestMean;  // a NaN stays
  const float inv = 1.0F / static_cast<float>(mean);
  return {mean, inv, round_to(scale_type, 1.0F / inv)};
}

}  // namespace rpt::ternary

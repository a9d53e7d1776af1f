// SPDX-License-Identifier: MIT
#include "rpt/experiment/reproduce_scales.h"

#include <fmt/format.h>

namespace rpt::experiment {
namespace {

/// Sums of as many values as were added.
struct Mean {
  double sum = 0;
  double count = 0;
  void add(double value) {
    sum += value;
    count += 1;
  }
};

std::map<std::string, double> values_of(const std::map<std::string, Mean>& means) {
  std::map<std::string, double> values;
  for (const auto& [type, mean] : means) values[type] = mean.sum / mean.count;
  return values;
}

/// Of all models of an arm in a gauge.
std::map<std::string, double> mean_of_models(const ReproduceResult& result, const TreatmentArm& arm, BaseGauge gauge,
                                             bool fine_tuned) {
  std::map<std::string, Mean> means;
  for (const auto& [cell, found] : result.cells) {
    if (cell.arm != arm || cell.gauge != gauge || cell.fine_tune.has_value() != fine_tuned) continue;
    for (const auto& [type, ratio] : mean_scale_ratios(found)) means[type].add(ratio);
  }
  return values_of(means);
}

}  // namespace

std::map<std::string, double> mean_scale_ratios(const StageFigures& found) {
  constexpr std::string_view kPrefix = "scale_ratio ";
  std::map<std::string, Mean> means;
  for (const auto& [name, ratio] : found.numbers) {
    if (name.starts_with(kPrefix)) means[name.substr(name.rfind('.') + 1)].add(ratio);
  }
  return values_of(means);
}

std::optional<report::CaptionedTable> scale_table(const ReproduceResult& result, const ReproduceConfig& config,
                                                  bool fine_tuned) {
  const std::vector<TreatmentArm> arms = fine_tuned ? tuned_arms(config.full) : raw_arms(config.full);
  std::map<std::string, double> types;
  for (const auto& [cell, found] : result.cells) types.merge(mean_scale_ratios(found));
  std::vector<report::Column> columns{{"arm"}, {"gauge"}};
  for (const auto& [type, ratio] : types) columns.push_back(report::number_column(type, 3));
  report::Table table(std::move(columns));
  for (const TreatmentArm& arm : arms) {
    for (const BaseGauge gauge : {BaseGauge::own, BaseGauge::like_2b}) {
      // What does not depend on the gauge has the same ratios in both.
      if (gauge != BaseGauge::own && !depends_on_gauge(arm)) continue;
      const auto means = mean_of_models(result, arm, gauge, fine_tuned);
      if (means.empty()) continue;
      std::vector<report::Cell> row{title(arm), name(gauge)};
      for (const auto& [type, ratio] : types) {
        const auto at = means.find(type);
        row.emplace_back();
        if (at != means.end()) row.back() = at->second;
      }
      table.add_row(std::move(row));
    }
  }
  if (table.rows() == 0) return std::nullopt;
  return report::CaptionedTable{
      fmt::format(
          "Scales of the linear layers {}, by those of the base in the same gauge: mean over blocks and bases{}, "
          "by type of layer. Scales set by hand and factors that were fitted count; arms that do not depend on "
          "the gauge stand once.",
          fine_tuned ? "after the fine-tune" : "without training", fine_tuned ? " and seeds" : ""),
      std::move(table)};
}

}  // namespace rpt::experiment

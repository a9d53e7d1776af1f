// SPDX-License-Identifier: MIT
#include "rpt/experiment/reproduce_plots.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <map>

namespace rpt::experiment {
namespace {

/// The arms at the declared dose of which something is shown, each in one gauge or in both.
struct Shown {
  TreatmentArm arm;
  BaseGauge gauge = BaseGauge::own;
  std::string name() const { return gauge == BaseGauge::own ? kind(arm) : fmt::format("{}, gauge 2b", kind(arm)); }
};

std::vector<Shown> shown_arms() {
  std::vector<Shown> shown;
  for (const TreatmentArm& arm : raw_arms(false)) {
    if (arm.dose != kDeclaredDose) continue;
    shown.push_back({arm, BaseGauge::own});
    if (arm.treatment == Treatment::score && depends_on_gauge(arm)) shown.push_back({arm, BaseGauge::like_2b});
  }
  return shown;
}

std::optional<report::Plot> unless_empty(report::Plot plot) {
  if (plot.series.empty()) return std::nullopt;
  return plot;
}

/// Number of the block that a layer stands in: 12 of "blk.12.attn_q".
int block_of(const std::string& tensor) {
  int block = 0;
  const std::size_t begin = tensor.find('.') + 1;
  std::from_chars(tensor.data() + begin, tensor.data() + tensor.size(), block);
  return block;
}

/// Shares of codes removed by layer, in the order of blocks, mean over the bases.
std::map<std::pair<int, std::string>, double> doses(const ReproduceResult& result, const Shown& shown) {
  constexpr std::string_view kPrefix = "dose ";
  std::map<std::pair<int, std::string>, double> sums;
  double models = 0;
  for (const auto& [cell, found] : result.cells) {
    if (cell.arm != shown.arm || cell.gauge != shown.gauge || cell.fine_tune) continue;
    for (const auto& [name, value] : found.numbers) {
      if (!name.starts_with(kPrefix)) continue;
      const std::string tensor = name.substr(kPrefix.size());
      sums[{block_of(tensor), tensor}] += value;
    }
    models += 1;
  }
  for (auto& [tensor, sum] : sums) sum /= models;
  return sums;
}

}  // namespace

std::optional<report::Plot> dose_plot(const Findings& findings, const ReproduceConfig& config, bool fine_tuned) {
  report::Plot plot{
      fmt::format("Effect of pruning {} against the dose, with 95 % intervals where there are any. 0 is {}.",
                  fine_tuned ? "with fine-tune" : "without training",
                  fine_tuned ? "the same fine-tune without pruning" : "the untouched base"),
      "codes pruned, % of all ternary weights",
      "difference of NLL, %",
      {}};
  for (const Shown& shown : shown_arms()) {
    // The one's dose is of latents, the other takes no code at all.
    if (shown.arm.treatment == Treatment::legacy || shown.arm.treatment == Treatment::qk_scales) continue;
    report::Series series{shown.name(), {{0, 0}}};
    for (const TreatmentArm& arm : fine_tuned ? tuned_arms(config.full) : raw_arms(config.full)) {
      if (kind(arm) != kind(shown.arm) || arm.length != 1 || arm.levels != 1) continue;
      for (const Comparison& c : findings.comparisons) {
        if (c.arm != title(arm) || c.gauge != name(shown.gauge) || c.fine_tuned != fine_tuned || c.retention) continue;
        if (!c.against.starts_with(kind(untouched_arm()))) continue;
        report::Point point{100 * arm.dose, c.contrast.estimate};
        if (c.contrast.inference) {
          const evaluate::Interval& interval = c.contrast.inference->interval;
          point.interval = report::Bounds{interval.low, interval.high};
        }
        series.points.push_back(point);
      }
    }
    std::sort(series.points.begin(), series.points.end(),
              [](const report::Point& a, const report::Point& b) { return a.x < b.x; });
    if (series.points.size() > 1 && plot.series.size() < report::kMaxSeries) plot.series.push_back(std::move(series));
  }
  return unless_empty(std::move(plot));
}

std::optional<report::Plot> gauge_plot(const ReproduceResult& result, const ReproduceConfig& config) {
  report::Plot plot{
      "Gauge against gauge: difference of NLL to nothing pruned, a line from without training to "
      "fine-tuned (or one point, where not all bases were scored in both gauges), of the first seven arms. What does "
      "not depend on the gauge lies on the diagonal.",
      "gauge own, %",
      "gauge 2b, %",
      {}};
  if (result.cells.empty()) return std::nullopt;
  const std::vector<double>& tokens = result.cells.front().second.list("tokens");
  double lowest = 0;
  double highest = 0;
  for (const Shown& shown : shown_arms()) {
    if (shown.gauge != BaseGauge::own || plot.series.size() + 1 == report::kMaxSeries) continue;
    report::Series series{shown.name(), {}};
    for (const bool fine_tuned : {false, true}) {
      const auto own = arm_of(result, config, BaseGauge::own, shown.arm, fine_tuned);
      const auto other = arm_of(result, config, BaseGauge::like_2b, shown.arm, fine_tuned);
      const auto baseline = arm_of(result, config, BaseGauge::own, untouched_arm(), fine_tuned);
      if (!own || !other || !baseline) continue;
      // In the second gauge some are fine-tuned once only: the same fine-tunes count on both axes.
      const Arm from = shared_with(*other, *own);
      const Arm to = shared_with(*other, *baseline);
      if (from.models.empty() || to.models.empty()) continue;  // where stages are missing
      const report::Point point{contrast(from, to, tokens).estimate, contrast(*other, to, tokens).estimate};
      lowest = std::min(lowest, point.x);
      highest = std::max(highest, point.x);
      series.points.push_back(point);
    }
    if (!series.points.empty()) plot.series.push_back(std::move(series));
  }
  if (plot.series.empty()) return std::nullopt;
  plot.series.push_back({"diagonal", {{lowest, lowest}, {highest, highest}}});
  return plot;
}

std::optional<report::Plot> loss_plot(const ReproduceResult& result, const ReproduceConfig& config) {
  report::Plot plot{
      "Loss of the fine-tunes, mean over bases and seeds and of ten steps.", "step", "NLL, nats a token", {}};
  std::vector<Shown> shown = shown_arms();
  shown.insert(shown.begin(), Shown{untouched_arm(), BaseGauge::own});
  for (const Shown& s : shown) {
    std::vector<double> sum(static_cast<std::size_t>(config.tune.steps));
    double models = 0;
    for (const auto& [cell, found] : result.cells) {
      if (cell.arm != s.arm || cell.gauge != s.gauge || !cell.fine_tune) continue;
      const std::vector<double>& losses = found.list("losses");
      if (losses.size() != sum.size()) continue;
      for (std::size_t i = 0; i < sum.size(); ++i) sum[i] += losses[i];
      models += 1;
    }
    if (models == 0) continue;
    for (double& loss : sum) loss /= models;
    report::Series series = loss_series(s.name(), sum);
    if (series.points.empty()) continue;
    if (plot.series.size() == report::kMaxSeries) {
      plot.caption += " The first eight arms; the files of the stages have all.";
      break;
    }
    plot.series.push_back(std::move(series));
  }
  return unless_empty(std::move(plot));
}

std::optional<report::Plot> flips_plot(const ReproduceResult& result) {
  report::Plot plot{
      "Codes that were ±1 and are 0 after pruning 10 %, mean over the linear layers of a block and over "
      "bases. The first eight arms; the table has all.",
      "block",
      "codes removed, %",
      {}};
  for (const Shown& shown : shown_arms()) {
    std::map<int, std::pair<double, double>> blocks;
    for (const auto& [tensor, dose] : doses(result, shown)) {
      blocks[tensor.first].first += 100 * dose;
      blocks[tensor.first].second += 1;
    }
    report::Series series{shown.name(), {}};
    for (const auto& [block, sum] : blocks)
      series.points.push_back({static_cast<double>(block), sum.first / sum.second});
    if (!series.points.empty() && plot.series.size() < report::kMaxSeries) plot.series.push_back(std::move(series));
  }
  return unless_empty(std::move(plot));
}

std::optional<report::CaptionedTable> flips_table(const ReproduceResult& result) {
  std::vector<report::Column> columns{{"linear layer"}};
  std::vector<std::map<std::pair<int, std::string>, double>> all;
  for (const Shown& shown : shown_arms()) {
    auto found = doses(result, shown);
    if (found.empty()) continue;
    columns.push_back(report::number_column(shown.name(), 2));
    all.push_back(std::move(found));
  }
  if (all.empty()) return std::nullopt;
  report::Table table(std::move(columns));
  for (const auto& [tensor, first] : all.front()) {
    std::vector<report::Cell> row{tensor.second};
    for (const auto& arm : all) {
      const auto at = arm.find(tensor);
      row.emplace_back();
      if (at != arm.end()) row.back() = 100 * at->second;
    }
    table.add_row(std::move(row));
  }
  return report::CaptionedTable{
      "Codes that were ±1 and are 0 after pruning 10 %, per cent of the weights of each linear layer, mean over bases.",
      std::move(table)};
}

}  // namespace rpt::experiment

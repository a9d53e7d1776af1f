// SPDX-License-Identifier: MIT
#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>

#include "rpt/model/gate.h"
#include "rpt/model/gauge.h"
#include "rpt/model/gauge_groups.h"
#include "rpt/ternary/statistics.h"

namespace rpt::model {
namespace {

/// Calls visit(block, group, linear) for every linear layer, in the order of the forward.
template <typename Visit>
void visit_linears(const Model& model, Visit&& visit) {
  for (std::size_t i = 0; i < model.weights.blocks.size(); ++i) {
    for (const GaugeGroup& group : kGaugeGroups) {
      for (const GaugeLinear& linear : group.linears) visit(i, group, linear);
    }
  }
}

/// How many latents of every linear layer, in the order of visit_linears, are among the smallest kSmallestShare of all.
std::vector<std::uint64_t> count_smallest(const Model& model) {
  std::vector<std::vector<std::uint64_t>> histograms;
  std::vector<std::uint64_t> all(ternary::kMagnitudeBins);
  std::uint64_t total = 0;
  visit_linears(model, [&](std::size_t i, const GaugeGroup&, const GaugeLinear& linear) {
    const tensor::StoredView latents =
        latents_in_gauge(block_tensor_name(i, linear.name), model.weights.blocks[i].*linear.weight);
    histograms.push_back(ternary::magnitude_histogram(latents));
    std::transform(all.begin(), all.end(), histograms.back().begin(), all.begin(), std::plus<>());
    total += static_cast<std::uint64_t>(latents.rows * latents.columns);
  });
  const auto wanted = static_cast<std::uint64_t>(GaugeReport::kSmallestShare * static_cast<double>(total));
  std::ptrdiff_t bins = 0;
  for (std::uint64_t taken = 0; taken < wanted; ++bins) taken += all[static_cast<std::size_t>(bins)];
  std::vector<std::uint64_t> counts;
  for (const auto& h : histograms) counts.push_back(std::accumulate(h.begin(), h.begin() + bins, std::uint64_t{0}));
  return counts;
}

/// Fills in `tensors` and `moved_share`.
void report_tensors(const Model& before, const Model& after, const Gauge& gauge, GaugeReport& report) {
  const std::vector<std::uint64_t> smallest_before = count_smallest(before);
  const std::vector<std::uint64_t> smallest_after = count_smallest(after);
  std::uint64_t moved = 0;
  std::uint64_t smallest = 0;
  visit_linears(before, [&](std::size_t i, const GaugeGroup& group, const GaugeLinear& linear) {
    const TernaryWeight& from = (before.weights.blocks[i].*linear.weight).weight;
    const TernaryWeight& to = (after.weights.blocks[i].*linear.weight).weight;
    const std::uint64_t b = smallest_before[report.tensors.size()];
    const std::uint64_t a = smallest_after[report.tensors.size()];
    // Within a tensor the order does not change, so one of the two sets holds the other.
    moved += a > b ? a - b : 0;
    smallest += a;
    const double count = static_cast<double>(from.rows()) * static_cast<double>(from.columns());
    report.tensors.push_back({.name = block_tensor_name(i, linear.name),
                              .gain = block_tensor_name(i, group.norm),
                              .exponent = exponent_of(gauge[i], group, linear),
                              .scale_before = from.codes().scale,
                              .scale_after = to.codes().scale,
                              .smallest_share_before = static_cast<double>(b) / count,
                              .smallest_share_after = static_cast<double>(a) / count});
  });
  report.moved_share = smallest == 0 ? 0 : static_cast<double>(moved) / static_cast<double>(smallest);
}

/// Fills in `smallest_maximum` and where it was.
void report_ranges(const GaugeCalibration& seen, const Gauge& gauge, GaugeReport& report) {
  report.smallest_maximum = BlockRanges::kNone;
  for (std::size_t i = 0; i < gauge.size(); ++i) {
    for (const GaugeGroup& group : kGaugeGroups) {
      const float after = std::ldexp(seen.blocks[i].*group.smallest_maximum, -(gauge[i].*group.exponent));
      if (after >= report.smallest_maximum) continue;
      report.smallest_maximum = after;
      report.smallest_maximum_at = block_tensor_name(i, group.norm);
    }
  }
}

}  // namespace

GaugeReport write_in_gauge(const Model& model, const Gauge& gauge, std::span<const std::vector<std::int32_t>> sequences,
                           const std::filesystem::path& target, const ExportOptions& options) {
  RPT_CHECK(!options.lossy, "a gauge loses nothing");
  const GaugeCalibration seen = calibrate(model, sequences);
  const auto gauged = apply_gauge(model, gauge, seen);
  GaugeReport report;
  report.tokens = seen.nlls.size();
  report_tensors(model, *gauged, gauge, report);
  report_ranges(seen, gauge, report);
  ExportOptions how = options;
  how.check = [&](const Model& written) {
    report.nll_sha256 = expect_identical(seen.nlls, written, sequences);
    if (options.check) options.check(written);
  };
  export_huggingface(*gauged, target, HfForm::latents, how);
  return report;
}

}  // namespace rpt::model

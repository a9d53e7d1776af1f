// SPDX-License-Identifier: MIT
#include "rpt/experiment/reproduce_reference.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>

#include "rpt/experiment/reference_figures.h"

namespace rpt::experiment {
namespace {

/// Change of perplexity by an arm against the untouched bases, per cent, mean over the bases in log. Nothing where a
/// base is missing: means of different bases are no change.
std::optional<double> perplexity_change(const ReproduceConfig& config, const ReproduceResult& result,
                                        const TreatmentArm& arm, bool fine_tuned) {
  std::map<std::size_t, std::vector<double>> changes;
  for (const auto& [cell, found] : result.cells) {
    if (cell.arm != arm || cell.gauge != BaseGauge::own || cell.fine_tune.has_value() != fine_tuned) continue;
    const StageFigures* base = result.find({cell.base, BaseGauge::own, untouched_arm(), std::nullopt});
    if (base != nullptr) changes[cell.base].push_back(found.number("mean_nll") - base->number("mean_nll"));
  }
  if (changes.size() < config.bases.size()) return std::nullopt;
  double sum = 0;
  for (const auto& [base, of_seeds] : changes) {
    sum += std::accumulate(of_seeds.begin(), of_seeds.end(), 0.0) / static_cast<double>(of_seeds.size());
  }
  return 100 * (std::exp(sum / static_cast<double>(changes.size())) - 1);
}

/// What stands beside a figure of the reference.
struct Beside {
  std::optional<double> arm;
  std::optional<double> control;  ///< the fine-tune without pruning
};

Beside beside(const ReproduceConfig& config, const ReproduceResult& result, const ReferenceFigure& figure) {
  Beside b;
  if (figure.arm) b.arm = perplexity_change(config, result, *figure.arm, figure.fine_tuned);
  if (figure.after_fine_tune) b.control = perplexity_change(config, result, untouched_arm(), true);
  return b;
}

/// Why the figures are not comparable, and where the column of our arm stays empty in this run, why it does.
std::string why_not(const ReproduceConfig& config, const ReferenceFigure& figure, const Beside& here) {
  if (here.arm || !figure.arm) return figure.why_not;
  const std::vector<TreatmentArm> arms = figure.fine_tuned ? tuned_arms(config.full) : raw_arms(config.full);
  const bool planned = std::find(arms.begin(), arms.end(), *figure.arm) != arms.end();
  return fmt::format("{}; here {}", figure.why_not,
                     planned ? "not all bases are done" : "only a full run has that arm");
}

report::Cell cell_of(const std::optional<double>& change) {
  return change ? report::Cell(*change) : report::Cell();
}

}  // namespace

report::CaptionedTable reference_table(const ReproduceConfig& config, const ReproduceResult& result) {
  report::Table table({report::number_column("experiment"),
                       {"reference, bitnet-b1.58-2B-4T"},
                       report::number_column("perplexity", 2),
                       report::number_column("change, %", 1),
                       report::number_column("here, %", 1),
                       report::number_column("here, 0 %", 1),
                       {"comparable"}});
  for (const ReferenceFigure& f : reference_figures()) {
    const Beside here = beside(config, result, f);
    table.add_row({std::int64_t{f.experiment}, std::string(f.what), f.after, f.change_percent(), cell_of(here.arm),
                   cell_of(here.control), fmt::format("no: {}", why_not(config, f, here))});
  }
  return {
      "The reference's figures, and the change of perplexity by the nearest arm here, gauge own, in per cent of the "
      "untouched bases'. Where the reference's figure has a fine-tune in it, the column here, 0 %, is the change by "
      "the same fine-tune as our arms', of nothing pruned: what stands there is not pruning's doing.",
      std::move(table)};
}

std::vector<report::Record> reference_records(const ReproduceConfig& config, const ReproduceResult& result) {
  std::vector<report::Record> records;
  for (const ReferenceFigure& f : reference_figures()) {
    const Beside here = beside(config, result, f);
    report::Record r;
    r.set("experiment", f.experiment);
    r.set("what", f.what);
    r.set("perplexity_before", f.before);
    r.set("perplexity_after", f.after);
    r.set("change_percent", f.change_percent());
    r.set("here_change_percent", here.arm);
    r.set("here_arm",
          f.arm ? std::optional(title(*f.arm) + (f.fine_tuned ? ", fine-tuned" : ", without training")) : std::nullopt);
    r.set("here_control_change_percent", here.control);
    r.set("comparable", false);
    r.set("why_not", why_not(config, f, here));
    records.push_back(std::move(r));
  }
  return records;
}

}  // namespace rpt::experiment

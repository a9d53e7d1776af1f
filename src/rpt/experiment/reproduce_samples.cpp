// SPDX-License-Identifier: MIT
#include "rpt/experiment/reproduce_samples.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "rpt/experiment/samples.h"

namespace rpt::experiment {
namespace {

/// The reference's bound: perplexity of a level that it calls usable, in perplexities of the base.
constexpr double kUsable = 1.5;

/// All models of an arm.
struct Look {
  std::int64_t models = 0;
  std::int64_t coherent = 0;
  std::int64_t usable = 0;
  std::int64_t scored = 0;
  double nll = 0;      ///< sum over the scored ones, of the sentences
  double change = 0;   ///< the same, against their bases
  std::string sample;  ///< of the first base; empty where it has none
};

void add(Look& look, std::size_t of_base, const StageFigures& found, const StageFigures* base) {
  const bool coherent = found.number("coherent") > 0;
  look.coherent += coherent ? 1 : 0;
  look.models += 1;
  if (of_base == 0 && look.sample.empty()) look.sample = found.text("sample 1");
  const auto nll = found.numbers.find("sentences_nll");
  if (nll == found.numbers.end() || base == nullptr) return;
  const double change = nll->second - base->number("sentences_nll");
  look.scored += 1;
  look.nll += nll->second;
  look.change += change;
  look.usable += coherent && change < std::log(kUsable) ? 1 : 0;
}

report::Cell of_scored(const Look& look, double value) {
  return look.scored > 0 ? report::Cell(value) : report::Cell();
}

}  // namespace

std::optional<report::CaptionedTable> samples_table(const ReproduceResult& result, const ReproduceConfig& config,
                                                    bool fine_tuned) {
  report::Table table({{"arm"},
                       report::number_column("perplexity, eight sentences", 2),
                       report::number_column("change, %", 1),
                       {"coherent", report::Align::right},
                       {"usable", report::Align::right},
                       {fmt::format("{} says", config.bases.front())}});
  bool any = false;
  for (const TreatmentArm& arm : fine_tuned ? tuned_arms(config.full) : raw_arms(config.full)) {
    Look look;
    for (const auto& [cell, found] : result.cells) {
      if (cell.arm != arm || cell.gauge != BaseGauge::own || cell.fine_tune.has_value() != fine_tuned) continue;
      if (!found.numbers.contains("coherent")) continue;
      add(look, cell.base, found, result.find({cell.base, BaseGauge::own, untouched_arm(), std::nullopt}));
    }
    if (look.models == 0) continue;
    any = true;
    const auto n = static_cast<double>(std::max<std::int64_t>(look.scored, 1));
    table.add_row({title(arm), of_scored(look, std::exp(look.nll / n)),
                   of_scored(look, 100 * (std::exp(look.change / n) - 1)),
                   fmt::format("{} of {}", look.coherent, look.models),
                   look.scored > 0 ? report::Cell(fmt::format("{} of {}", look.usable, look.scored)) : report::Cell(),
                   look.sample.empty() ? report::Cell() : report::Cell(look.sample)});
  }
  if (!any) return std::nullopt;
  return report::CaptionedTable{
      fmt::format(
          "What the reference looked at, gauge own: perplexity of eight sentences (mean in log over the models; "
          "some 150 tokens, so a look and no measurement), how many models are coherent (greedy texts of {} "
          "tokens after three prompts, none of which ends in six words of which at most two differ), and how "
          "many would be usable (coherent, and below {:g} times the perplexity of their base). The models know "
          "no such facts.",
          kSampleTokens, kUsable),
      std::move(table)};
}

}  // namespace rpt::experiment

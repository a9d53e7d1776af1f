// SPDX-License-Identifier: MIT
#include "rpt/experiment/reproduce_report.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <map>
#include <set>

#include "rpt/experiment/reproduce_plots.h"
#include "rpt/experiment/reproduce_reference.h"
#include "rpt/experiment/reproduce_samples.h"
#include "rpt/experiment/reproduce_scales.h"
#include "rpt/experiment/temperature.h"

namespace rpt::experiment {
namespace {

constexpr double kPower = 0.8;

std::string with_interval(double value, const std::optional<evaluate::Interval>& interval) {
  if (!interval) return fmt::format("{:+.3f}", value);
  return fmt::format("{:+.3f} [{:+.3f}, {:+.3f}]", value, interval->low, interval->high);
}

std::optional<evaluate::Interval> interval_of(const Contrast& c) {
  if (!c.inference) return std::nullopt;
  return c.inference->interval;
}

std::optional<std::vector<double>> as_list(const std::optional<evaluate::Interval>& interval) {
  if (!interval) return std::nullopt;
  return std::vector<double>{interval->low, interval->high};
}

report::Cell p_cell(const std::optional<double>& p) {
  if (!p) return std::monostate{};
  return *p;
}

const Comparison* declared_of(const Findings& findings) {
  for (const Comparison& c : findings.comparisons) {
    if (c.declared) return &c;
  }
  return nullptr;
}

/// Mean over the models of an arm of numbers that each has.
struct Means {
  double models = 0;
  std::map<std::string, double> sums;
  void add(const StageFigures& f) {
    models += 1;
    for (const char* name : {"mean_nll", "perplexity", "codes_zero_share", "codes_removed_share", "codes_gained_share",
                             "codes_turned_share", "latents_zeroed_share"}) {
      if (f.numbers.contains(name)) sums[name] += f.number(name);
    }
  }
  double of(const std::string& name) const { return sums.at(name) / models; }
};

std::optional<Means> means_of(const ReproduceResult& result, const TreatmentArm& arm, BaseGauge gauge,
                              bool fine_tuned) {
  Means means;
  for (const auto& [cell, found] : result.cells) {
    if (cell.arm == arm && cell.gauge == gauge && cell.fine_tune.has_value() == fine_tuned) means.add(found);
  }
  return means.models > 0 ? std::optional(std::move(means)) : std::nullopt;
}

report::CaptionedTable arm_table(const ReproduceConfig& config, const ReproduceResult& result, bool fine_tuned) {
  report::Table table({{"arm"},
                       {"gauge"},
                       report::number_column("models"),
                       report::number_column("NLL", 4),
                       report::number_column("latents zeroed, %", 2),
                       report::number_column("codes removed, %", 2),
                       report::number_column("codes gained, %", 2),
                       report::number_column("codes 0, %", 2)});
  for (const TreatmentArm& arm : fine_tuned ? tuned_arms(config.full) : raw_arms(config.full)) {
    const auto own = means_of(result, arm, BaseGauge::own, fine_tuned);
    for (const BaseGauge gauge : {BaseGauge::own, BaseGauge::like_2b}) {
      const auto means = gauge == BaseGauge::own ? own : means_of(result, arm, gauge, fine_tuned);
      // Means over one base beside means over five would read as what the gauge does.
      if (!means || (own && means->models < own->models)) continue;
      const auto cell = [&](const char* name) {
        return means->sums.contains(name) ? report::Cell(100 * means->of(name)) : report::Cell();
      };
      table.add_row({title(arm), name(gauge), static_cast<std::int64_t>(means->models), means->of("mean_nll"),
                     cell("latents_zeroed_share"), cell("codes_removed_share"), cell("codes_gained_share"),
                     cell("codes_zero_share")});
    }
  }
  return {fmt::format("Arms {}, means over bases{}; shares of all ternary weights, against the base. The second gauge "
                      "stands here where it has as many models as the first; of the others, of which a few show that "
                      "nothing changes, the table of what must be exact tells.",
                      fine_tuned ? "after the fine-tune" : "without training", fine_tuned ? " and seeds" : ""),
          std::move(table)};
}

report::CaptionedTable base_table(const ReproduceConfig& config, const ReproduceResult& result) {
  report::Table table({{"base"},
                       report::number_column("NLL", 4),
                       report::number_column("perplexity", 2),
                       report::number_column("codes 0, %", 2),
                       {"nll_sha256"}});
  for (std::size_t base = 0; base < config.bases.size(); ++base) {
    const StageFigures* f = result.find({base, BaseGauge::own, untouched_arm(), std::nullopt});
    if (f == nullptr) continue;
    table.add_row({config.bases[base], f->number("mean_nll"), f->number("perplexity"),
                   100 * f->number("codes_zero_share"), f->text("nll_sha256").substr(0, 16)});
  }
  return {"The bases, untouched.", std::move(table)};
}

report::CaptionedTable by_base_table(const Comparison& c) {
  report::Table table({{"base"}, {"difference of NLL, % [95 %]", report::Align::right}});
  for (const BaseEffect& e : c.by_base) table.add_row({e.base, with_interval(e.estimate, e.interval)});
  return {
      fmt::format("{} against {}, base by base. Intervals resample the documents (BCa, 10,000 times) and say nothing "
                  "of other bases.",
                  c.name, c.against),
      std::move(table)};
}

report::CaptionedTable check_table(const Findings& findings) {
  report::Table table({{"to the last bit"}, {"pairs equal", report::Align::right}, {"expected"}, {"holds"}});
  for (const ExactCheck& c : findings.checks) {
    table.add_row({c.name, fmt::format("{} of {}", c.equal, c.pairs), std::string(c.expected ? "all" : "may differ"),
                   std::string(c.passed() ? "yes" : "NO")});
  }
  return {"What must be, or need not be, the same to the last bit.", std::move(table)};
}

report::Record to_record(const Comparison& c) {
  const Contrast& x = c.contrast;
  report::Record r;
  r.set("arm", c.name);
  r.set("baseline", c.against);
  r.set("text", c.retention ? "retention" : "test");
  r.set("declared_beforehand", c.declared);
  r.set("measure", "percent of NLL");
  r.set("effect", x.estimate);
  r.set("interval", as_list(interval_of(x)));
  r.set("same_text_interval", as_list(x.inference ? std::optional(x.inference->same_text) : std::nullopt));
  r.set("standard_error", x.inference ? std::optional(x.inference->standard_error) : std::nullopt);
  r.set("degrees_of_freedom", x.inference ? std::optional(x.inference->degrees) : std::nullopt);
  r.set("documents", x.documents);
  r.set("bases", x.bases.size());
  r.set("base_names", x.bases);
  r.set("effects_by_base", x.by_base);
  r.set("seeds", c.seeds);
  r.set("p_difference", c.judgement.p_difference);
  r.set("p_equivalence", c.judgement.p_equivalence);
  r.set("margin", kMarginPercent);
  r.set("verdict", name(c.judgement.verdict));
  return r;
}

report::Record to_record(const ReproduceConfig& config, const ReproduceCell& cell, const StageFigures& found) {
  report::Record r;
  r.set("stage", cell.stage());
  r.set("base", config.bases[cell.base]);
  r.set("gauge", name(cell.gauge));
  r.set("arm", title(cell.arm));
  r.set("fine_tune", cell.fine_tune ? std::optional(static_cast<std::int64_t>(*cell.fine_tune + 1)) : std::nullopt);
  for (const char* number : {"mean_nll", "perplexity", "scored_tokens", "codes_zero_share", "codes_removed_share",
                             "codes_gained_share", "codes_turned_share"}) {
    r.set(number, found.number(number));
  }
  for (const char* number : {"latents_zeroed_share", "retention_nll", "temperature", "sentences_nll", "coherent"}) {
    if (found.numbers.contains(number)) r.set(number, found.number(number));
  }
  report::Record ratios;
  for (const auto& [type, ratio] : mean_scale_ratios(found)) ratios.set(type, ratio);
  r.set("scale_ratios", std::move(ratios));
  std::vector<std::string> samples;
  for (std::size_t i = 1; found.texts.contains(fmt::format("sample {}", i)); ++i) {
    samples.push_back(found.text(fmt::format("sample {}", i)));
  }
  if (!samples.empty()) r.set("samples", samples);
  r.set("nll_sha256", found.text("nll_sha256"));
  r.set("masks_sha256", found.text("masks_sha256"));
  return r;
}

report::Record figures_of(const ReproduceConfig& config, const ReproduceResult& result, const Findings& findings) {
  report::Record figures;
  figures.set("version", RPT_VERSION);
  std::set<std::string> machines;
  for (const auto& [cell, found] : result.cells) machines.insert(found.text("machine"));
  figures.set("machines", std::vector<std::string>(machines.begin(), machines.end()));
  figures.set("bases", config.bases);
  figures.set("bases_sha256", result.bases_sha256);
  figures.set("texts_sha256", result.texts_sha256);
  figures.set("text", config.text);
  figures.set("test", config.test);
  figures.set("retention", config.retention);
  figures.set("protocol", "full");
  figures.set("seed", config.seed);
  figures.set("full", config.full);
  figures.set("complete", is_complete(result, config));
  figures.set("planned_stages", plan_cells(config).size());
  figures.set("steps", config.tune.steps);
  figures.set("batch", config.tune.batch * config.tune.accumulation);
  figures.set("context", config.tune.context);
  figures.set("stride", config.stride);
  figures.set("lr", config.tune.optimiser.lr);
  figures.set("lr_relative_to_rms", config.tune.optimiser.relative);
  const StageFigures& first = result.cells.front().second;
  figures.set("scored_tokens", static_cast<std::int64_t>(first.number("scored_tokens")));
  figures.set("documents", first.list("nll").size());
  std::vector<report::Record> contrasts;
  for (const Comparison& c : findings.comparisons) contrasts.push_back(to_record(c));
  figures.set("contrasts", std::move(contrasts));
  if (findings.fine_tune_share) {
    report::Record share;
    share.set("share", findings.fine_tune_share->share);
    share.set("interval", as_list(findings.fine_tune_share->interval));
    figures.set("fine_tune_share", std::move(share));
  } else {
    figures.set("fine_tune_share", nullptr);
  }
  std::vector<report::Record> checks;
  for (const ExactCheck& c : findings.checks) {
    report::Record check;
    check.set("check", c.name);
    check.set("pairs", c.pairs);
    check.set("equal", c.equal);
    check.set("expected_equal", c.expected);
    check.set("passed", c.passed());
    checks.push_back(std::move(check));
  }
  figures.set("checks", std::move(checks));
  figures.set("reference", reference_records(config, result));
  figures.set("legacy", legacy_records(result.legacy));
  std::vector<report::Record> cells;
  for (const auto& [cell, found] : result.cells) cells.push_back(to_record(config, cell, found));
  figures.set("cells", std::move(cells));
  return figures;
}

/// What the declared contrast says, in words.
std::string declared_text(const Comparison& c) {
  std::string text = fmt::format(
      "Declared beforehand: {} against {}, margin ±{:g} % of NLL. Difference {} %: {}.", c.name, c.against,
      kMarginPercent, with_interval(c.contrast.estimate, interval_of(c.contrast)), name(c.judgement.verdict));
  if (!c.contrast.inference) {
    return text + fmt::format(
                      " There is no interval: it needs {} bases and {} documents, and there are {} and {}. "
                      "Nothing follows for other models, and the verdict is undecided.",
                      kMinBases, evaluate::kMinUnits, c.contrast.bases.size(), c.contrast.documents);
  }
  const Inference& i = *c.contrast.inference;
  if (i.standard_error > 0) {
    text += fmt::format(
        " With this standard error ({:.3f} %, {:.1f} degrees of freedom) a difference of {:.2f} % is found in {:.0f} % "
        "of experiments, and equivalence, where there is no difference, in {:.0f} %.",
        i.standard_error, i.degrees, detectable_difference(kPower, i.standard_error, i.degrees), 100 * kPower,
        100 * power_of_equivalence(kMarginPercent, i.standard_error, i.degrees));
  }
  return text;
}

std::string share_text(const Share& share) {
  if (!share.share) return "The declared arm did not change the bases' NLL: there is nothing to explain.";
  std::string interval = "no interval";
  if (share.interval)
    interval = fmt::format("95 % {:.1f} to {:.1f} %", 100 * share.interval->low, 100 * share.interval->high);
  return fmt::format(
      "Of the difference between the declared arm and the untouched bases ({:+.3f} % of NLL), the same "
      "fine-tune without pruning does {:.1f} % ({}).",
      share.whole.estimate, 100 * *share.share, interval);
}

/// The factors that were fitted, and those of them that ended where the search did.
std::optional<std::string> temperatures_text(const ReproduceConfig& config, const ReproduceResult& result) {
  std::vector<std::string> arms;
  std::vector<std::string> at_end;
  for (const TreatmentArm& arm : raw_arms(config.full)) {
    std::vector<std::string> factors;
    for (const auto& [cell, found] : result.cells) {
      if (cell.arm != arm || !needs_temperature(arm) || !found.numbers.contains("temperature")) continue;
      const double factor = found.number("temperature");
      factors.push_back(fmt::format("{} {:.3f}", config.bases[cell.base], factor));
      if (is_at_end(factor)) at_end.push_back(fmt::format("{} of {}", title(arm), config.bases[cell.base]));
    }
    if (!factors.empty()) arms.push_back(fmt::format("{}: {}", title(arm), fmt::join(factors, ", ")));
  }
  if (arms.empty()) return std::nullopt;
  std::string text = fmt::format("Factors that were fitted, between 1/2 and 2: {}.", fmt::join(arms, "; "));
  if (!at_end.empty()) {
    text +=
        fmt::format(" At an end of that range, so that a better one may lie beyond it: {}.", fmt::join(at_end, ", "));
  }
  return text;
}

/// A table, or that there is nothing yet to stand in it.
report::Block unless_empty(report::CaptionedTable table) {
  if (table.table.rows() > 0) return table;
  return fmt::format("{} There is nothing of it yet.", table.caption);
}

template <typename Block>
void add_if(report::Section& section, std::optional<Block> block) {
  if (block) section.blocks.emplace_back(std::move(*block));
}

report::Section summary_of(const ReproduceConfig& config, const ReproduceResult& result, const Findings& findings) {
  const StageFigures& first = result.cells.front().second;
  report::Section section{"What was done, and the declared contrast", {}};
  if (!is_complete(result, config)) {
    section.blocks.emplace_back(
        fmt::format("A run that is not finished: {} are done, and what needs others is missing here.",
                    stages_done(result, config)));
  }
  section.blocks.emplace_back(fmt::format(
      "{} base{} in two gauges (own, and the scales of BitNet b1.58 2B-4T), {} fine-tune{} of each arm on {}: {} steps "
      "of {} sequences of {} tokens, learning rate {:g} of each tensor's rms. Scored on {}, protocol full, stride {}: "
      "{} tokens "
      "in {} documents.{}",
      config.bases.size(), config.bases.size() == 1 ? "" : "s", config.seeds, config.seeds == 1 ? "" : "s", config.text,
      config.tune.steps, config.tune.batch * config.tune.accumulation, config.tune.context, config.tune.optimiser.lr,
      config.test, config.stride, static_cast<std::int64_t>(first.number("scored_tokens")), first.list("nll").size(),
      config.retention.empty() ? "" : fmt::format(" What is forgotten is asked of {}.", config.retention)));
  if (const Comparison* declared = declared_of(findings)) {
    section.blocks.emplace_back(declared_text(*declared));
    section.blocks.emplace_back(by_base_table(*declared));
  } else {
    section.blocks.emplace_back(
        fmt::format("Declared beforehand: {}, fine-tuned, gauge own, against {}, fine-tuned, gauge own, margin ±{:g} % "
                    "of NLL. It is missing: not all bases of both arms are done.",
                    title(declared_arm()), title(untouched_arm()), kMarginPercent));
  }
  section.blocks.push_back(unless_empty(
      {"All contrasts, differences of NLL in per cent, below 0 is better. Intervals (95 %, not adjusted) are for "
       "bases, seeds and documents as drawn from many; p-values of all but the declared one are adjusted together by "
       "Holm's procedure.",
       contrast_table(findings)}));
  return section;
}

}  // namespace

report::Table contrast_table(const Findings& findings) {
  report::Table table({{"arm"},
                       {"against"},
                       {"difference, % [95 %]", report::Align::right},
                       report::number_column("bases"),
                       report::number_column("seeds"),
                       report::number_column("documents"),
                       report::number_column("p, difference", 4),
                       report::number_column("p, equivalence", 4),
                       {"verdict"}});
  for (const Comparison& c : findings.comparisons) {
    table.add_row({c.name + (c.declared ? " (declared)" : ""), c.against,
                   with_interval(c.contrast.estimate, interval_of(c.contrast)),
                   static_cast<std::int64_t>(c.contrast.bases.size()), static_cast<std::int64_t>(c.seeds),
                   c.contrast.documents, p_cell(c.judgement.p_difference), p_cell(c.judgement.p_equivalence),
                   std::string(name(c.judgement.verdict))});
  }
  return table;
}

report::Report reproduce_report(const ReproduceConfig& config, const ReproduceResult& result,
                                const Findings& findings) {
  report::Report r;
  r.title = fmt::format("rpt reproduce: pruning and its controls on {} base{}", config.bases.size(),
                        config.bases.size() == 1 ? "" : "s");
  r.figures = figures_of(config, result, findings);
  r.sections.push_back(summary_of(config, result, findings));

  r.sections.push_back({"Experiment 1: the bases", {unless_empty(base_table(config, result))}});

  report::Section raw{"Experiment 2: pruning without training", {unless_empty(arm_table(config, result, false))}};
  add_if(raw, temperatures_text(config, result));
  add_if(raw, dose_plot(findings, config, false));
  add_if(raw, flips_plot(result));
  add_if(raw, flips_table(result));
  add_if(raw, scale_table(result, config, false));
  add_if(raw, samples_table(result, config, false));
  r.sections.push_back(std::move(raw));

  report::Section tuned{"Experiments 3 and 6: pruning and fine-tune", {}};
  if (findings.fine_tune_share) tuned.blocks.emplace_back(share_text(*findings.fine_tune_share));
  tuned.blocks.push_back(unless_empty(arm_table(config, result, true)));
  add_if(tuned, dose_plot(findings, config, true));
  add_if(tuned, loss_plot(result, config));
  add_if(tuned, scale_table(result, config, true));
  add_if(tuned, samples_table(result, config, true));
  r.sections.push_back(std::move(tuned));

  report::Section gauges{"The gauge, and what must be exact", {unless_empty(check_table(findings))}};
  add_if(gauges, gauge_plot(result, config));
  r.sections.push_back(std::move(gauges));

  report::Section reference{"Beside the reference", {reference_table(config, result)}};
  if (!result.legacy.empty()) reference.blocks.emplace_back(legacy_table(result.legacy));
  r.sections.push_back(std::move(reference));
  r.sections.push_back({"What does not hold", {reproduce_known_issues(config, result, findings)}});
  r.sections.push_back({"To run it again", {reproduce_command(config, "OUT")}});
  return r;
}

}  // namespace rpt::experiment

// SPDX-License-Identifier: MIT
#include "rpt/experiment/reproduce_findings.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <utility>

namespace rpt::experiment {
namespace {

/// Which models an arm of contrast() is made of.
struct Group {
  TreatmentArm arm;
  BaseGauge gauge = BaseGauge::own;
  bool fine_tuned = false;
  bool retention = false;

  std::string title() const {
    return fmt::format("{}, {}, gauge {}{}", experiment::title(arm), fine_tuned ? "fine-tuned" : "without training",
                       name(gauge), retention ? ", retention text" : "");
  }
};

bool same_scores(const Arm& a, const Arm& b) {
  return std::equal(a.models.begin(), a.models.end(), b.models.begin(), b.models.end(),
                    [](const ModelScores& x, const ModelScores& y) {
                      return x.base == y.base && x.seed == y.seed && x.nll == y.nll;
                    });
}

/// Leaves the fine-tunes that both arms have: what a draw does, it then does to both. False where there are none.
bool pair(Arm& a, Arm& b) {
  a = shared_with(b, std::move(a));
  b = shared_with(a, std::move(b));
  return !a.models.empty();
}

class Finder {
 public:
  Finder(const ReproduceResult& result, const ReproduceConfig& config) : result_(result), config_(config) {
    if (!result.cells.empty()) tokens_ = result.cells.front().second.list("tokens");
    for (const auto& [cell, found] : result.cells) {
      if (found.series.contains("retention_tokens")) retention_tokens_ = found.list("retention_tokens");
    }
  }

  Findings find() {
    const Group declared{declared_arm(), BaseGauge::own, true};
    const Group control{untouched_arm(), BaseGauge::own, true};
    compare(declared, control, true);
    const Group bases{untouched_arm(), BaseGauge::own, false};
    compare(control, bases, false);
    for (const TreatmentArm& arm : tuned_arms(config_.full)) {
      if (arm != untouched_arm() && arm != declared_arm()) compare_in_gauges(arm, true);
    }
    for (const TreatmentArm& arm : raw_arms(config_.full)) {
      if (arm != untouched_arm() && arm.treatment != Treatment::placebo) compare_in_gauges(arm, false);
    }
    const Group kept{untouched_arm(), BaseGauge::own, true, true};
    compare(kept, {untouched_arm(), BaseGauge::own, false, true}, false);
    for (const TreatmentArm& arm : tuned_arms(config_.full)) {
      if (arm != untouched_arm())
        compare({arm, BaseGauge::own, true, true}, {control_of(arm), BaseGauge::own, true, true}, false);
    }
    judge_all();
    auto part = scores(control);
    auto whole = scores(declared);
    const auto untouched = scores(bases);
    if (part && whole && untouched && pair(*part, *whole))
      found_.fine_tune_share = share_explained(*part, *whole, *untouched, tokens_);
    check_placebo();
    check_gauges();
    return std::move(found_);
  }

 private:
  std::optional<Arm> scores(const Group& g) const {
    return arm_of(result_, config_, g.gauge, g.arm, g.fine_tuned, g.retention);
  }

  void compare(const Group& of, const Group& to, bool declared) {
    auto arm = scores(of);
    auto baseline = scores(to);
    if (!arm || !baseline) return;
    if (of.fine_tuned && to.fine_tuned && !pair(*arm, *baseline)) return;
    Comparison c;
    c.name = arm->name;
    c.against = baseline->name;
    c.arm = title(of.arm);
    c.gauge = name(of.gauge);
    c.fine_tuned = of.fine_tuned;
    c.retention = of.retention;
    c.declared = declared;
    c.seeds = arm->models.size() / config_.bases.size();
    const std::vector<double>& tokens = of.retention ? retention_tokens_ : tokens_;
    c.contrast = contrast(*arm, *baseline, tokens);
    c.by_base = effects_by_base(*arm, *baseline, tokens);
    found_.comparisons.push_back(std::move(c));
  }

  /// Against nothing pruned, or as long as the others; and where the second gauge gave something else, there too, and
  /// gauge against gauge.
  void compare_in_gauges(const TreatmentArm& arm, bool fine_tuned) {
    const Group own{arm, BaseGauge::own, fine_tuned};
    const Group other{arm, BaseGauge::like_2b, fine_tuned};
    compare(own, {control_of(arm), BaseGauge::own, fine_tuned}, false);
    if (!depends_on_gauge(arm)) return;
    auto first = scores(own);
    auto second = scores(other);
    if (!first || !second || !pair(*first, *second) || same_scores(*first, *second)) return;
    // What nothing is pruned from is the same in both gauges (see check_gauges), and done for all seeds in the first.
    compare(other, {control_of(arm), BaseGauge::own, fine_tuned}, false);
    compare(other, own, false);
  }

  void judge_all() {
    std::vector<Contrast> declared;
    std::vector<Contrast> others;
    for (const Comparison& c : found_.comparisons) (c.declared ? declared : others).push_back(c.contrast);
    const std::vector<Judgement> of_declared = judge(declared, kMarginPercent);
    const std::vector<Judgement> of_others = judge(others, kMarginPercent);
    std::size_t d = 0;
    std::size_t o = 0;
    for (Comparison& c : found_.comparisons) c.judgement = c.declared ? of_declared[d++] : of_others[o++];
  }

  void check_placebo() {
    ExactCheck check{"placebo: zeros masked, scales kept, no training: every token as the base", 0, 0};
    for (const auto& [cell, found] : result_.cells) {
      if (cell.arm.treatment != Treatment::placebo) continue;
      ReproduceCell base = cell;
      base.arm = untouched_arm();
      if (const StageFigures* untouched = result_.find(base)) count(check, found, *untouched, "nll_sha256");
    }
    if (check.pairs > 0) found_.checks.push_back(check);
  }

  /// Masks and scores of each arm, in one gauge and in the other.
  void check_gauges() {
    for (const bool fine_tuned : {false, true}) {
      for (const TreatmentArm& arm : fine_tuned ? tuned_arms(config_.full) : raw_arms(config_.full)) {
        const std::string what = fmt::format("{}, {}", title(arm), fine_tuned ? "fine-tuned" : "without training");
        ExactCheck masks{what + ": the same masks in both gauges", 0, 0, !depends_on_gauge(arm)};
        ExactCheck scored{what + ": every token the same in both gauges", 0, 0, !depends_on_gauge(arm)};
        for (const auto& [cell, found] : result_.cells) {
          if (cell.arm != arm || cell.fine_tune.has_value() != fine_tuned || cell.gauge != BaseGauge::own) continue;
          ReproduceCell other = cell;
          other.gauge = BaseGauge::like_2b;
          const StageFigures* second = result_.find(other);
          if (second == nullptr) continue;
          count(masks, found, *second, "masks_sha256");
          count(scored, found, *second, "nll_sha256");
        }
        if (masks.pairs == 0) continue;
        found_.checks.push_back(masks);
        found_.checks.push_back(scored);
      }
    }
  }

  static void count(ExactCheck& check, const StageFigures& a, const StageFigures& b, const char* text) {
    ++check.pairs;
    check.equal += a.text(text) == b.text(text) ? 1U : 0U;
  }

  const ReproduceResult& result_;
  const ReproduceConfig& config_;
  std::vector<double> tokens_;
  std::vector<double> retention_tokens_;
  Findings found_;
};

}  // namespace

std::optional<Arm> arm_of(const ReproduceResult& result, const ReproduceConfig& config, BaseGauge gauge,
                          const TreatmentArm& arm, bool fine_tuned, bool retention) {
  Arm out{.name = Group{arm, gauge, fine_tuned, retention}.title(), .models = {}};
  const std::string series = retention ? "retention_nll" : "nll";
  for (const auto& [cell, found] : result.cells) {
    if (cell.gauge != gauge || cell.arm != arm || cell.fine_tune.has_value() != fine_tuned) continue;
    if (!found.series.contains(series)) return std::nullopt;
    out.models.push_back({config.bases[cell.base], cell.fine_tune.value_or(0), found.list(series)});
  }
  // While a run is at its second fine-tunes the first ones, of all bases, are an arm already.
  std::map<std::uint64_t, std::size_t> bases_with;
  for (const ModelScores& model : out.models) ++bases_with[model.seed];
  std::erase_if(out.models, [&](const ModelScores& model) { return bases_with[model.seed] < config.bases.size(); });
  if (out.models.empty()) return std::nullopt;
  return out;
}

Arm shared_with(const Arm& other, Arm arm) {
  std::erase_if(arm.models, [&](const ModelScores& m) {
    return std::none_of(other.models.begin(), other.models.end(),
                        [&](const ModelScores& o) { return o.base == m.base && o.seed == m.seed; });
  });
  return arm;
}

Findings findings_of(const ReproduceResult& result, const ReproduceConfig& config) {
  return Finder(result, config).find();
}

}  // namespace rpt::experiment

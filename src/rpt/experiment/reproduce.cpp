// SPDX-License-Identifier: MIT
#include "rpt/experiment/reproduce.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <map>
#include <nlohmann/json.hpp>
#include <tuple>

#include "rpt/core/error.h"
#include "rpt/core/random.h"
#include "rpt/core/timer.h"
#include "rpt/evaluate/perplexity.h"
#include "rpt/experiment/samples.h"
#include "rpt/experiment/temperature.h"
#include "rpt/model/gate.h"
#include "rpt/model/gauge.h"
#include "rpt/prune/apply.h"
#include "rpt/prune/select.h"
#include "rpt/prune/snap.h"
#include "rpt/train/cost.h"
#include "rpt/train/token_stream.h"

namespace rpt::experiment {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr std::int64_t kCalibrationLength = 256;

/// What is forgotten is asked of fine-tuned models, and of the bases to compare with, in the first gauge.
bool is_retained(const ReproduceCell& cell) {
  return cell.gauge == BaseGauge::own && (cell.fine_tune || cell.arm == untouched_arm());
}

bool is_declared(const TreatmentArm& arm) {
  return arm == declared_arm() || arm == untouched_arm();
}

/// Whether a fine-tune in the second gauge could show anything that others do not.
bool worth_tuning(const TreatmentArm& arm, BaseGauge gauge, std::uint64_t number) {
  if (gauge == BaseGauge::own || depends_on_gauge(arm)) return true;
  return number == 0 && arm.length == 1 && arm.levels == 1 && (arm.dose == 0 || arm.dose == kDeclaredDose);
}

/// Whether scoring without training could: what is the same function in both gauges by its making is scored in one, and
/// in a quick run what must give the same bits in both is scored in both for the first base alone.
bool worth_scoring(const TreatmentArm& arm, BaseGauge gauge, std::size_t base, bool full) {
  if (gauge == BaseGauge::own) return true;
  return !needs_temperature(arm) && (depends_on_gauge(arm) || base == 0 || full);
}

/// What comes first.
int rank_of(const ReproduceCell& cell) {
  const bool level =
      (cell.arm.dose != 0 && cell.arm.dose != kDeclaredDose) || cell.arm.length != 1 || cell.arm.levels != 1;
  if (!cell.fine_tune) return level ? 3 : 1;
  if (cell.gauge == BaseGauge::own && is_declared(cell.arm)) return 0;
  return level ? 4 : 2;
}

/// Five minutes, or as many seconds as there are below two minutes.
std::string duration(double seconds) {
  return seconds < 120 ? fmt::format("{:.0f} s", seconds) : fmt::format("{:.0f} min", seconds / 60);
}

/// One run.
class Runner {
 public:
  Runner(const ReproduceConfig& config, const Bases& bases, const Texts& texts, RunDirectory& run,
         const Surroundings& around)
      : config_(config),
        bases_(bases),
        texts_(texts),
        run_(run),
        around_(around),
        estimate_(first_estimate(config, bases.front()->config, texts)) {
    for (const train::Document& d : texts.train) calibration_texts_.push_back(d.text);
  }

  ReproduceResult go() {
    const std::vector<ReproduceCell> plan = plan_cells(config_);
    for (const auto& base : bases_) result_.bases_sha256.push_back(sha256_of(*base));
    result_.texts_sha256 = sha256_of(texts_);
    for (const ReproduceCell& cell : plan) {
      if (const auto before = run_.finished(cell.stage())) learn(estimate_, cell, config_, *before);
    }
    around_.say(fmt::format("{} stages, about {} to go", plan.size(), duration(remaining(plan, 0))));
    for (at_ = 0; at_ < plan.size() && !result_.interrupted; ++at_) work_off(plan);
    for (; at_ < plan.size(); ++at_) take_up(plan[at_]);
    if (config_.full && !result_.interrupted) add_legacy();
    return std::move(result_);
  }

 private:
  /// The reference's pipeline on every base, each in a folder of its own.
  void add_legacy() {
    for (std::size_t base = 0; base < bases_.size() && !result_.interrupted; ++base) {
      if (around_.interrupted()) {
        result_.interrupted = true;
        return;
      }
      const std::string place = fmt::format("legacy/base{}", base + 1);
      const DeployConfig config = legacy_config(config_.bases[base], *bases_[base], config_.tune, config_.test, texts_);
      around_.say(fmt::format("{}: the reference's pipeline", config.model));
      try {
        auto found = run_legacy(*bases_[base], config, texts_, run_.folder() / place, around_);
        result_.interrupted = !found;
        if (found) result_.legacy.push_back(std::move(*found));
      } catch (const NumericError& e) {
        fail(place, e);
      }
    }
  }

  void fail(const std::string& stage, const NumericError& e) {
    result_.failures.push_back({stage, e.what(), e.row()});
    around_.say(fmt::format("stage {} failed, and the others go on: {}", stage, e.what()));
  }

  /// The stage at hand: done, or as an earlier run left it.
  void work_off(const std::vector<ReproduceCell>& plan) {
    const ReproduceCell& cell = plan[at_];
    const bool was_there = run_.finished(cell.stage()).has_value();
    std::optional<StageFigures> found = attempt(cell);
    if (!found) return;
    if (cell.fine_tune) fs::remove_all(run_.stage_folder(cell.stage()));  // all that is wanted of it is in `found`
    if (!was_there) learn(estimate_, cell, config_, *found);
    warn_of_other_machine(cell.stage(), *found, around_);
    const double nll = found->number("mean_nll");
    result_.cells.emplace_back(cell, std::move(*found));
    if (was_there) return;
    around_.say(fmt::format("{}/{} {}, gauge {}, {}{}: NLL {:.4f}; about {} to go", at_ + 1, plan.size(),
                            config_.bases[cell.base], name(cell.gauge), title(cell.arm),
                            cell.fine_tune ? fmt::format(", fine-tune {}", *cell.fine_tune + 1) : "", nll,
                            duration(remaining(plan, at_ + 1))));
  }

  /// What the stage found. Nothing where it was interrupted, or failed by its numbers: a training that diverges does so
  /// whenever it is tried again, and must not keep back what the others find.
  std::optional<StageFigures> attempt(const ReproduceCell& cell) {
    try {
      std::optional<StageFigures> found = run_.stage(cell.stage(), [&] { return work_on(cell); });
      result_.interrupted = !found;
      return found;
    } catch (const NumericError& e) {
      fail(cell.stage(), e);
      return std::nullopt;
    }
  }

  /// A stage behind an interrupted one, where an earlier run finished it.
  void take_up(const ReproduceCell& cell) {
    auto before = run_.finished(cell.stage());
    if (!before) return;
    warn_of_other_machine(cell.stage(), *before, around_);
    result_.cells.emplace_back(cell, std::move(*before));
  }

  /// Seconds that the stages from `first` on will take.
  double remaining(const std::vector<ReproduceCell>& plan, std::size_t first) const {
    WorkAmounts left;
    for (std::size_t i = first; i < plan.size(); ++i) {
      if (run_.finished(plan[i].stage())) continue;
      left += work_of(plan[i], config_);
    }
    left += legacy_work(config_, bases_.size() - result_.legacy.size());
    return estimate_.seconds(left);
  }

  std::unique_ptr<model::Model> in_gauge(const ReproduceCell& cell) const {
    const model::Model& base = *bases_[cell.base];
    if (cell.gauge == BaseGauge::own) return prune::apply_masks(base, model::full_masks(base.config));
    const std::vector<std::vector<std::int32_t>> probe{model::gate_ids(base.config)};
    return model::apply_gauge(base, model::gauge_towards(base, model::k2b4tScales), model::calibrate(base, probe));
  }

  /// The calibration of a base in a gauge; the last one is kept.
  const prune::Calibration& calibration_of(const ReproduceCell& cell, const model::Model& base) {
    const std::pair<std::size_t, BaseGauge> key{cell.base, cell.gauge};
    if (!calibration_ || calibrated_ != key) {
      const std::int64_t length = std::min<std::int64_t>(kCalibrationLength, base.config.context);
      calibration_ = prune::calibrate(
          base, prune::calibration_sequences(base, calibration_texts_, length, config_.calibration_tokens),
          prune::Moments::inputs);
      calibrated_ = key;
    }
    return *calibration_;
  }

  /// The arm's factor with which a model scores the end of the training text best: no such arm trains on it.
  double fitted(const model::Model& base, const TreatmentArm& arm, const model::Masks& masks) const {
    const text::Corpus validation = fitting_text(texts_.train);
    return best_temperature([&](double temperature) {
      const auto model = treated(base, arm, masks, temperature);
      return evaluate::perplexity(*model, validation, {.stride = config_.stride}, 0).mean_nll;
    });
  }

  const train::TokenStream& stream_of(std::size_t base) {
    train::TokenStream& stream = streams_[base];
    if (stream.tokens.empty()) {
      const text::Tokenizer& vocabulary = bases_[base]->vocabulary();
      stream = train::encode_documents(texts_.train, vocabulary, train::separators_of(vocabulary));
    }
    return stream;
  }

  /// The scales that the arm's fine-tune keeps, if any.
  static FixedScales scales_for(const TreatmentArm& arm, const model::Model& base) {
    if (arm.treatment == Treatment::frozen_scales) return {&base, train::FixedScaleReading::frozen};
    if (arm.treatment == Treatment::legacy_scales) return {&base, train::FixedScaleReading::twice};
    return {};
  }

  /// The arm's fine-tunes from its first level's model and masks on, each with an order of its own; `masks` become
  /// those of the last level, `f` gets the losses and, where all was done in one go, the seconds. Nothing where it was
  /// interrupted.
  std::unique_ptr<model::Model> tuned(const ReproduceCell& cell, const model::Model& base,
                                      std::unique_ptr<model::Model> model, model::Masks& masks, StageFigures& f) {
    const std::vector<double> levels = levels_of(cell.arm);
    const fs::path folder = run_.stage_folder(cell.stage());
    const auto place = [&](std::size_t i) {
      return levels.size() == 1 ? folder : folder / fmt::format("level-{}", i + 1);
    };
    const bool fresh = !fs::exists(place(0) / "training.json");
    const bool masked = cell.arm.held && cell.arm.treatment != Treatment::none;
    const train::TokenStream& stream = stream_of(cell.base);
    const FixedScales scales = scales_for(cell.arm, base);
    train::TrainConfig tune = tune_of(cell.arm, config_.tune);
    core::Stopwatch watch;
    for (std::size_t i = 0; i < levels.size(); ++i) {
      if (i > 0) {
        const prune::Progress progress{&base, &masks};
        masks = make_masks(*model, at_level(cell.arm, levels[i]), seed_of(config_, cell), nullptr, &progress);
        model = prune::apply_masks(*model, masks);
      }
      tune.seed = seed_of(config_, cell) + i;
      fs::create_directories(place(i));
      model = fine_tune(std::move(model), masked ? &masks : nullptr, tune, stream, place(i), around_, scales);
      if (!model) return nullptr;
      const std::vector<double> losses = step_losses(place(i));
      f.series["losses"].insert(f.series["losses"].end(), losses.begin(), losses.end());
    }
    if (scales.base != nullptr) model = scales.snap(*model);
    if (fresh) f.numbers["seconds_tuning"] = watch.seconds();
    return model;
  }

  std::optional<StageFigures> work_on(const ReproduceCell& cell) {
    if (around_.interrupted()) return std::nullopt;
    const auto base = in_gauge(cell);
    core::Stopwatch watch;
    const prune::Calibration* calibration = needs_calibration(cell.arm) ? &calibration_of(cell, *base) : nullptr;
    const TreatmentArm first = at_level(cell.arm, levels_of(cell.arm).front());
    model::Masks masks = make_masks(*base, first, seed_of(config_, cell), calibration);
    const double temperature = needs_temperature(cell.arm) ? fitted(*base, cell.arm, masks) : 1;
    auto model = treated(*base, cell.arm, masks, temperature);
    const double masking = watch.seconds();
    StageFigures tuning;
    if (cell.fine_tune) {
      model = tuned(cell, *base, std::move(model), masks, tuning);
      if (!model) return std::nullopt;
    }
    watch.restart();
    StageFigures f = scored(*model, texts_.test, {.stride = config_.stride}, around_);
    add_samples(f, *model, texts_.sentences);
    f.numbers["seconds_scoring"] = watch.seconds();
    if (is_retained(cell)) {
      watch.restart();
      add_retention(f, *model, texts_, {.stride = config_.stride}, around_);
      f.numbers["seconds_retention"] = watch.seconds();
    }
    if (needs_temperature(cell.arm)) f.numbers["temperature"] = temperature;
    f.numbers["seconds_masking"] = masking;
    for (const auto& [work, kind] : kWorks) f.numbers[fmt::format("guess_{}", kind)] = estimate_.guess()[work];
    f.numbers.merge(tuning.numbers);
    f.series.merge(tuning.series);
    f.texts["masks_sha256"] = model::sha256_of(masks);
    add_account(f, prune::account(*base, *model));
    return f;
  }

  const ReproduceConfig& config_;
  const Bases& bases_;
  const Texts& texts_;
  RunDirectory& run_;
  const Surroundings& around_;
  TimeEstimate estimate_;
  std::vector<std::string> calibration_texts_;
  std::optional<prune::Calibration> calibration_;
  std::pair<std::size_t, BaseGauge> calibrated_;
  std::map<std::size_t, train::TokenStream> streams_;
  std::size_t at_ = 0;  ///< of the plan
  ReproduceResult result_;
};

}  // namespace

std::string name(BaseGauge gauge) {
  return gauge == BaseGauge::own ? "own" : "2b";
}

std::string ReproduceCell::stage() const {
  return fmt::format("base{}-{}-{}-{}", base + 1, name(gauge), slug(arm),
                     fine_tune ? fmt::format("tuned{}", *fine_tune + 1) : "raw");
}

std::vector<ReproduceCell> plan_cells(const ReproduceConfig& config) {
  std::vector<ReproduceCell> plan;
  for (const BaseGauge gauge : {BaseGauge::own, BaseGauge::like_2b}) {
    for (std::size_t base = 0; base < config.bases.size(); ++base) {
      for (const TreatmentArm& arm : raw_arms(config.full)) {
        if (worth_scoring(arm, gauge, base, config.full)) plan.push_back({base, gauge, arm, std::nullopt});
      }
    }
  }
  for (std::uint64_t number = 0; number < static_cast<std::uint64_t>(config.seeds); ++number) {
    for (const BaseGauge gauge : {BaseGauge::own, BaseGauge::like_2b}) {
      for (std::size_t base = 0; base < config.bases.size(); ++base) {
        for (const TreatmentArm& arm : tuned_arms(config.full)) {
          if (worth_tuning(arm, gauge, number)) plan.push_back({base, gauge, arm, number});
        }
      }
    }
  }
  std::stable_sort(plan.begin(), plan.end(),
                   [](const ReproduceCell& a, const ReproduceCell& b) { return rank_of(a) < rank_of(b); });
  return plan;
}

std::uint64_t seed_of(const ReproduceConfig& config, const ReproduceCell& cell) {
  return core::Random(config.seed).split(cell.base).split(cell.fine_tune.value_or(0)).next() >> 1;
}

const StageFigures* ReproduceResult::find(const ReproduceCell& cell) const {
  const auto at = std::find_if(cells.begin(), cells.end(), [&](const auto& entry) { return entry.first == cell; });
  return at == cells.end() ? nullptr : &at->second;
}

void ReproduceResult::throw_failures() const {
  if (failures.empty()) return;
  const StageFailure& first = failures.front();
  std::string message = fmt::format("stage {}: {}", first.stage, first.message);
  if (failures.size() > 1) message += fmt::format("; {} more failed too", failures.size() - 1);
  throw NumericError(message, first.row);
}

WorkAmounts work_of(const ReproduceCell& cell, const ReproduceConfig& config) {
  WorkAmounts amounts;
  amounts[Work::scoring] = 1;
  if (cell.fine_tune)
    amounts[Work::tuning] = static_cast<double>(config.tune.steps * cell.arm.length * cell.arm.levels);
  if (needs_calibration(cell.arm) || needs_temperature(cell.arm)) amounts[Work::masking] = 1;
  if (is_retained(cell) && !config.retention.empty()) amounts[Work::retention] = 1;
  return amounts;
}

WorkAmounts legacy_work(const ReproduceConfig& config, std::size_t bases) {
  WorkAmounts amounts;
  if (!config.full) return amounts;
  // Two levels each, and what little its protocol scores beside the seven states.
  amounts[Work::tuning] = 2 * static_cast<double>(bases) * static_cast<double>(config.tune.steps);
  amounts[Work::scoring] = 7 * static_cast<double>(bases);
  return amounts;
}

namespace {

/// What a base reads where it is scored: windows of tokens and what of them counts.
std::vector<evaluate::Window> scored_windows(const model::Model& base, const ReproduceConfig& config,
                                             const Texts& texts) {
  std::vector<evaluate::Window> all;
  for (const text::Corpus* corpus : {&texts.test, &texts.retention}) {
    if (corpus->documents.empty()) continue;
    auto plan = evaluate::plan_scoring(*corpus, evaluate::text_model(base), {.stride = config.stride});
    std::move(plan.windows.begin(), plan.windows.end(), std::back_inserter(all));
  }
  return all;
}

/// The largest share of codes that an arm of the run takes.
double largest_dose(const ReproduceConfig& config) {
  double largest = 0;
  for (const auto& arms : {raw_arms(config.full), tuned_arms(config.full)}) {
    for (const TreatmentArm& arm : arms) {
      if (arm.treatment != Treatment::legacy) largest = std::max(largest, arm.dose);
    }
  }
  return largest;
}

}  // namespace

void require_usable(const Bases& bases, const ReproduceConfig& config, const Texts& texts) {
  std::vector<evaluate::Window> windows;
  std::map<std::string, std::string> functions;
  for (std::size_t i = 0; i < bases.size(); ++i) {
    const model::Model& base = *bases[i];
    require_usable(base, texts, config.tune);
    if (config.full) require_usable(base, legacy_config(config.bases[i], base, config.tune, config.test, texts), texts);
    prune::require_alive(base, {.sparsity = largest_dose(config)}, config.bases[i]);
    for (const std::string_view prompt : kSamplePrompts) require_prompt(base, prompt);
    const auto window = [](const model::Model& m) {
      return evaluate::default_context(evaluate::Protocol::full, m.config.context);
    };
    if (window(base) != window(*bases.front())) {
      throw ConfigError(fmt::format("{} is read in windows of {} tokens, {} of {}; bases must have one context",
                                    config.bases.front(), window(*bases.front()), config.bases[i], window(base)));
    }
    std::vector<evaluate::Window> here = scored_windows(base, config, texts);
    if (i == 0) windows = std::move(here);
    if (i != 0 && here != windows) {
      throw ConfigError(fmt::format("{} and {} read {} as different tokens; bases must have one vocabulary",
                                    config.bases.front(), config.bases[i], config.test));
    }
    const auto [same, is_new] = functions.emplace(model::nll_sha256(model::gate_nlls(base)), config.bases[i]);
    if (!is_new) {
      throw ConfigError(fmt::format("{} and {} give the same likelihoods; bases must be trained independently",
                                    same->second, config.bases[i]));
    }
  }
}

void require_nothing_fuller(const ReproduceConfig& config, const RunDirectory& run) {
  ReproduceConfig fuller = config;
  fuller.full = true;
  fuller.seeds = kMostSeeds;
  const std::vector<ReproduceCell> planned = plan_cells(config);
  ReproduceConfig quick = fuller;
  quick.full = config.full;
  const std::vector<ReproduceCell> with_seeds = plan_cells(quick);
  std::string beyond;
  bool full = config.full;
  std::int64_t seeds = config.seeds;
  for (const ReproduceCell& cell : plan_cells(fuller)) {
    if (std::find(planned.begin(), planned.end(), cell) != planned.end() || !run.finished(cell.stage())) continue;
    beyond = cell.stage();
    full = full || std::find(with_seeds.begin(), with_seeds.end(), cell) == with_seeds.end();
    seeds = std::max(seeds, static_cast<std::int64_t>(cell.fine_tune.value_or(0)) + 1);
  }
  if (beyond.empty()) return;
  throw ConfigError(fmt::format("{}: holds {}, a stage of a fuller run; {}--seeds {} goes on with it",
                                run.folder().string(), beyond, full ? "--full " : "", seeds));
}

TimeEstimate first_estimate(const ReproduceConfig& config, const model::Config& shape, const Texts& texts) {
  const train::TrainConfig& c = config.tune;
  const double token = train::guess_seconds_per_token(shape, c, train::measure_product_rate(c.step.backward));
  WorkAmounts guess;
  guess[Work::tuning] = token * static_cast<double>(c.batch * c.accumulation * c.context);
  guess[Work::scoring] = token / 3 * guess_scored_tokens(texts.test);
  guess[Work::retention] = token / 3 * guess_scored_tokens(texts.retention);
  guess[Work::masking] = 3 * token * static_cast<double>(config.calibration_tokens);
  return TimeEstimate(guess);
}

void learn(TimeEstimate& estimate, const ReproduceCell& cell, const ReproduceConfig& config,
           const StageFigures& found) {
  const WorkAmounts amounts = work_of(cell, config);
  for (const auto& [work, kind] : kWorks) {
    const auto seconds = found.numbers.find(fmt::format("seconds_{}", kind));
    if (amounts[work] > 0 && seconds != found.numbers.end()) estimate.measured(work, amounts[work], seconds->second);
  }
}

std::string to_json(const ReproduceConfig& c, const Bases& bases, const Texts& texts) {
  Json j;
  j["format"] = "rpt-reproduce-7";
  j["bases"] = c.bases;
  std::vector<std::string> hashes;
  for (const auto& base : bases) hashes.push_back(sha256_of(*base));
  j["bases_sha256"] = hashes;
  j["text"] = c.text;
  j["test"] = c.test;
  j["retention"] = c.retention;
  j["texts_sha256"] = sha256_of(texts);
  j["stride"] = c.stride;
  j["seed"] = c.seed;
  j["calibration_tokens"] = c.calibration_tokens;
  j["tune"] = Json::parse(train::to_json(c.tune));
  return j.dump(-1, ' ', false, Json::error_handler_t::replace);  // names of files may be no UTF-8
}

ReproduceResult reproduce(const ReproduceConfig& config, const Bases& bases, const Texts& texts, RunDirectory& run,
                          const Surroundings& around) {
  RPT_CHECK(!bases.empty() && bases.size() == config.bases.size(), "{} bases, {} names", bases.size(),
            config.bases.size());
  return Runner(config, bases, texts, run, around).go();
}

bool is_complete(const ReproduceResult& result, const ReproduceConfig& config) {
  return result.cells.size() == plan_cells(config).size() &&
         (!config.full || result.legacy.size() == config.bases.size());
}

}  // namespace rpt::experiment

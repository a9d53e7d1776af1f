// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "rpt/experiment/arms.h"
#include "rpt/experiment/legacy_run.h"
#include "rpt/experiment/measure.h"
#include "rpt/experiment/run_directory.h"
#include "rpt/experiment/time_estimate.h"
#include "rpt/train/train_config.h"

/// Pruning with its controls: several bases, each in two gauges, every arm without training and after the same
/// fine-tune, scored on one text. Experiments 1, 2, 3 and 6 of the reference are read off it: docs/experiments.md.
namespace rpt::experiment {

/// The gauges: a base as it is, and with the scales of BitNet b1.58 2B-4T (model::k2b4tScales).
enum class BaseGauge : std::uint8_t { own, like_2b };
/// "own", "2b".
std::string name(BaseGauge gauge);

struct ReproduceConfig {
  std::vector<std::string> bases;  ///< as they were named, all different
  std::string text;                ///< fine-tuned on, as it was named
  std::string test;                ///< scored, as it was named
  std::string retention;           ///< scored as well, to see what is forgotten; empty for none
  std::uint64_t seed = 0;          ///< of random masks and of the first fine-tune
  std::int64_t stride = 0;         ///< tokens from window to window where models are scored; 0: half the context
  std::int64_t calibration_tokens = 8192;
  train::TrainConfig tune;
  // What follows decides how far a run goes, not what its stages are: it may be raised in the same folder.
  bool full = false;
  std::int64_t seeds = 1;  ///< fine-tunes of each arm
};

/// The most fine-tunes of an arm.
inline constexpr std::int64_t kMostSeeds = 32;

/// A base that was opened, with latents.
using Bases = std::vector<std::unique_ptr<model::Model>>;

/// One model to be scored: a stage of the run.
struct ReproduceCell {
  std::size_t base = 0;  ///< index into the bases
  BaseGauge gauge = BaseGauge::own;
  TreatmentArm arm;
  std::optional<std::uint64_t> fine_tune;  ///< number of the fine-tune; nothing: scored without training

  /// "base1-own-magnitude-per-tensor-10-tuned1".
  std::string stage() const;
  bool operator==(const ReproduceCell&) const = default;
};

/// The stages in their order: what the declared contrast needs; then all arms without training; then the other
/// fine-tunes, 10 % first. In the second gauge, arms that do not depend on it are fine-tuned once only, at 10 %: that
/// is enough to show that they do not.
std::vector<ReproduceCell> plan_cells(const ReproduceConfig& config);

/// Of everything random in a stage. Every base draws its own, since what a draw does would otherwise be the same to all
/// of them and no spread between bases could show it; arms and gauges of one base share it, so that they differ in
/// nothing else.
std::uint64_t seed_of(const ReproduceConfig& config, const ReproduceCell& cell);

/// A stage whose training diverged, or that failed by its numbers otherwise.
struct StageFailure {
  std::string stage;
  std::string message;
  std::int64_t row = 0;  ///< as NumericError's
};

struct ReproduceResult {
  /// As scored(), add_samples() and add_account() (against the base) leave them; texts masks_sha256; of fine-tunes the
  /// series losses; for what was measured in one go seconds_tuning, seconds_scoring and seconds_masking; guess_… what
  /// was guessed of them before anything was measured.
  std::vector<std::pair<ReproduceCell, StageFigures>> cells;
  std::vector<LegacyRun> legacy;          ///< of full runs, a base each, behind everything else
  std::vector<std::string> bases_sha256;  ///< as sha256_of()
  std::string texts_sha256;
  std::vector<StageFailure> failures;  ///< in the order of the plan
  bool interrupted = false;

  /// What a stage found, if it was done.
  const StageFigures* find(const ReproduceCell& cell) const;
  /// Throws: NumericError naming the first stage that failed, where one did.
  void throw_failures() const;
};

/// measure.h's, of every base. Throws: ConfigError as there; where a base has too few codes for the run's arms or too
/// short a context for kSamplePrompts; where two bases are the same function, in whatever gauge, or read the texts that
/// are scored as different tokens or in windows of another length.
void require_usable(const Bases& bases, const ReproduceConfig& config, const Texts& texts);

/// What a stage does: steps, texts scored, calibrations. And seconds of each before anything was measured.
WorkAmounts work_of(const ReproduceCell& cell, const ReproduceConfig& config);
/// What the reference's pipeline does on `bases` bases of a full run; nothing of any other.
WorkAmounts legacy_work(const ReproduceConfig& config, std::size_t bases);
TimeEstimate first_estimate(const ReproduceConfig& config, const model::Config& shape, const Texts& texts);

/// Learns from a finished stage.
void learn(TimeEstimate& estimate, const ReproduceCell& cell, const ReproduceConfig& config, const StageFigures& found);

/// The configuration as run.json holds it, with the hashes of bases and texts.
std::string to_json(const ReproduceConfig& config, const Bases& bases, const Texts& texts);

/// Throws: ConfigError where the run holds finished stages of --full that `config` does not plan: its report would take
/// the place of a fuller one.
void require_nothing_fuller(const ReproduceConfig& config, const RunDirectory& run);

/// Runs the stages that are not finished, and says after each how long the rest will take. A stage that fails by its
/// numbers is left out (`failures`), and tried again by the next run. Where it is interrupted it ends, and the result
/// holds every stage of the plan that is finished. Throws: as require_usable(), the gauge, pruning and fine_tune(), but
/// for NumericError.
ReproduceResult reproduce(const ReproduceConfig& config, const Bases& bases, const Texts& texts, RunDirectory& run,
                          const Surroundings& around);

/// Whether every stage of the plan is done, and the reference's pipeline where the run has it.
bool is_complete(const ReproduceResult& result, const ReproduceConfig& config);

}  // namespace rpt::experiment

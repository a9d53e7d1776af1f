// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "rpt/train/checkpoint.h"
#include "rpt/train/train_config.h"

namespace rpt::train {

/// One step, as metrics.jsonl holds it.
struct StepRecord {
  std::int64_t step = 0;     ///< steps taken, this one included
  std::int64_t targets = 0;  ///< scored tokens of the step
  /// Mean NLL of the step's targets, nats, before the step; nothing without targets, and then the step changes nothing.
  std::optional<double> loss;
  double lr = 0;
  double ternary_share = 1;  ///< λ of the quantisation warm-up in this step's forward; not of evaluations
  double gradient_norm = 0;
  double seconds = 0;       ///< of this step
  std::int64_t tokens = 0;  ///< tokens read by this step
};

/// Which narrow products of training the processor makes itself, those of attention where the instruction set in force
/// has them: "native products: int8, bf16, attention in bf16" or "no native products". Others give other bits.
std::string describe_products();

/// "loss 1.2345", or that there is none.
std::string describe_loss(std::optional<double> loss);

/// The NLL of one text under the model of a moment.
struct Evaluation {
  std::string text;
  double mean_nll = 0;  ///< nats a token
  double bits_per_byte = 0;
  std::int64_t tokens = 0;
  std::string nll_sha256;
  bool is_held_out = false;  ///< the part that was held out: it alone decides about overfitting
};

/// What a run asks of those who started it. Empty functions are not called.
struct RunHooks {
  std::function<void(const StepRecord&)> step;
  /// Scores the texts that are watched, the part that was held out first where there is one. train may not see
  /// evaluate, so that the caller connects them. Called every evaluate_every steps and after the last one.
  std::function<std::vector<Evaluation>(const model::Model&)> evaluate;
  std::function<void(std::int64_t step, const std::vector<Evaluation>&)> evaluated;
  /// Keeps the model, which is the best so far, and returns a hash by which it is known; only where the run stops on
  /// overfitting. Where it throws an Error, a checkpoint is saved first, and a run that goes on from it asks again.
  std::function<std::string(const model::Model&)> best;
  /// Asked after each step: true saves a checkpoint and ends the run, to be resumed.
  std::function<bool()> interrupted;
  std::function<void(const std::string&)> warn;
};

enum class RunEnd : std::uint8_t { done, overfitting, interrupted };

struct RunResult {
  RunEnd end = RunEnd::done;
  std::int64_t steps = 0;           ///< taken in all
  std::int64_t first_step = 0;      ///< taken before this call, when it was resumed
  std::int64_t best_step = -1;      ///< with the lowest NLL of the held-out part, −1 without one
  std::string best_sha256;          ///< what RunHooks::best returned then; empty where it was not called
  std::optional<double> last_loss;  ///< of the last step that had targets
  /// Keeps other runs out of the folder until the last copy is gone: what the caller writes behind the run belongs to
  /// it.
  std::shared_ptr<const void> lock;
};

/// Refuses what run_training refuses of a model, which may still lack its weights, and a text. Throws: ConfigError
/// where a window does not fit into the model or the text, or where the text has no token to learn from;
/// EnvironmentError where the processor lacks the products of config.step.
void require_trainable(const TrainConfig& config, const model::Model& model, const TokenStream& stream);

/// Trains `parameters` on a stream as `config` says and leaves in `folder`: config.json of the run as training.json,
/// metrics.jsonl (a line a step or evaluation), checkpoints/. `resume` goes on from the newest checkpoint, with the
/// same bits as if nothing had happened; of a run that has ended nothing is done again. A hook of the parameters takes
/// part; config.revive sets one. The caller writes the model, while it holds the result. `machine` describes processor,
/// instruction set and threads; where it, describe_products() or kTrainingArithmetic is not what a resumed run began
/// with, that is warned about. Throws: as require_run_folder; ConfigError where no step had a token to learn from,
/// where configuration, first weights, text or hook of a resumed run differ, or where config.revive meets another hook;
/// as GradientStep, Adamw, ReviveHook and the checkpoint functions.
RunResult run_training(const TrainConfig& config, Parameters& parameters, const TokenStream& stream,
                       const std::filesystem::path& folder, bool resume, const std::string& machine,
                       const RunHooks& hooks);

}  // namespace rpt::train

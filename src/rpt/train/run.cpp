// SPDX-License-Identifier: MIT
#include "rpt/train/run.h"

#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>
#include <string_view>
#include <utility>

#include "rpt/core/atomic_file.h"
#include "rpt/core/timer.h"
#include "rpt/kernels/isa.h"
#include "rpt/model/token_rows.h"
#include "rpt/tensor/product.h"
#include "rpt/train/metrics.h"
#include "rpt/train/run_folder.h"

namespace rpt::train {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

/// A line of metrics.jsonl. Names of files may be no UTF-8.
std::string text_of(const Json& line) {
  return line.dump(-1, ' ', false, Json::error_handler_t::replace);
}

/// A step as metrics.jsonl holds it.
Json line_of(const StepRecord& r) {
  Json line = {{"step", r.step},       {"loss", r.loss ? Json(*r.loss) : Json()},
               {"lr", r.lr},           {"gradient_norm", r.gradient_norm},
               {"targets", r.targets}, {"tokens_per_second", static_cast<double>(r.tokens) / r.seconds}};
  if (r.ternary_share < 1) line["ternary_share"] = r.ternary_share;
  return line;
}

/// Sets the hook that a configuration asks for.
void follow_magnitudes(const ReviveOptions& options, Parameters& parameters) {
  const auto hook = std::make_shared<ReviveHook>(options);
  if (parameters.hook() != nullptr && parameters.hook()->description() != hook->description()) {
    throw ConfigError(
        fmt::format("{} and {}: there can be only one", parameters.hook()->description(), hook->description()));
  }
  parameters.set_hook(hook);
}

/// Throws ConfigError where a run in `place` began with another configuration.
void require_same_configuration(const fs::path& place, const std::string& was, const std::string& is) {
  if (was == is) return;
  throw ConfigError(fmt::format("{}: the run was started with another configuration{}", place.string(),
                                describe_difference(was, is)));
}

/// A run while it lasts.
class Run {
 public:
  Run(const TrainConfig& config, Parameters& parameters, const TokenStream& stream, const fs::path& folder,
      const std::string& machine, const RunHooks& hooks)
      : config_(config),
        parameters_(parameters),
        checkpoints_(folder / "checkpoints"),
        hooks_(hooks),
        sampler_(stream, {config.context, config.sampling, config.seed}),
        optimiser_(parameters, config.optimiser, config.seed),
        gradient_(parameters, config.context, config.step),
        monitor_(config.overfit) {
    RPT_CHECK(parameters.masters() == config.masters, "masters {}", name(parameters.masters()));
    state_.config_json = to_json(config);
    state_.stream_sha256 = stream.sha256;
    state_.machine = machine + ", " + describe_products();
    if (parameters.hook() != nullptr) state_.hook = parameters.hook()->description();
    state_.base_sha256 = sha256_of(parameters);
  }

  void resume(const fs::path& checkpoint) {
    const RunState found = read_run_state(checkpoint);
    require_same_configuration(checkpoint, found.config_json, state_.config_json);
    if (found.base_sha256 != state_.base_sha256) {
      throw ConfigError(fmt::format("{}: the run was started on another model: expected sha256 {:.16}…, found {:.16}…",
                                    checkpoint.string(), found.base_sha256, state_.base_sha256));
    }
    if (found.hook != state_.hook) {
      const auto named = [](const std::string& hook) { return hook.empty() ? "without a mask" : "under " + hook; };
      throw ConfigError(fmt::format("{}: the run was started {}, not {}", checkpoint.string(), named(found.hook),
                                    named(state_.hook)));
    }
    if (found.stream_sha256 != state_.stream_sha256) {
      throw ConfigError(fmt::format("{}: the run was started on another text", checkpoint.string()));
    }
    load_checkpoint(checkpoint, parameters_, optimiser_);
    if (found.machine != state_.machine && hooks_.warn) {
      hooks_.warn(fmt::format("the run goes on on {}, it was started on {}: it will not end with the same bits",
                              state_.machine, found.machine));
    }
    if (found.arithmetic != state_.arithmetic && hooks_.warn) {
      hooks_.warn(
          fmt::format("the run goes on with another version of rpt than it was started with, whose steps compute "
                      "otherwise (arithmetic {}, it was {}): it will not end with the same bits",
                      state_.arithmetic, found.arithmetic));
    }
    sampler_.restore(found.sampler);
    monitor_.restore(found.monitor);
    state_ = found;
  }

  RunResult go(const fs::path& folder) {
    const auto lock = std::make_shared<Metrics>(folder / "metrics.jsonl", state_.metrics_bytes, hooks_.warn);
    Metrics& metrics = *lock;
    RunResult result;
    result.lock = lock;
    result.first_step = state_.step;
    bool goes_on = !std::exchange(state_.look_is_due, false) || finish_step(metrics);
    while (goes_on && state_.step < config_.steps && !state_.overfitted) {
      const StepRecord record = step();
      if (record.loss) {
        state_.last_loss = record.loss;
      } else {
        ++state_.idle_steps;
      }
      metrics.add(text_of(line_of(record)));
      if (hooks_.step) hooks_.step(record);
      goes_on = finish_step(metrics);
    }
    if (state_.overfitted) result.end = RunEnd::overfitting;
    if (!goes_on) result.end = RunEnd::interrupted;
    if (result.end != RunEnd::interrupted) look_at_idle_steps();
    result.last_loss = state_.last_loss;
    result.steps = state_.step;
    result.best_step = monitor_.state().best_step;
    result.best_sha256 = state_.best_sha256;
    return result;
  }

 private:
  void look_at_idle_steps() const {
    if (state_.idle_steps == 0) return;
    if (state_.idle_steps == state_.step) {
      throw ConfigError(fmt::format("none of {} steps had a token to learn from: take a longer context or more windows",
                                    state_.step));
    }
    if (hooks_.warn) {
      hooks_.warn(
          fmt::format("{} of {} steps had no token to learn from and changed nothing", state_.idle_steps, state_.step));
    }
  }

  /// What follows a step: a look at the texts and a checkpoint, where they are due. False where the run was
  /// interrupted.
  bool finish_step(Metrics& metrics) {
    const bool last = state_.step == config_.steps;
    const bool looks = config_.evaluate_every > 0 && state_.step % config_.evaluate_every == 0;
    if ((looks || last) && evaluate(metrics)) {
      state_.overfitted = true;
      save(metrics);
      return true;
    }
    const bool interrupted = !last && hooks_.interrupted && hooks_.interrupted();
    if (last || interrupted || state_.step % config_.checkpoint_every == 0) save(metrics);
    return !interrupted;
  }

  StepRecord step() try {
    const core::Stopwatch watch;
    std::vector<Batch> batches;
    StepRecord record;
    for (std::int64_t i = 0; i < config_.accumulation; ++i) {
      batches.push_back(sampler_.next(config_.batch));
      record.targets += count_targets(batches.back());
    }
    record.ternary_share = config_.quantisation.share(state_.step);
    gradient_.set_ternary_share(record.ternary_share);
    const double factor = config_.schedule.rate(state_.step, config_.steps);
    record.lr = config_.optimiser.lr * factor;
    if (record.targets > 0) {
      gradient_.begin_step(config_.seed, state_.step);
      const double weight = 1.0 / static_cast<double>(record.targets);
      double sum = 0;
      for (const Batch& batch : batches) sum += gradient_.add(batch, config_.batch, static_cast<float>(weight));
      record.gradient_norm = optimiser_.step(factor, config_.schedule.decay(state_.step, config_.steps)).gradient;
      record.loss = sum * weight;
    }
    record.step = ++state_.step;
    record.tokens = config_.accumulation * config_.batch * config_.context;
    record.seconds = watch.seconds();
    return record;
  } catch (const EnvironmentError&) {
    throw;
  } catch (const Error& e) {  // nothing else is read here than what the steps before have made
    throw NumericError(
        fmt::format("step {}: {}; the training has diverged: lower the learning rate", state_.step + 1, e.what()), 0);
  }

  /// True where the run should stop, because the held-out text gets worse.
  bool evaluate(Metrics& metrics) {
    if (!hooks_.evaluate) return false;
    const std::vector<Evaluation> found = hooks_.evaluate(parameters_.model());
    if (found.empty()) return false;
    const std::uint64_t bytes_before = metrics.bytes();
    Json texts = Json::array();
    for (const Evaluation& e : found) {
      texts.push_back({{"text", e.text},
                       {"mean_nll", e.mean_nll},
                       {"bits_per_byte", e.bits_per_byte},
                       {"tokens", e.tokens},
                       {"nll_sha256", e.nll_sha256}});
    }
    metrics.add(text_of({{"step", state_.step}, {"evaluation", texts}}));
    if (hooks_.evaluated) hooks_.evaluated(state_.step, found);
    if (!found.front().is_held_out) return false;
    // While the ternary share still rises, the ternary model that is scored is not yet the one that is trained.
    if (config_.quantisation.rises(state_.step)) return false;
    const OverfitMonitor::State before = monitor_.state();
    const bool overfits = monitor_.add(state_.step, found.front().mean_nll);
    if (!config_.stop_on_overfitting) return false;
    if (!monitor_.is_best() || !hooks_.best) return overfits;
    try {
      state_.best_sha256 = hooks_.best(parameters_.model());
    } catch (const Error&) {
      // Something stands in its place, or the disk is full. The steps since the last checkpoint are not lost for that,
      // and the run that goes on looks once more, finds the same and keeps it.
      monitor_.restore(before);
      state_.look_is_due = true;
      save(metrics, bytes_before);
      if (hooks_.warn) {
        hooks_.warn(
            fmt::format("step {}: the best model so far cannot be kept; a checkpoint is saved from which "
                        "--resume goes on",
                        state_.step));
      }
      throw;
    }
    return overfits;
  }

  void save(const Metrics& metrics) { save(metrics, metrics.bytes()); }

  /// Saves a checkpoint that counts on the first `bytes` of the metrics.
  void save(const Metrics& metrics, std::uint64_t bytes) {
    state_.sampler = sampler_.state();
    state_.monitor = monitor_.state();
    metrics.sync();  // before the checkpoint that counts on them
    state_.metrics_bytes = bytes;
    save_checkpoint(checkpoints_, parameters_, optimiser_, state_, config_.keep_checkpoints);
  }

  const TrainConfig& config_;
  Parameters& parameters_;
  fs::path checkpoints_;
  const RunHooks& hooks_;
  WindowSampler sampler_;
  Adamw optimiser_;
  GradientStep gradient_;
  OverfitMonitor monitor_;
  RunState state_;
};

}  // namespace

std::string describe_products() {
  std::vector<std::string_view> native;
  if (tensor::multiplies_int8()) native.push_back("int8");
  if (tensor::multiplies_bf16()) native.push_back("bf16");
  if (kernels::active().multiplies_bf16) native.push_back("attention in bf16");
  if (native.empty()) return "no native products";
  return fmt::format("native products: {}", fmt::join(native, ", "));
}

std::string describe_loss(std::optional<double> loss) {
  return loss ? fmt::format("loss {:.4f}", *loss) : "no loss: no token to learn from";
}

void require_trainable(const TrainConfig& config, const model::Model& model, const TokenStream& stream) {
  model::require_rows(model, stream.tokens);
  if (std::find(stream.is_target.begin(), stream.is_target.end(), 1) == stream.is_target.end()) {
    throw ConfigError("the text holds no token to learn from");
  }
  if (config.context > model.config.context) {
    throw ConfigError(fmt::format("training context {}: the model has 1 to {}", config.context, model.config.context));
  }
  model::runnable(config.step.backward);
  const WindowSampler sampler(stream, {config.context, config.sampling, config.seed});
}

RunResult run_training(const TrainConfig& config, Parameters& parameters, const TokenStream& stream,
                       const fs::path& folder, bool resume, const std::string& machine, const RunHooks& hooks) {
  require_run_folder(folder, config, resume);
  const auto newest = newest_checkpoint(folder / "checkpoints");
  const fs::path described = folder / "training.json";
  std::error_code error;
  const bool is_described = fs::exists(described, error);
  require_trainable(config, parameters.model(), stream);
  if (config.revive) follow_magnitudes(*config.revive, parameters);
  Run run(config, parameters, stream, folder, machine, hooks);
  fs::create_directories(folder, error);
  if (error) throw OutputError(fmt::format("{}: {}", folder.string(), error.message()));
  if (newest) {
    run.resume(*newest);
  } else if (is_described) {
    require_same_configuration(described, core::read_file(described), to_json(config));
    if (hooks.warn) hooks.warn(fmt::format("{}: holds no checkpoint yet: the run begins anew", folder.string()));
  } else if (resume && hooks.warn) {
    hooks.warn(fmt::format("{}: holds no run to go on with: a new one begins", folder.string()));
  }
  if (!is_described) core::write_file_atomic(described, to_json(config));
  return run.go(folder);
}

}  // namespace rpt::train

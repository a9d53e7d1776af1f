// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "rpt/train/adamw.h"
#include "rpt/train/overfit_monitor.h"
#include "rpt/train/parameters.h"
#include "rpt/train/window_sampler.h"

namespace rpt::train {

/// Raised with every change of the bits that a step of training makes, on whatever processor.
inline constexpr std::int64_t kTrainingArithmetic = 3;

/// Everything beside weights and moments that a run needs to go on bit-exactly.
struct RunState {
  std::int64_t step = 0;  ///< steps taken
  WindowSampler::State sampler;
  OverfitMonitor::State monitor;
  std::string best_sha256;          ///< what RunHooks::best returned for monitor.best_step; empty without one
  std::uint64_t metrics_bytes = 0;  ///< length of metrics.jsonl then
  std::string config_json;          ///< of the run; another one does not go on
  std::string stream_sha256;        ///< of the training tokens
  std::string machine;              ///< that began the run, and describe_products(): others give other bits
  bool overfitted = false;          ///< the run has ended because the held-out text got worse
  bool look_is_due = false;         ///< what follows the step, a look at the texts first, is still to come
  std::optional<double> last_loss;  ///< of the last step that had targets
  std::int64_t idle_steps = 0;      ///< that had none, and changed nothing
  std::string hook;                 ///< description of the parameters' hook; empty without one
  std::string base_sha256;          ///< of the model that the run began with
  /// That the run began with.
  std::int64_t arithmetic = kTrainingArithmetic;
};

/// Writes `folder`/step-NNNNNNNN: state.safetensors (masters and moments, as they are stored, and a hook's state, u8)
/// and state.json. Appears whole or not at all. Older ones beyond the newest `keep` are removed afterwards. Throws
/// IoError.
void save_checkpoint(const std::filesystem::path& folder, const Parameters& parameters, Adamw& optimiser,
                     const RunState& state, std::int64_t keep);

/// The newest checkpoint in a folder; nothing where there is none.
std::optional<std::filesystem::path> newest_checkpoint(const std::filesystem::path& folder);

/// SHA-256 over names and values of masters, and what else of the shape a forward reads.
std::string sha256_of(const Parameters& parameters);

/// Reads state.json of a checkpoint alone. Throws: IoError; FormatError for a damaged file; ConfigError for one of
/// another version.
RunState read_run_state(const std::filesystem::path& checkpoint);

/// Reads what save_checkpoint wrote and publishes the weights. Throws: IoError; FormatError for damaged files;
/// ConfigError where tensors or their types are not those of `parameters` and `optimiser`. Nothing is changed when it
/// throws.
RunState load_checkpoint(const std::filesystem::path& checkpoint, Parameters& parameters, Adamw& optimiser);

}  // namespace rpt::train

// SPDX-License-Identifier: MIT
#pragma once
#include <CLI/CLI.hpp>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "rpt/cli/context.h"
#include "rpt/prune/calibration.h"
#include "rpt/prune/recipe.h"

namespace rpt::cli {

/// The options of every command that looks at activations.
struct CalibrationOptions {
  std::string text;
  std::int64_t length = 256;
  std::int64_t tokens = 4096;
};

/// Adds them; the options, for what excludes them.
std::vector<CLI::Option*> add_calibration_options(CLI::App& app, CalibrationOptions& options);

/// What is calibrated on, for a recipe: the text's hash, and sequences no longer than the model's context.
prune::CalibrationText describe_calibration(const CalibrationOptions& options, const model::Model& model);

/// Runs the text through the model. Throws: ConfigError where its hash is not that of `text`; as prune::calibrate.
prune::Calibration calibrate_on(const prune::CalibrationText& text, const model::Model& model, prune::Moments moments,
                                const Context& context);

}  // namespace rpt::cli

// SPDX-License-Identifier: MIT
#pragma once
#include <CLI/CLI.hpp>
#include <optional>

#include "rpt/generate/session.h"

namespace rpt::cli {

/// Adds -n, --temperature, --top-k, --top-p and --repeat-penalty; what `options` holds is the default.
void add_sampling_options(CLI::App& app, generate::GenerationOptions& options);

/// Tokens a second, or nothing where nothing was timed.
std::optional<double> rate(std::int64_t tokens, double seconds);

}  // namespace rpt::cli

// SPDX-License-Identifier: MIT
#pragma once
#include <filesystem>
#include <span>

#include "rpt/evaluate/plan.h"

namespace rpt::evaluate {

/// Writes the NLL of every scored token to a file that appears whole or not at all: the line
/// `document<TAB>id<TAB>bytes<TAB>nll`, then these of every token, in text order; the NLL in nats reads back the same.
/// Sizes: scored [T], nlls [T]. Throws: IoError.
void save_nlls(const std::filesystem::path& path, std::span<const ScoredToken> scored, std::span<const double> nlls);

}  // namespace rpt::evaluate

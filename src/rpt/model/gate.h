// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "rpt/model/model.h"

namespace rpt::model {

/// Per-token NLLs (nats) of a fixed sequence of pseudo-random ids, at most `tokens` long: what the gate compares when
/// no text is given. The same for every form of one model, to the last bit.
std::vector<double> gate_nlls(const Model& model, std::int64_t tokens = 64);

/// sha256 of NLLs as little-endian float64, in order: `nll_sha256` of every report.
std::string nll_sha256(const std::vector<double>& nlls);

/// The gate of docs/forward.md for a file just written. Throws: CheckError naming `written` and the first token whose
/// NLL differs.
void expect_identical(const Model& source, const Model& written);

}  // namespace rpt::model

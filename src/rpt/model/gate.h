// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "rpt/model/model.h"
#include "rpt/model/observer.h"

namespace rpt::model {

/// The fixed sequence of pseudo-random ids that the gate scores, at most `tokens` long.
std::vector<std::int32_t> gate_ids(const Config& config, std::int64_t tokens = 64);

/// Per-token NLLs (nats) of a fixed sequence of pseudo-random ids, at most `tokens` long: what the gate compares when
/// no text is given. The same for every form of one model, to the last bit.
std::vector<double> gate_nlls(const Model& model, std::int64_t tokens = 64);

/// Per-token NLLs (nats) of token sequences, one after the other, each read from an empty cache; after its last token a
/// sequence's first one is expected. `observer` sees the activations. Sizes: sequences of 1 … context tokens.
/// Throws: as Decoder::forward; ConfigError for another length.
std::vector<double> sequence_nlls(const Model& model, std::span<const std::vector<std::int32_t>> sequences,
                                  LayerObserver* observer = nullptr);

/// sha256 of NLLs as little-endian float64, in order: `nll_sha256` of every report.
std::string nll_sha256(const std::vector<double>& nlls);

/// The gate of docs/forward.md for a file just written; returns the sha256 of the NLLs. Throws: CheckError naming
/// `written` and the first token whose NLL differs.
std::string expect_identical(const Model& source, const Model& written);

/// The same on sequences of the caller's, whose NLLs under the source are `expected`.
std::string expect_identical(std::span<const double> expected, const Model& written,
                             std::span<const std::vector<std::int32_t>> sequences);

/// Checks that a written file says the same of its vocabulary: ids of a probe text, BOS rule, every end-of-text id.
/// Throws: ConfigError naming what the form cannot say.
void expect_same_vocabulary(const Model& source, const Model& written);

}  // namespace rpt::model

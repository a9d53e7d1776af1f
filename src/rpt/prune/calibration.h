// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "rpt/model/model.h"
#include "rpt/prune/linears.h"

namespace rpt::prune {

/// What the inputs x̂ [T, K] of linear layers were like. x̂ = q·a/127 is what the layer multiplies: the int8 values q of
/// the activation quantiser times its step, docs/forward.md "Activations and product".
struct InputMoments {
  std::vector<double> squares;       ///< [K] Σ_t x̂_tk²
  std::vector<std::int8_t> inputs;   ///< [T, K] q; empty unless asked for
  std::vector<double> square_steps;  ///< [T] (a_t / 127)², likewise
};

/// X̂ᵀX̂ [K, K] of inputs that were kept. Formula: Σ_t ((a_t / 127)²·q_tk)·q_tk' in double, t in order: the same bits for
/// any number of threads, and exactly times a power of two in another gauge. Cost: T·K²/2 multiply-adds.
std::vector<double> input_products(const InputMoments& moments);

/// The moments of all inputs of a model's linear layers over some tokens.
struct Calibration {
  std::vector<std::vector<InputMoments>> blocks;  ///< [L][input], inputs as model::kGaugeGroups
  std::uint64_t tokens = 0;

  const InputMoments& input_of(const Linear& linear) const { return blocks[linear.block][linear.input]; }
};

/// What to keep of the inputs.
enum class Moments : std::uint8_t {
  squares,  ///< for wanda
  inputs,   ///< besides, for `code`: K bytes a token for every input
};

/// Names a calibration text: SHA-256 of its documents, a line feed after each, as lower-case hexadecimal digits.
std::string documents_sha256(std::span<const std::string> documents);

/// Runs token sequences through the model, each from an empty cache, and keeps what its linear layers are given, in the
/// order of the tokens. Throws: ConfigError for no sequence or one that is empty or longer than the model's context; as
/// Decoder::forward.
Calibration calibrate(const model::Model& model, std::span<const std::vector<std::int32_t>> sequences, Moments moments);

/// Texts as sequences of at most `length` ids, `tokens` ids in all at most: the documents, each encoded alone, follow
/// each other, and no more of them are encoded than are needed; each sequence begins with BOS where the vocabulary adds
/// one. Throws: ConfigError where the model has no vocabulary, or for sizes under 1 (2 with BOS).
std::vector<std::vector<std::int32_t>> calibration_sequences(const model::Model& model,
                                                             std::span<const std::string> documents,
                                                             std::int64_t length, std::int64_t tokens);

}  // namespace rpt::prune

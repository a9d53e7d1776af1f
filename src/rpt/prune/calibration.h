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
  std::vector<double> squares;   ///< [K] Σ_t x̂_tk²
  std::vector<double> products;  ///< [K, K] X̂ᵀX̂; empty unless asked for
};

/// The moments of all inputs of a model's linear layers over some tokens.
struct Calibration {
  std::vector<std::vector<InputMoments>> blocks;  ///< [L][input], inputs as model::kGaugeGroups
  std::uint64_t tokens = 0;

  const InputMoments& input_of(const Linear& linear) const { return blocks[linear.block][linear.input]; }
};

/// What to sum up.
enum class Moments : std::uint8_t {
  squares,   ///< for wanda
  products,  ///< besides, for `code`: 8·K² bytes for every input
};

/// Runs token sequences through the model, each from an empty cache, and sums up what its linear layers are given.
/// Formula: with w_t = (a_t / 127)² in double, Σ_t (w_t·q_tk)·q_tk', t in order: the same bits for any number of
/// threads, and exactly times a power of two in another gauge.
/// Throws: ConfigError for no sequence or one that is empty or longer than the model's context; as Decoder::forward.
/// Cost: a forward, and T·K² multiply-adds for every input with products.
Calibration calibrate(const model::Model& model, std::span<const std::vector<std::int32_t>> sequences, Moments moments);

/// A text as sequences of at most `length` ids, `tokens` ids of the text at most in all; each begins with BOS where the
/// vocabulary adds one. Throws: ConfigError where the model has no vocabulary, or for sizes under 1 (2 with BOS).
std::vector<std::vector<std::int32_t>> calibration_sequences(const model::Model& model, std::string_view text,
                                                             std::int64_t length, std::int64_t tokens);

}  // namespace rpt::prune

// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "rpt/model/model.h"

/// Letters of this room: N rows (outputs) and K columns (inputs) of a linear layer, T tokens, P the share to remove.
namespace rpt::prune {

/// A linear layer as pruning sees it: latents [N, K], from which codes follow.
struct Linear {
  std::string name;                                          ///< GGUF's, without ".weight" ("blk.0.attn_q")
  std::size_t block = 0;                                     ///< in which it stands
  std::size_t input = 0;                                     ///< the norm that feeds it: index into model::kGaugeGroups
  model::LinearWeight model::BlockWeights::*part = nullptr;  ///< which one of the block
  const model::TernaryWeight* weight = nullptr;
  tensor::StoredView latents;

  std::int64_t rows() const { return latents.rows; }
  std::int64_t columns() const { return latents.columns; }
  std::uint64_t size() const { return static_cast<std::uint64_t>(rows()) * static_cast<std::uint64_t>(columns()); }
};

/// All linear layers, in the order of model::visit_weights; they refer to `model`. Throws: ConfigError naming one that
/// holds codes instead of latents: there is nothing to prune but what follows from latents.
std::vector<Linear> linear_layers(const model::Model& model);

/// Number of weights of all linear layers: what every share is a share of.
std::uint64_t ternary_weights(std::span<const Linear> linears);

/// Indices of linear layers ordered by name, byte by byte: the order in which equal scores go.
std::vector<std::size_t> by_name(std::span<const Linear> linears);

/// Which weights a dose counts.
enum class Dose : std::uint8_t {
  codes,    ///< those whose code is ±1
  latents,  ///< those whose latent is not 0
};
std::string_view name(Dose dose);
/// Throws: ConfigError.
Dose parse_dose(std::string_view text);

/// Which weights of row n of a linear layer are alive, that is, count for the dose; live [K], 1 or 0. Safe from several
/// threads.
void live_weights(const Linear& linear, Dose dose, std::int64_t n, std::span<std::uint8_t> live);

}  // namespace rpt::prune

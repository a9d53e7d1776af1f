// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "rpt/prune/mask.h"

/// The reference's global magnitude threshold, to the letter, but with a seed. It is a quantile of a sample in which
/// every tensor has the same weight, whatever its size; it looks at latents, so that it measures the gauge (docs/
/// gauge.md); ties and old zeros go with it.
namespace rpt::prune {

/// Most magnitudes that one tensor gives to the pool.
inline constexpr std::uint64_t kLegacySample = 50'000;

/// The magnitudes of latents other than 0 of all linear layers (all parameters of two dimensions but embedding and
/// head), ascending. Of a tensor with m > kLegacySample of them, a sample without replacement is taken, each subset as
/// likely: of the m magnitudes in order of flat index, those at the positions that Floyd's method draws, for j = m −
/// kLegacySample … m − 1: t = below(j + 1), and j instead where t is taken already; below() of core::Random(seed,
/// stream = index of the layer). Source: Bentley, Floyd, "A sample of brilliance", CACM 30(9), 1987. Throws: as
/// linear_layers.
std::vector<float> legacy_pool(const model::Model& model, std::uint64_t seed);

/// τ = pool[min(int(n · percent / 100), n − 1)] of an ascending pool of n; 0 where it is empty.
/// Throws: ConfigError unless percent is 0 to 100.
float legacy_threshold(std::span<const float> pool, double percent);

/// Keeps what is strictly larger in magnitude than the threshold.
Masks select_above(const model::Model& model, float threshold);

}  // namespace rpt::prune

// SPDX-License-Identifier: MIT
#include "rpt/prune/memory.h"

#include <algorithm>

#include "rpt/model/gauge_groups.h"

namespace rpt::prune {
namespace {

std::uint64_t bytes_of(std::int64_t count, std::uint64_t each) {
  return static_cast<std::uint64_t>(count) * each;
}

/// Inputs of every block that are kept, and keys and values.
std::uint64_t calibration_bytes(const model::Config& config, const Recipe& recipe) {
  if (!recipe.calibration) return 0;
  const CalibrationText& c = *recipe.calibration;
  const std::int64_t cache = c.length * 2 * config.kv_size() * config.layers;
  if (recipe.score != Score::code) return bytes_of(cache, sizeof(std::uint16_t));
  std::int64_t inputs = 0;
  for (const model::GaugeGroup& group : model::kGaugeGroups) {
    inputs += model::expected_shape(model::block_tensor_name(0, group.norm), config).second;
  }
  // A begin-of-text token may stand before each sequence.
  const std::int64_t tokens = c.length > 1 ? c.tokens + c.tokens / (c.length - 1) + 1 : c.tokens;
  const std::uint64_t each = bytes_of(inputs, 1) + model::kGaugeGroups.size() * sizeof(double);
  return bytes_of(cache, sizeof(std::uint16_t)) + bytes_of(tokens * config.layers, each);
}

std::uint64_t score_bytes(std::span<const Linear> targets, const Recipe& recipe) {
  if (recipe.score != Score::code) return 0;
  std::uint64_t all = 0;
  std::uint64_t largest = 0;
  std::int64_t widest = 0;
  for (const Linear& linear : targets) {
    all += linear.size();
    largest = std::max(largest, linear.size());
    widest = std::max(widest, linear.columns());
  }
  const bool at_once = recipe.selection.pattern.unstructured() && recipe.selection.scope == Scope::global;
  // Of the layer that is prepared the unpacked codes besides.
  return (at_once ? all : largest) * sizeof(double) + largest + bytes_of(widest * widest, sizeof(double));
}

}  // namespace

std::uint64_t PruneMemory::total() const {
  return codes + masks + std::max(calibration + scores, latents + written_codes);
}

PruneMemory prune_memory(const model::Model& model, const Recipe& recipe) {
  const std::vector<Linear> linears = linear_layers(model);
  std::vector<Linear> targets;
  for (const std::size_t i : target_layers(linears, recipe.selection)) targets.push_back(linears[i]);
  PruneMemory memory;
  for (const Linear& linear : linears) {
    memory.codes += linear.weight->codes().bytes;
    memory.masks += linear.size();
  }
  memory.written_codes = 2 * memory.codes;
  for (const Linear& linear : targets) memory.latents += linear.latents.bytes;
  memory.calibration = calibration_bytes(model.config, recipe);
  memory.scores = score_bytes(targets, recipe);
  return memory;
}

}  // namespace rpt::prune

// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "rpt/model/masks.h"
#include "rpt/prune/linears.h"
#include "rpt/prune/score.h"

namespace rpt::prune {

/// Among which weights the smallest scores are looked for. Within `tensor` and `row`, every one loses the same share of
/// its live weights, split by apportion().
enum class Scope : std::uint8_t { global, tensor, row };
std::string_view name(Scope scope);
/// Throws: ConfigError.
Scope parse_scope(std::string_view text);

/// Where weights may go: anywhere, or such that of every `of` consecutive inputs at most `keep` stay.
struct Pattern {
  std::int64_t keep = 0;
  std::int64_t of = 0;  ///< 0: unstructured
  bool unstructured() const { return of == 0; }
  bool operator==(const Pattern&) const = default;
};
/// "unstructured", "2:4".
std::string name(const Pattern& pattern);
/// Throws: ConfigError unless it is "unstructured" or "N:M", 1 ≤ N < M ≤ 1024.
Pattern parse_pattern(std::string_view text);

/// Which weights go.
struct Selection {
  /// P, 0 … 1: the share of all ternary weights of the model, protected ones included, that were alive and go. Only
  /// unstructured: a pattern says by itself how many go.
  double sparsity = 0;
  Dose dose = Dose::codes;  ///< which weights count as alive
  Scope scope = Scope::global;
  Pattern pattern;
  std::string targets = ".*";  ///< ECMAScript regular expression for whole names of linear layers that may lose weights
  std::string protect;         ///< the same for those of them that may not
  bool operator==(const Selection&) const = default;
};

/// Throws: ConfigError for a share or pattern outside its range, both together, or no regular expression.
void validate(const Selection& selection);

/// Indices of the layers that may lose weights, by name: in which order equal scores go. Throws: ConfigError for no
/// regular expression.
std::vector<std::size_t> target_layers(std::span<const Linear> linears, const Selection& selection);

/// What select() asks of the model before the first level, and so of every level up to the selection's: its dose counts
/// from that model. Nothing for a pattern. Throws: ConfigError naming `source`, the share that is asked for and the
/// largest that is possible, where fewer weights are alive in the targets than must go; as linear_layers.
void require_alive(const model::Model& model, const Selection& selection, const std::string& source);

/// Where a later level begins: levels are cumulative, their dose counts from `base`.
struct Progress {
  const model::Model* base = nullptr;   ///< before the first level
  const model::Masks* masks = nullptr;  ///< of the levels so far; the model that is pruned now has them applied
};

/// The masks of a selection on a model: those of `progress` and what goes now. Exactly round(P·n) weights (halves up)
/// that were alive in the base are then dead, n being the number of all ternary weights; what died otherwise in between
/// counts; where more did, nothing goes now. The smallest scores go; of equal ones those that come first by name of the
/// tensor (byte by byte), then by flat index. With a pattern N:M the N best of every M consecutive inputs stay, live
/// ones before others, and nothing else, whether alive or not, so that no change of scale or latents can bring back a
/// code more. Throws: ConfigError as validate and linear_layers; where fewer weights are alive in the targets than must
/// go; for masks or a base of another shape.
model::Masks select(const model::Model& model, const Saliency& saliency, const Selection& selection,
                    const Progress* progress = nullptr);

/// The control to a selection: every tensor loses as many live weights as under `like`, those with the smallest scores
/// of `saliency`. Throws: ConfigError for masks of another shape.
model::Masks select_matched(const model::Model& model, const Saliency& saliency, Dose dose, const model::Masks& like);

/// The placebo: masks all weights whose code is 0, so that no code can be gained.
model::Masks zero_code_masks(const model::Model& model);

}  // namespace rpt::prune

// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "rpt/prune/calibration.h"
#include "rpt/prune/linears.h"

namespace rpt::prune {

/// How much a weight is worth. Where a gauge (docs/gauge.md) changes a score, global pruning by it measures the gauge.
enum class Score : std::uint8_t {
  magnitude,  ///< |w| of the latent; changes with the gauge
  wanda,      ///< |w| · ‖x̂_k‖; changes only with the gauge between queries and keys
  random,     ///< from a counter
  code,       ///< what it costs the layer's output when the code becomes 0; the same in every gauge
};
std::string_view name(Score score);
/// Throws: ConfigError.
Score parse_score(std::string_view text);
/// True for wanda and code, which look at activations.
bool needs_calibration(Score score);

/// The worth of every weight of a model: the smallest go first. Borrows the model.
class Saliency {
 public:
  virtual ~Saliency() = default;
  /// Makes ready the linear layers of which rows are asked next; what is held for others is let go.
  virtual void prepare(std::span<const std::size_t>) const {}
  /// Writes the scores of row n of linear layer `linear` (index into linear_layers), scores [K], none negative or NaN.
  /// Safe from several threads, while none prepares; the same bits at every call.
  virtual void row(std::size_t linear, std::int64_t n, std::span<double> scores) const = 0;
};

/// |w|. Throws: as linear_layers; this and the others alike.
std::unique_ptr<Saliency> magnitude_saliency(const model::Model& model);

/// Uniform in [0, 1): word (n · K + k) of core::Random(seed, stream = index of the linear layer).
std::unique_ptr<Saliency> random_saliency(const model::Model& model, std::uint64_t seed);

/// |w_nk| · ‖x̂_k‖₂, where x̂ are the inputs as the layer multiplies them, after their own quantiser. A gauge moves a
/// power of two from one factor to the other. Source: Sun, Liu, Bair, Kolter, "A simple and effective pruning approach
/// for large language models", ICLR 2024. Sizes: calibration of this model or one of the same shape (ConfigError).
std::unique_ptr<Saliency> wanda_saliency(const model::Model& model, const Calibration& calibration);

/// The cost of moving one code to 0, all others fixed and the scale of the tensor fitted anew, in shares of the layer's
/// squared output (code_costs); 0 where the code is 0 already. It depends on the codes of the weights and on the
/// direction of the quantised inputs only: s and the size of x̂ cancel. So it is the same, to the last bit, in every
/// gauge, the one between queries and keys included. Sizes: as wanda, a calibration with inputs (ConfigError), which
/// must outlive the saliency. Cost: preparing a layer takes input_products, N·K²·density additions, and 8 bytes a
/// weight as long as it is prepared, besides 8·K² for the layer's input.
std::unique_ptr<Saliency> code_saliency(const model::Model& model, const Calibration& calibration);

/// The saliency of that name. Throws: ConfigError where it needs a calibration and there is none.
std::unique_ptr<Saliency> make_saliency(Score score, const model::Model& model, std::uint64_t seed,
                                        const Calibration* calibration);

/// What the codes c [N, K] of one layer are worth, given the products of its inputs H = X̂ᵀX̂ [K, K]; costs [N, K].
///
/// Formula: the layer gives Y = s·A, A = X̂Cᵀ [T, N]. With c_nk at 0 its output is s'·A', A' = A − c_nk·x̂_k·e_nᵀ, and
/// the scale that fits best is s' = s·⟨A', A⟩ / ‖A'‖². What remains of the error is then
///   min ‖Y − s'·A'‖² = s²·(‖A‖² − ⟨A', A⟩² / ‖A'‖²).
/// Let E = ‖A‖², h = H_kk and b = c_nk·⟨x̂_k, a_n⟩ = c_nk·(C·H)_nk. For c_nk = ±1, ⟨A', A⟩ = E − b and ‖A'‖² =
/// E − 2b + h, so that in shares of ‖Y‖² = s²·E
///   cost = (E·h − b²) / (E·(E − 2b + h)),    E = Σ_nk b_nk.
/// It lies in [0, 1] (Cauchy–Schwarz: b² ≤ h·E); it is 1 where nothing else carries output (A' = 0), 0 where E = 0.
/// To first order it is h/E: what tells columns apart is how strong they are, what tells the weights of a column apart
/// is b, how far the rest of the row says the same.
std::vector<double> code_costs(std::span<const std::int8_t> codes, std::int64_t rows, std::int64_t columns,
                               std::span<const double> products);

}  // namespace rpt::prune

// SPDX-License-Identifier: MIT
#pragma once
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <utility>
#include <vector>

#include "rpt/core/progress.h"
#include "rpt/evaluate/plan.h"
#include "rpt/model/decoder.h"

namespace rpt::evaluate {

/// Gives tokens their negative log-likelihoods.
class TokenScorer {
 public:
  virtual ~TokenScorer() = default;
  /// Writes the NLL (nats) of every target ≥ 0 of the windows, in order. Sizes: nll [number of such targets].
  virtual void score(std::span<const Window> windows, std::span<double> nll,
                     core::ProgressSink& progress = core::null_progress()) = 0;
};

/// How many of `windows`, from the first on, run together: as many as hold at most kBatchTokens tokens, at least one.
std::size_t batch_size(std::span<const Window> windows);
inline constexpr std::int64_t kBatchTokens = 2048;

/// Scores with a decoder, several windows at once with a cache each. How windows are batched changes no bit.
/// Cost: memory for the keys and values of max(kBatchTokens, the longest window) positions.
class DecoderScorer final : public TokenScorer {
 public:
  /// Sees one scored token's row of logits [V]. Called in text order, on one thread.
  using RowVisitor = std::function<void(std::int32_t target, std::span<const float> logits)>;

  /// The model must outlive the scorer.
  DecoderScorer(const model::Config& config, const model::Weights& weights) : decoder_(config, weights) {}
  explicit DecoderScorer(const model::Model& model) : DecoderScorer(model.config, model.weights) {}

  /// Shows every scored row of logits from now on; an empty function turns that off. Changes no bit of the NLLs.
  void set_row_visitor(RowVisitor visitor) { visitor_ = std::move(visitor); }

  /// Throws: as model::Decoder::forward; ShapeError when nll has the wrong size.
  void score(std::span<const Window> windows, std::span<double> nll,
             core::ProgressSink& progress = core::null_progress()) override;

  /// Normed hidden states [T, H] of all tokens of a few windows that run together, window after window.
  void forward(std::span<const Window> batch, tensor::Tensor& hidden);

  const model::Decoder& decoder() const { return decoder_; }

 private:
  model::Decoder decoder_;
  RowVisitor visitor_;
};

/// The hidden states of a batch that have a target, in order.
struct ScoredRows {
  std::vector<std::int64_t> row;     ///< index of the hidden state
  std::vector<std::int32_t> target;  ///< same length
};

ScoredRows scored_rows(std::span<const Window> batch);

/// Most rows whose logits are held at once.
inline constexpr std::size_t kLogitRows = 32;

/// Logits [n, V] of the scored rows [begin, begin + n) of hidden states [T, H]; `packed` is scratch space.
void gather_logits(const model::Decoder& decoder, tensor::MatrixView hidden, const ScoredRows& rows, std::size_t begin,
                   std::size_t n, tensor::Tensor& packed, tensor::Tensor& logits);

/// Row `i` of logits [n, V].
inline std::span<const float> logits_row(const tensor::Tensor& logits, std::int64_t i) {
  return {logits.view().row(i), static_cast<std::size_t>(logits.columns())};
}

}  // namespace rpt::evaluate

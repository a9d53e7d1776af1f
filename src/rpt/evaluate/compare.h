// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "rpt/core/progress.h"
#include "rpt/evaluate/plan.h"
#include "rpt/evaluate/score.h"
#include "rpt/evaluate/statistics.h"

namespace rpt::evaluate {

/// Two models, A and B, on the same scored tokens.
struct CompareResult {
  std::int64_t scored_tokens = 0;
  std::int64_t documents = 0;  ///< of the text, scored or not
  double mean_nll_a = 0;       ///< nats a token
  double mean_nll_b = 0;
  double mean_nll_difference = 0;               ///< B − A
  std::optional<Interval> difference_interval;  ///< 95 %, BCa over documents; needs kMinUnits documents
  double kl_divergence = 0;                     ///< mean KL(A‖B) over the scored positions, nats
  double same_top_share = 0;                    ///< share of scored positions with the same most likely token
  std::string nll_sha256_a;
  std::string nll_sha256_b;
  bool bit_identical = false;  ///< the two hashes are equal
  std::vector<double> nlls_a;  ///< [scored_tokens], text order
  std::vector<double> nlls_b;
};

/// KL(A‖B) in nats of two rows of logits [V] each, summed in double in order of the vocabulary; exactly 0 for equal
/// rows. Formula: Σ exp(a_i − log Σ exp a) · ((a_i − log Σ exp a) − (b_i − log Σ exp b)), log Σ exp as docs/forward.md,
/// "Loss". Throws: ShapeError for different lengths.
double kl_divergence(std::span<const float> a, std::span<const float> b);

/// Runs both models over the plan side by side; only a few rows of logits are held at any time.
/// Throws: ConfigError when the vocabularies differ in size; as the decoders do.
CompareResult compare(const ScoringPlan& plan, DecoderScorer& a, DecoderScorer& b, std::uint64_t seed,
                      core::ProgressSink& progress = core::null_progress());

/// The same for two models and a text. Throws also ConfigError where the models turn the text into different tokens or
/// windows.
CompareResult compare(const model::Model& a, const model::Model& b, const text::Corpus& corpus,
                      const ProtocolOptions& options, std::uint64_t seed,
                      core::ProgressSink& progress = core::null_progress());

}  // namespace rpt::evaluate

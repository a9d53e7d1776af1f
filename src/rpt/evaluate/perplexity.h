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

/// Σ NLL and number of scored tokens of each document that has any, in text order. [n] each.
struct DocumentSums {
  std::vector<double> nll;
  std::vector<double> tokens;
  std::vector<std::int32_t> document;  ///< its number in the text
};

/// Adds up per document, in text order. Sizes: scored [T], values [T].
DocumentSums sum_documents(std::span<const ScoredToken> scored, std::span<const double> values);

struct PerplexityResult {
  double perplexity = 0;  ///< exp(mean_nll)
  double mean_nll = 0;    ///< nats a scored token
  std::int64_t scored_tokens = 0;
  std::int64_t tokens_read = 0;           ///< tokens that ran through the model
  std::optional<Interval> interval;       ///< of the perplexity: 95 %, BCa over documents; needs kMinUnits documents
  std::optional<double> bits_per_byte;    ///< Σ NLL / (ln 2 · ScoringPlan::bytes); nothing where there are no bytes
  std::optional<double> byte_perplexity;  ///< exp(Σ NLL / bytes)
  std::optional<double> word_perplexity;  ///< exp(Σ NLL / ScoringPlan::words)
  std::string nll_sha256;                 ///< model::nll_sha256 of nlls: what the gate compares
  std::int64_t documents = 0;             ///< of the text, scored or not
  DocumentSums by_document;
  std::vector<double> nlls;  ///< [scored_tokens], text order
};

/// The figures of a scored text. Sums are in double, in text order. `seed` draws the resamples of the interval.
PerplexityResult summarise(const ScoringPlan& plan, std::vector<double> nlls, std::uint64_t seed);

/// Scores the plan, then summarises it. Throws as the scorer does.
PerplexityResult perplexity(const ScoringPlan& plan, TokenScorer& scorer, std::uint64_t seed,
                            core::ProgressSink& progress = core::null_progress());

/// The same for a model and a text. Throws as plan_scoring and the decoder do.
PerplexityResult perplexity(const model::Model& model, const text::Corpus& corpus, const ProtocolOptions& options,
                            std::uint64_t seed, core::ProgressSink& progress = core::null_progress());

}  // namespace rpt::evaluate

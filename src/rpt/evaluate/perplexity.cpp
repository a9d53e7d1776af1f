// SPDX-License-Identifier: MIT
#include "rpt/evaluate/perplexity.h"

#include <numbers>
#include <utility>

#include "rpt/core/error.h"
#include "rpt/core/exact_math.h"
#include "rpt/model/gate.h"

namespace rpt::evaluate {

DocumentSums sum_documents(std::span<const ScoredToken> scored, std::span<const double> values) {
  RPT_CHECK(scored.size() == values.size(), "{} tokens, {} values", scored.size(), values.size());
  DocumentSums sums;
  for (std::size_t i = 0; i < scored.size(); ++i) {
    if (sums.document.empty() || sums.document.back() != scored[i].document) {
      sums.document.push_back(scored[i].document);
      sums.nll.push_back(0);
      sums.tokens.push_back(0);
    }
    sums.nll.back() += values[i];
    sums.tokens.back() += 1;
  }
  return sums;
}

PerplexityResult summarise(const ScoringPlan& plan, std::vector<double> nlls, std::uint64_t seed) {
  RPT_CHECK(!nlls.empty() && nlls.size() == plan.scored.size(), "{} results for {} tokens", nlls.size(),
            plan.scored.size());
  double total = 0;
  for (const double nll : nlls) total += nll;

  PerplexityResult result;
  result.mean_nll = total / static_cast<double>(nlls.size());
  result.perplexity = core::exact_exp(result.mean_nll);
  result.scored_tokens = std::ssize(nlls);
  result.tokens_read = plan.tokens_read();
  result.documents = plan.documents;
  result.nll_sha256 = model::nll_sha256(nlls);
  result.by_document = sum_documents(plan.scored, nlls);
  result.interval = bca_ratio_interval(result.by_document.nll, result.by_document.tokens, {.seed = seed});
  if (result.interval) {
    result.interval = Interval{core::exact_exp(result.interval->low), core::exact_exp(result.interval->high)};
  }
  if (plan.bytes > 0) {
    const double per_byte = total / static_cast<double>(plan.bytes);
    result.bits_per_byte = per_byte / std::numbers::ln2;
    result.byte_perplexity = core::exact_exp(per_byte);
  }
  if (plan.words > 0) result.word_perplexity = core::exact_exp(total / static_cast<double>(plan.words));
  result.nlls = std::move(nlls);
  return result;
}

PerplexityResult perplexity(const ScoringPlan& plan, TokenScorer& scorer, std::uint64_t seed,
                            core::ProgressSink& progress) {
  std::vector<double> nlls(plan.scored.size());
  scorer.score(plan.windows, nlls, progress);
  return summarise(plan, std::move(nlls), seed);
}

PerplexityResult perplexity(const model::Model& model, const text::Corpus& corpus, const ProtocolOptions& options,
                            std::uint64_t seed, core::ProgressSink& progress) {
  const ScoringPlan plan = plan_scoring(corpus, text_model(model), options);
  DecoderScorer scorer(model);
  return perplexity(plan, scorer, seed, progress);
}

}  // namespace rpt::evaluate

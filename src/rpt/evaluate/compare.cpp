// SPDX-License-Identifier: MIT
#include "rpt/evaluate/compare.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "rpt/core/error.h"
#include "rpt/core/exact_math.h"
#include "rpt/core/parallel.h"
#include "rpt/evaluate/perplexity.h"
#include "rpt/model/gate.h"
#include "rpt/tensor/ops.h"

namespace rpt::evaluate {
namespace {

/// What is known of one scored position.
struct Position {
  double nll_a = 0;
  double nll_b = 0;
  double divergence = 0;
  bool same_top = false;
};

Position compare_rows(std::span<const float> a, std::span<const float> b, std::int32_t target) {
  return {tensor::token_nll(a, target), tensor::token_nll(b, target), kl_divergence(a, b),
          tensor::arg_max(a) == tensor::arg_max(b)};
}

/// Both models over one batch of windows; appends to `out` in text order.
class SideBySide {
 public:
  SideBySide(DecoderScorer& a, DecoderScorer& b) : a_{a}, b_{b} {}

  void run(std::span<const Window> batch, std::vector<Position>& out) {
    a_.scorer.forward(batch, a_.hidden);
    b_.scorer.forward(batch, b_.hidden);
    const ScoredRows rows = scored_rows(batch);
    for (std::size_t begin = 0; begin < rows.row.size(); begin += kLogitRows) {
      const std::size_t n = std::min(kLogitRows, rows.row.size() - begin);
      for (Side* side : {&a_, &b_}) {
        gather_logits(side->scorer.decoder(), side->hidden.view(), rows, begin, n, side->packed, side->logits);
      }
      const std::size_t base = out.size();
      out.resize(base + n);
      core::parallel_for(static_cast<std::int64_t>(n), 1, [&](std::int64_t first, std::int64_t last) {
        for (std::int64_t i = first; i < last; ++i) {
          const auto at = static_cast<std::size_t>(i);
          out[base + at] = compare_rows(logits_row(a_.logits, i), logits_row(b_.logits, i), rows.target[begin + at]);
        }
      });
    }
  }

 private:
  struct Side {
    DecoderScorer& scorer;
    tensor::Tensor hidden{};
    tensor::Tensor packed{};
    tensor::Tensor logits{};
  };
  Side a_, b_;
};

CompareResult summarise(const ScoringPlan& plan, const std::vector<Position>& positions, std::uint64_t seed) {
  CompareResult result;
  std::vector<double> differences;
  double total_a = 0;
  double total_b = 0;
  double divergence = 0;
  std::int64_t same_top = 0;
  for (const Position& p : positions) {
    result.nlls_a.push_back(p.nll_a);
    result.nlls_b.push_back(p.nll_b);
    differences.push_back(p.nll_b - p.nll_a);
    total_a += p.nll_a;
    total_b += p.nll_b;
    divergence += p.divergence;
    same_top += p.same_top ? 1 : 0;
  }
  const auto count = static_cast<double>(positions.size());
  const DocumentSums sums = sum_documents(plan.scored, differences);
  double total_difference = 0;
  for (const double difference : differences) total_difference += difference;

  result.scored_tokens = std::ssize(positions);
  result.documents = plan.documents;
  result.mean_nll_a = total_a / count;
  result.mean_nll_b = total_b / count;
  result.mean_nll_difference = total_difference / count;
  result.difference_interval = bca_ratio_interval(sums.nll, sums.tokens, {.seed = seed});
  result.kl_divergence = divergence / count;
  result.same_top_share = static_cast<double>(same_top) / count;
  result.nll_sha256_a = model::nll_sha256(result.nlls_a);
  result.nll_sha256_b = model::nll_sha256(result.nlls_b);
  result.bit_identical = result.nll_sha256_a == result.nll_sha256_b;
  return result;
}

}  // namespace

double kl_divergence(std::span<const float> a, std::span<const float> b) {
  if (a.size() != b.size()) throw ShapeError(fmt::format("kl_divergence: {} and {} logits", a.size(), b.size()));
  const double sum_a = tensor::log_sum_exp(a);
  const double sum_b = tensor::log_sum_exp(b);
  double divergence = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const double log_a = static_cast<double>(a[i]) - sum_a;
    const double log_b = static_cast<double>(b[i]) - sum_b;
    divergence += core::exact_exp(log_a) * (log_a - log_b);
  }
  return divergence;
}

CompareResult compare(const ScoringPlan& plan, DecoderScorer& a, DecoderScorer& b, std::uint64_t seed,
                      core::ProgressSink& progress) {
  const std::int64_t vocabulary_a = a.decoder().config().vocabulary;
  const std::int64_t vocabulary_b = b.decoder().config().vocabulary;
  if (vocabulary_a != vocabulary_b) {
    throw ConfigError(fmt::format("the models have vocabularies of {} and {} tokens", vocabulary_a, vocabulary_b));
  }
  RPT_CHECK(!plan.scored.empty(), "an empty plan");
  progress.begin(static_cast<std::uint64_t>(plan.tokens_read()), "tokens", "comparing");
  SideBySide both(a, b);
  std::vector<Position> positions;
  positions.reserve(plan.scored.size());
  std::span<const Window> windows = plan.windows;
  while (!windows.empty()) {
    const auto batch = windows.first(batch_size(windows));
    both.run(batch, positions);
    std::uint64_t tokens = 0;
    for (const Window& window : batch) tokens += window.tokens.size();
    progress.advance(tokens);
    windows = windows.subspan(batch.size());
  }
  progress.finish();
  RPT_CHECK(positions.size() == plan.scored.size(), "{} of {}", positions.size(), plan.scored.size());
  return summarise(plan, positions, seed);
}

CompareResult compare(const model::Model& a, const model::Model& b, const text::Corpus& corpus,
                      const ProtocolOptions& options, std::uint64_t seed, core::ProgressSink& progress) {
  const ScoringPlan plan = plan_scoring(corpus, text_model(a), options);
  if (plan.windows != plan_scoring(corpus, text_model(b), options).windows) {
    throw ConfigError(fmt::format("{} and {} turn the text into different tokens or windows and cannot be compared",
                                  a.path.string(), b.path.string()));
  }
  DecoderScorer scorer_a(a);
  DecoderScorer scorer_b(b);
  return compare(plan, scorer_a, scorer_b, seed, progress);
}

}  // namespace rpt::evaluate

// SPDX-License-Identifier: MIT
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "rpt/evaluate/score.h"

/// What models are measured against. N tokens, V the size of the vocabulary.
namespace rpt::bench {

/// What is taken off counts of 1, of 2, and of 3 or more.
using Discounts = std::array<double, 3>;

/// The discounts of modified Kneser-Ney smoothing. Sizes: n [4], how many n-grams have the counts 1, 2, 3, 4.
/// Formula: with Y = n1 / (n1 + 2 n2): i − (i + 1) Y n(i+1) / n(i). Where one of n is 0, or a discount is not above 0
/// and at most i (short texts, and single tokens, all of which are frequent in a trained vocabulary): 0.5, 1, 1.5.
/// Source: Chen and Goodman, "An empirical study of smoothing techniques for language modeling", Computer Speech and
/// Language 13 (1999), eq. 17 and 26.
Discounts modified_discounts(const std::array<std::uint64_t, 4>& n);

/// An interpolated modified Kneser-Ney model over tokens.
///
/// Formula: after a context h of k tokens that was seen before some token,
/// P(w | h) = max(a(h w) − D(a(h w)), 0) / Σ_v a(h v) + (1 − Σ_v max(a(h v) − D(a(h v)), 0) / Σ_v a(h v)) P(w | h'),
/// h' being h without its first token; after any other context P(w | h'); below the empty context 1 / V. a is the
/// number of occurrences for n-grams of full length and those that begin with BOS, and the number of different tokens
/// seen before the n-gram for all others. D are the discounts of each length.
class KneserNey {
 public:
  static constexpr int kMinOrder = 2;
  static constexpr int kMaxOrder = 8;

  /// Counts the n-grams of up to `order` tokens. `tokens` begins with `bos`; each bos begins a document, no n-gram
  /// reaches over one, and bos is never predicted. Sizes: tokens [N], ids within 0 … vocabulary − 1, N below 2^32 − 1.
  /// Throws: ConfigError for another order, ShapeError for other tokens.
  /// Cost: 24 bytes for each different n-gram and 24 N to count; a few sorts of N numbers.
  KneserNey(std::span<const std::int32_t> tokens, std::int32_t bos, std::int32_t vocabulary, int order);

  /// P(token | context), of which only the last order − 1 tokens count. Over a vocabulary it sums to one. Throws:
  /// ShapeError for a token outside the vocabulary. Cost: O(order²) binary searches.
  double probability(std::span<const std::int32_t> context, std::int32_t token) const;

  int order() const { return static_cast<int>(levels_.size()) - 1; }
  /// Number of different n-grams of `length` tokens, 1 … order.
  std::size_t ngrams(int length) const { return level(length).last.size(); }
  /// The discounts of the n-grams of `length` tokens, 1 … order.
  const Discounts& discounts(int length) const { return level(length).discounts; }

 private:
  /// The different n-grams of one length, by the number of their first n − 1 tokens in the level above, then by their
  /// last token: a tree whose root, the empty n-gram, is level 0.
  struct Level {
    std::vector<std::int32_t> last;        ///< [n] the last token
    std::vector<std::uint32_t> count;      ///< [n] a of the formula
    std::vector<std::uint32_t> children;   ///< [n + 1] the n-grams that go on from here, in the level below
    std::vector<std::uint32_t> following;  ///< [n] Σ_v a(h v)
    std::vector<double> backoff;           ///< [n] what is left for P(w | h')
    Discounts discounts{};
  };
  struct Counter;

  const Level& level(int length) const;
  static double discounted(const Level& level, std::size_t ngram);
  /// The number of the n-gram that goes on with `token` from number `parent` of the level above `length`.
  std::optional<std::uint32_t> child(std::size_t length, std::uint32_t parent, std::int32_t token) const;
  std::optional<std::uint32_t> find(std::span<const std::int32_t> ngram) const;
  void estimate();

  std::vector<Level> levels_;
  std::int32_t vocabulary_;
};

/// Gives tokens the likelihoods of such a model, so that it is scored by the protocols of evaluation.
class KneserNeyScorer final : public evaluate::TokenScorer {
 public:
  /// The model must outlive the scorer.
  explicit KneserNeyScorer(const KneserNey& model) : model_(model) {}
  /// Throws: ShapeError when nll has the wrong size.
  void score(std::span<const evaluate::Window> windows, std::span<double> nll,
             core::ProgressSink& progress = core::null_progress()) override;

 private:
  const KneserNey& model_;
};

}  // namespace rpt::bench

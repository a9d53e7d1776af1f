// SPDX-License-Identifier: MIT
#include "bench/kneser_ney.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <vector>

#include "rpt/core/error.h"
#include "rpt/core/random.h"

namespace rpt::bench {
namespace {

using Tokens = std::vector<std::int32_t>;

constexpr std::int32_t kBos = 0;

/// Documents of random tokens 1 … vocabulary − 2, low ones more often, so that the last token is never seen.
Tokens random_documents(std::uint64_t seed, std::int32_t vocabulary, int documents, int length) {
  core::Random random(seed);
  Tokens tokens;
  for (int d = 0; d < documents; ++d) {
    tokens.push_back(kBos);
    const auto n = static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(length)));
    for (std::int64_t i = 0; i < n; ++i) {
      const double u = random.uniform();
      tokens.push_back(1 + static_cast<std::int32_t>(u * u * (vocabulary - 2)));
    }
  }
  return tokens;
}

/// The definition, word for word, over maps of whole n-grams.
class BruteForce {
 public:
  BruteForce(const Tokens& tokens, std::int32_t vocabulary, std::size_t order) : vocabulary_(vocabulary) {
    std::vector<std::map<Tokens, std::uint64_t>> occurrences(order + 1);
    for (std::size_t length = 1; length <= order; ++length) {
      for (std::size_t i = 0; i + length <= tokens.size(); ++i) {
        const Tokens ngram(tokens.begin() + static_cast<std::ptrdiff_t>(i),
                           tokens.begin() + static_cast<std::ptrdiff_t>(i + length));
        if (std::count(ngram.begin() + 1, ngram.end(), kBos) == 0) ++occurrences[length][ngram];
      }
    }
    a_.resize(order + 1);
    for (std::size_t length = 1; length <= order; ++length) {
      for (const auto& [ngram, count] : occurrences[length]) {
        if (ngram == Tokens{kBos}) continue;
        if (length == order || ngram.front() == kBos) {
          a_[length][ngram] = count;
        } else {
          std::set<std::int32_t> before;
          for (const auto& [longer, ignored] : occurrences[length + 1]) {
            if (Tokens(longer.begin() + 1, longer.end()) == ngram) before.insert(longer.front());
          }
          a_[length][ngram] = before.size();
        }
      }
      std::array<std::uint64_t, 4> n{};
      for (const auto& [ngram, a] : a_[length]) {
        if (a <= 4) ++n[a - 1];
      }
      discounts_.push_back(modified_discounts(n));
    }
  }

  double probability(const Tokens& context, std::int32_t token) const {
    const std::size_t length = context.size() + 1;
    const double shorter =
        context.empty() ? 1.0 / vocabulary_ : probability({context.begin() + 1, context.end()}, token);
    double sum = 0, own = 0, left = 0;
    for (const auto& [ngram, a] : a_[length]) {
      if (!std::equal(context.begin(), context.end(), ngram.begin())) continue;
      const double d = discounts_[length - 1][std::min<std::uint64_t>(a, 3) - 1];
      sum += static_cast<double>(a);
      left += d;
      if (ngram.back() == token) own = static_cast<double>(a) - d;
    }
    return sum == 0 ? shorter : own / sum + left / sum * shorter;
  }

  const Discounts& discounts(std::size_t length) const { return discounts_[length - 1]; }

 private:
  std::int32_t vocabulary_;
  std::vector<std::map<Tokens, std::uint64_t>> a_;
  std::vector<Discounts> discounts_;
};

/// Contexts of up to `longest` random tokens, BOS first in some.
std::vector<Tokens> random_contexts(std::int32_t vocabulary, std::size_t longest, int count) {
  core::Random random(5);
  std::vector<Tokens> contexts(static_cast<std::size_t>(count));
  for (Tokens& context : contexts) {
    const std::uint64_t length = random.below(longest + 1);
    for (std::uint64_t i = 0; i < length; ++i) {
      context.push_back(1 + static_cast<std::int32_t>(random.below(static_cast<std::uint64_t>(vocabulary - 1))));
    }
    if (!context.empty() && random.below(3) == 0) context.front() = kBos;
  }
  return contexts;
}

TEST(ModifiedDiscounts, AreThoseOfThePaper) {
  // Y = 20 / (20 + 2 · 10) = 1/2.
  const Discounts d = modified_discounts({20, 10, 6, 3});
  EXPECT_DOUBLE_EQ(d[0], 1 - 2 * 0.5 * 10 / 20);
  EXPECT_DOUBLE_EQ(d[1], 2 - 3 * 0.5 * 6 / 10);
  EXPECT_DOUBLE_EQ(d[2], 3 - 4 * 0.5 * 3 / 6);
  const Discounts otherwise{0.5, 1.0, 1.5};
  EXPECT_EQ(modified_discounts({20, 10, 6, 0}), otherwise);
  EXPECT_EQ(modified_discounts({0, 10, 6, 3}), otherwise);
  EXPECT_EQ(modified_discounts({20, 10, 60, 3}), otherwise);  // 2 − 3 · 60 / 20 is negative
}

TEST(KneserNey, BigramsByHand) {
  // BOS a b a c: a(BOS a) = a(a b) = a(b a) = a(a c) = 1; before a were BOS and b, before b and c only a.
  const Tokens tokens = {kBos, 1, 2, 1, 3};
  const KneserNey model(tokens, kBos, 5, 2);
  EXPECT_EQ(model.ngrams(1), 4U);
  EXPECT_EQ(model.ngrams(2), 4U);
  EXPECT_EQ(model.discounts(2), (Discounts{0.5, 1.0, 1.5}));
  const double left = (1.0 + 0.5 + 0.5) / 4;  // of the four bigrams: 1 of a's two, a half of b's and of c's one
  const double a = (2 - 1.0) / 4 + left / 5;
  const double b = (1 - 0.5) / 4 + left / 5;
  EXPECT_DOUBLE_EQ(model.probability({}, 1), a);
  EXPECT_DOUBLE_EQ(model.probability({}, 2), b);
  EXPECT_DOUBLE_EQ(model.probability({}, 4), left / 5);
  EXPECT_DOUBLE_EQ(model.probability({}, kBos), left / 5);
  EXPECT_DOUBLE_EQ(model.probability(Tokens{1}, 2), 0.5 / 2 + 0.5 * b);
  EXPECT_DOUBLE_EQ(model.probability(Tokens{1}, 1), 0.5 * a);
  EXPECT_DOUBLE_EQ(model.probability(Tokens{3}, 1), a);     // nothing was seen after c
  EXPECT_DOUBLE_EQ(model.probability(Tokens{1, 4}, 1), a);  // nor d
  EXPECT_DOUBLE_EQ(model.probability(Tokens{2, 1}, 2), 0.5 / 2 + 0.5 * b);
}

TEST(KneserNey, AgreesWithTheDefinition) {
  constexpr std::int32_t kVocabulary = 9;
  for (const int order : {2, 3, 5}) {
    bool estimated = false;
    for (const int documents : {1, 4, 30}) {
      const Tokens tokens = random_documents(static_cast<std::uint64_t>(documents), kVocabulary, documents, 25);
      const KneserNey model(tokens, kBos, kVocabulary, order);
      const BruteForce expected(tokens, kVocabulary, static_cast<std::size_t>(order));
      for (int length = 1; length <= order; ++length) {
        EXPECT_EQ(model.discounts(length), expected.discounts(static_cast<std::size_t>(length)));
        estimated |= model.discounts(length) != Discounts{0.5, 1.0, 1.5};
      }
      for (const Tokens& context : random_contexts(kVocabulary, static_cast<std::size_t>(order) - 1, 60)) {
        for (std::int32_t token = 0; token < kVocabulary; ++token) {
          EXPECT_NEAR(model.probability(context, token), expected.probability(context, token), 1e-14);
        }
      }
    }
    EXPECT_TRUE(estimated) << "no text of this test is long enough for discounts of its own";
  }
}

TEST(KneserNey, ProbabilitiesSumToOne) {
  constexpr std::int32_t kVocabulary = 60;
  const Tokens tokens = random_documents(1, kVocabulary, 100, 200);
  const KneserNey model(tokens, kBos, kVocabulary, 5);
  std::vector<Tokens> contexts = random_contexts(kVocabulary, 6, 100);
  for (std::size_t i = 0; i + 4 < tokens.size(); i += 97) {  // contexts that were seen
    contexts.emplace_back(tokens.begin() + static_cast<std::ptrdiff_t>(i),
                          tokens.begin() + static_cast<std::ptrdiff_t>(i + 4));
  }
  for (const Tokens& context : contexts) {
    double sum = 0;
    for (std::int32_t token = 0; token < kVocabulary; ++token) {
      const double p = model.probability(context, token);
      EXPECT_GT(p, 0);
      sum += p;
    }
    EXPECT_NEAR(sum, 1, 1e-12);
  }
}

TEST(KneserNey, RefusesWhatItCannotCount) {
  const Tokens tokens = {kBos, 1, 2};
  EXPECT_THROW(KneserNey(tokens, kBos, 3, 1), ConfigError);
  EXPECT_THROW(KneserNey(tokens, kBos, 3, KneserNey::kMaxOrder + 1), ConfigError);
  EXPECT_THROW(KneserNey(tokens, kBos, 2, 3), ShapeError);
  EXPECT_THROW(KneserNey(tokens, 1, 3, 3), ShapeError);
  EXPECT_THROW(KneserNey({}, kBos, 3, 3), ShapeError);
  EXPECT_THROW(KneserNey(Tokens{kBos, -1}, kBos, 3, 3), ShapeError);
  const KneserNey model(tokens, kBos, 3, KneserNey::kMaxOrder);  // longer than the text
  EXPECT_EQ(model.ngrams(3), 1U);
  EXPECT_EQ(model.ngrams(4), 0U);
  EXPECT_THROW(model.probability({}, 3), ShapeError);
  EXPECT_THROW(model.probability({}, -1), ShapeError);
}

TEST(KneserNeyScorer, ScoresTargetsAfterTheirWindow) {
  constexpr std::int32_t kVocabulary = 9;
  const Tokens tokens = random_documents(3, kVocabulary, 30, 25);
  const KneserNey model(tokens, kBos, kVocabulary, 3);
  const std::vector<evaluate::Window> windows = {{{kBos, 1, 2}, {1, 2, 3}}, {{4, 5}, {-1, 6}}};
  std::vector<double> nll(4);
  KneserNeyScorer(model).score(windows, nll);
  EXPECT_EQ(nll[0], -std::log(model.probability(Tokens{kBos}, 1)));
  EXPECT_EQ(nll[1], -std::log(model.probability(Tokens{kBos, 1}, 2)));
  EXPECT_EQ(nll[2], -std::log(model.probability(Tokens{1, 2}, 3)));
  EXPECT_EQ(nll[3], -std::log(model.probability(Tokens{4, 5}, 6)));
  std::vector<double> wrong(3);
  EXPECT_THROW(KneserNeyScorer(model).score(windows, wrong), ShapeError);
}

}  // namespace
}  // namespace rpt::bench

// SPDX-License-Identifier: MIT
#include "rpt/experiment/contrast.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include "rpt/core/error.h"

namespace rpt::experiment {
namespace {

const std::vector<double> kTokens = {100, 410, 220, 700, 210, 330, 600, 160, 140};

double nll_of(int treatment, int b, int s, int d) {
  const double rate = 3.0 + (d * 5 % 7) / 8.0 + b / 16.0 + (s * 3 + b + d) % 4 / 64.0;
  const double effect = treatment * ((b * 3 % 5) / 64.0 + (d * 4 % 9) / 256.0 + (b * d + s) % 5 / 512.0 - 3.0 / 16.0);
  const double bend = treatment > 0 ? (treatment - 1) * (b * 2 % 5) / 128.0 : 0.0;
  return kTokens[static_cast<std::size_t>(d)] * (rate + effect + bend);
}

/// Five bases with two seeds on nine documents; treatment 0 is the baseline.
Arm arm(int treatment, int bases = 5, int documents = 9) {
  Arm out{.name = "treatment " + std::to_string(treatment)};
  for (int b = 0; b < bases; ++b) {
    for (int s = 0; s < 2; ++s) {
      ModelScores model{.base = "base " + std::to_string(b), .seed = static_cast<std::uint64_t>(s)};
      for (int d = 0; d < documents; ++d) model.nll.push_back(nll_of(treatment, b, s, d));
      out.models.push_back(model);
    }
  }
  return out;
}

std::string message_of(const Arm& a, const Arm& b, std::span<const double> tokens) {
  try {
    contrast(a, b, tokens);
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

TEST(Contrast, AgreesWithTheAnalysisOfVariance) {  // contrast_golden.py
  const Contrast got = contrast(arm(1), arm(0), kTokens);
  EXPECT_EQ(got.arm, "treatment 1");
  EXPECT_EQ(got.baseline, "treatment 0");
  EXPECT_EQ(got.documents, 9);
  EXPECT_EQ(got.bases, (std::vector<std::string>{"base 0", "base 1", "base 2", "base 3", "base 4"}));
  const std::vector<double> by_base = {-5.04993250725446, -3.498647501646002, -4.344364226070278, -2.930398369436122,
                                       -3.7516647730265387};
  for (std::size_t b = 0; b < 5; ++b) EXPECT_NEAR(got.by_base[b], by_base[b], 1e-12);
  EXPECT_NEAR(got.estimate, -3.9150014754866804, 1e-12);
  ASSERT_TRUE(got.inference);
  EXPECT_NEAR(got.inference->standard_error, 0.3904724748566071, 1e-12);
  EXPECT_NEAR(got.inference->degrees, 5.176267281120389, 1e-11);
  EXPECT_NEAR(got.inference->interval.low, -4.908548854622538, 1e-11);
  EXPECT_NEAR(got.inference->interval.high, -2.921454096350823, 1e-11);
  EXPECT_NEAR(got.inference->same_text.low, -4.924095780454102, 1e-11);
  EXPECT_NEAR(got.inference->same_text.high, -2.905907170519259, 1e-11);
  EXPECT_NEAR(got.inference->p_value, 0.00013844182912452742, 1e-14);
}

TEST(Contrast, CountsNatsAToken) {
  const Contrast got = contrast(arm(1), arm(0), kTokens, Measure::nats_a_token);
  double difference = 0;
  double tokens = 0;
  for (int d = 0; d < 9; ++d) {
    difference += 0.5 * (nll_of(1, 2, 0, d) + nll_of(1, 2, 1, d) - nll_of(0, 2, 0, d) - nll_of(0, 2, 1, d));
    tokens += kTokens[static_cast<std::size_t>(d)];
  }
  EXPECT_NEAR(got.by_base[2], difference / tokens, 1e-14);
  EXPECT_TRUE(got.inference);
}

TEST(Contrast, DoesNotDependOnTheOrderOfRuns) {
  Arm turned = arm(1);
  std::reverse(turned.models.begin(), turned.models.end());
  const Contrast got = contrast(turned, arm(0), kTokens);
  const Contrast same = contrast(arm(1), arm(0), kTokens);
  EXPECT_EQ(got.bases, same.bases);
  for (std::size_t b = 0; b < 5; ++b) EXPECT_NEAR(got.by_base[b], same.by_base[b], 1e-13);
}

// An untouched base is one model, its fine-tunes are two.
TEST(Contrast, AveragesSeedsBeforeItCompares) {
  Arm once = arm(0);
  std::erase_if(once.models, [](const ModelScores& model) { return model.seed != 0; });
  Arm twice = once;
  for (const ModelScores& model : once.models) {
    ModelScores copy = model;
    copy.seed = 1;
    for (double& nll : copy.nll) nll *= 1.5;
    twice.models.push_back(copy);
  }
  const Contrast got = contrast(twice, once, kTokens);
  for (const double effect : got.by_base) EXPECT_NEAR(effect, 25.0, 1e-12);
}

TEST(Contrast, SaysNothingOfOthersWithFewBasesOrDocuments) {
  EXPECT_FALSE(contrast(arm(1, 4), arm(0, 4), kTokens).inference);
  EXPECT_TRUE(contrast(arm(1, 5), arm(0, 5), kTokens).inference);
  const std::span few = std::span(kTokens).first(7);
  EXPECT_FALSE(contrast(arm(1, 5, 7), arm(0, 5, 7), few).inference);
  EXPECT_TRUE(contrast(arm(1, 5, 8), arm(0, 5, 8), std::span(kTokens).first(8)).inference);
}

TEST(Contrast, OfAnArmWithItselfIsExactlyZero) {
  const Contrast got = contrast(arm(1), arm(1), kTokens);
  EXPECT_EQ(got.estimate, 0.0);
  ASSERT_TRUE(got.inference);
  EXPECT_EQ(got.inference->interval, (evaluate::Interval{0, 0}));
  EXPECT_EQ(got.inference->p_value, 1.0);
}

TEST(Contrast, RefusesWhatDoesNotBelongTogether) {
  EXPECT_EQ(message_of(arm(1, 4), arm(0), kTokens), "arm 'treatment 0' has base 'base 4', arm 'treatment 1' has not");
  EXPECT_EQ(message_of(arm(1), arm(0, 4), kTokens), "arm 'treatment 1' has base 'base 4', arm 'treatment 0' has not");
  EXPECT_EQ(message_of(arm(1, 5, 8), arm(0), kTokens),
            "arm 'treatment 1', base 'base 0', seed 0: 8 documents, expected 9");
  Arm wrong = arm(1);
  wrong.models.push_back(wrong.models[3]);
  EXPECT_EQ(message_of(wrong, arm(0), kTokens), "arm 'treatment 1' has base 'base 1', seed 1 twice");
  wrong = arm(1);
  wrong.models[2].nll[4] = 1.0 / 0.0;
  EXPECT_EQ(message_of(wrong, arm(0), kTokens), "arm 'treatment 1', base 'base 1', seed 0: an NLL is not finite");
  wrong = arm(0);
  wrong.models[0].nll[4] = wrong.models[1].nll[4] = 0;
  EXPECT_EQ(message_of(arm(1), wrong, kTokens),
            "arm 'treatment 0', base 'base 0': document 4 has no NLL to take per cent of");
  EXPECT_EQ(message_of({.name = "none"}, arm(0), kTokens), "arm 'none' has no models");
  std::vector<double> tokens = kTokens;
  tokens[3] = 0;
  EXPECT_EQ(message_of(arm(1), arm(0), tokens), "a contrast needs documents, and scored tokens in each");
}

TEST(ShareExplained, AgreesWithFiellersInequality) {  // contrast_golden.py
  const Share got = share_explained(arm(1), arm(2), arm(0), kTokens);
  EXPECT_NEAR(got.whole.estimate, -7.3863749389288245, 1e-12);
  ASSERT_TRUE(got.share && got.interval);
  EXPECT_NEAR(*got.share, 0.5300301579402948, 1e-13);
  EXPECT_NEAR(got.interval->low, 0.5004973062445397, 1e-11);
  EXPECT_NEAR(got.interval->high, 0.571071961933521, 1e-11);
}

TEST(ShareExplained, IsAllOfItWhereBothArmsAreTheSame) {
  const Share got = share_explained(arm(2), arm(2), arm(0), kTokens);
  EXPECT_EQ(got.share, 1.0);
  ASSERT_TRUE(got.interval);
  EXPECT_NEAR(got.interval->low, 1.0, 1e-7);
  EXPECT_NEAR(got.interval->high, 1.0, 1e-7);
}

TEST(ShareExplained, HasNoIntervalWithoutAWhole) {
  EXPECT_FALSE(share_explained(arm(1), arm(0), arm(0), kTokens).share);
  const Share few = share_explained(arm(1, 4), arm(2, 4), arm(0, 4), kTokens);
  EXPECT_TRUE(few.share);
  EXPECT_FALSE(few.interval);
  // A whole that differs from base to base by more than it is: any share would do.
  Arm unclear = arm(0);
  for (std::size_t i = 0; i < unclear.models.size(); ++i) {
    for (double& nll : unclear.models[i].nll) nll *= i < 4 ? 1.01 : 0.995;
  }
  const Share got = share_explained(arm(1), unclear, arm(0), kTokens);
  EXPECT_TRUE(got.share);
  EXPECT_FALSE(got.interval);
}

TEST(EffectsByBase, HaveIntervalsOverDocuments) {
  const auto effects = effects_by_base(arm(1), arm(0), kTokens, Measure::percent, {.seed = 3, .resamples = 500});
  const Contrast together = contrast(arm(1), arm(0), kTokens);
  ASSERT_EQ(effects.size(), 5U);
  for (std::size_t b = 0; b < 5; ++b) {
    EXPECT_EQ(effects[b].base, together.bases[b]);
    EXPECT_EQ(effects[b].estimate, together.by_base[b]);
    ASSERT_TRUE(effects[b].interval);
    EXPECT_LT(effects[b].interval->low, effects[b].estimate);
    EXPECT_GT(effects[b].interval->high, effects[b].estimate);
  }
  EXPECT_FALSE(effects_by_base(arm(1, 1, 7), arm(0, 1, 7), std::span(kTokens).first(7))[0].interval);
}

}  // namespace
}  // namespace rpt::experiment

// SPDX-License-Identifier: MIT
#include "rpt/experiment/temperature.h"

#include <gtest/gtest.h>

#include <cmath>

namespace rpt::experiment {
namespace {

TEST(BestTemperature, IsWhereTheLossIsSmallest) {
  for (const double best : {0.55, 0.8, 1.0, 1.3, 1.9}) {
    int calls = 0;
    const double found = best_temperature([&](double t) {
      ++calls;
      EXPECT_GE(t, 0.5);
      EXPECT_LE(t, 2);
      return std::pow(std::log(t / best), 2);
    });
    EXPECT_NEAR(found / best, 1, 0.006);
    EXPECT_LE(calls, 13);
  }
}

TEST(BestTemperature, SaysWhereItLiesAtAnEnd) {
  EXPECT_TRUE(is_at_end(best_temperature([](double t) { return t; })));
  EXPECT_TRUE(is_at_end(best_temperature([](double t) { return -t; })));
  for (const double best : {0.52, 1.0, 1.9}) {
    EXPECT_FALSE(is_at_end(best_temperature([&](double t) { return std::pow(std::log(t / best), 2); }))) << best;
  }
}

TEST(BestTemperature, IsFittedOnTheLastDocumentsAsTheyAreMarked) {
  std::vector<train::Document> documents;
  for (const char c : {'a', 'b', 'c', 'd'}) documents.push_back({.name = "", .text = std::string(15'000, c)});
  documents.front().unk_is_unknown = true;  // not among the last
  text::Corpus last = fitting_text(documents);
  ASSERT_EQ(last.documents.size(), 3U);
  EXPECT_EQ(last.documents.front(), documents.back().text);
  EXPECT_EQ(last.documents.back(), documents[1].text);
  EXPECT_FALSE(last.unk_is_unknown);
  documents[2].unk_is_unknown = true;
  EXPECT_TRUE(fitting_text(documents).unk_is_unknown);
  EXPECT_EQ(fitting_text(std::span(documents).first(2)).documents.size(), 2U) << "all, where there are no more";
}

TEST(BestTemperature, StaysWithinItsBounds) {
  EXPECT_NEAR(best_temperature([](double t) { return t; }), 0.5, 0.006);
  EXPECT_NEAR(best_temperature([](double t) { return -t; }), 2, 0.02);
}

}  // namespace
}  // namespace rpt::experiment

// SPDX-License-Identifier: MIT
#include "rpt/experiment/temperature.h"

#include <cmath>

namespace rpt::experiment {
namespace {

constexpr double kTolerance = 0.01;            // of the logarithm
constexpr std::size_t kFittingBytes = 40'000;  // of text

}  // namespace

text::Corpus fitting_text(std::span<const train::Document> documents) {
  text::Corpus corpus;
  std::size_t bytes = 0;
  for (auto document = documents.rbegin(); document != documents.rend(); ++document) {
    corpus.documents.push_back(document->text);
    corpus.unk_is_unknown |= document->unk_is_unknown;
    if ((bytes += document->text.size()) >= kFittingBytes) break;
  }
  return corpus;
}

double best_temperature(const std::function<double(double)>& loss) {
  const double golden = (std::sqrt(5.0) - 1) / 2;
  double low = -std::log(2.0);
  double high = std::log(2.0);
  double left = high - golden * (high - low);
  double right = low + golden * (high - low);
  double at_left = loss(std::exp(left));
  double at_right = loss(std::exp(right));
  while (high - low > kTolerance) {
    if (at_left <= at_right) {
      high = right;
      right = left;
      at_right = at_left;
      left = high - golden * (high - low);
      at_left = loss(std::exp(left));
    } else {
      low = left;
      left = right;
      at_left = at_right;
      right = low + golden * (high - low);
      at_right = loss(std::exp(right));
    }
  }
  return std::exp((low + high) / 2);
}

bool is_at_end(double temperature) {
  return std::abs(std::log(temperature)) > std::log(2.0) - kTolerance;
}

}  // namespace rpt::experiment

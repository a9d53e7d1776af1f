// SPDX-License-Identifier: MIT
#include "rpt/experiment/time_estimate.h"

namespace rpt::experiment {

void TimeEstimate::measured(Work work, double amount, double seconds) {
  amount_[work] += amount;
  seconds_[work] += seconds;
}

double TimeEstimate::seconds(const WorkAmounts& amounts) const {
  double sum = 0;
  for (std::size_t i = 0; i < amounts.of.size(); ++i) {
    sum += amounts.of[i] * (amount_.of[i] > 0 ? seconds_.of[i] / amount_.of[i] : guess_.of[i]);
  }
  return sum;
}

}  // namespace rpt::experiment

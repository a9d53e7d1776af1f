// SPDX-License-Identifier: MIT
#include "rpt/experiment/temperature.h"

#include <cmath>

namespace rpt::experiment {

double best_temperature(const std::function<double(double)>& loss) {
  constexpr double kTolerance = 0.01;
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

}  // namespace rpt::experiment

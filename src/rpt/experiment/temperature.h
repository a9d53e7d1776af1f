// SPDX-License-Identifier: MIT
#pragma once
#include <functional>

namespace rpt::experiment {

/// Where a function of a temperature is smallest between 1/2 and 2, by golden section on its logarithm to within 1 %.
/// It finds the minimum where there is only one. Cost: 11 calls.
double best_temperature(const std::function<double(double)>& loss);

}  // namespace rpt::experiment

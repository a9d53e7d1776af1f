// SPDX-License-Identifier: MIT
#pragma once
#include <functional>
#include <span>

#include "rpt/text/corpus.h"
#include "rpt/train/documents.h"

namespace rpt::experiment {

/// What a temperature is fitted on: the last documents of a training text, the last first, of at least 40,000 bytes
/// where there are as many. Of texts in order of time that is what comes nearest to the test. `<unk>` counts as unknown
/// where it does in any of them.
text::Corpus fitting_text(std::span<const train::Document> documents);

/// Where a function of a temperature is smallest between 1/2 and 2, by golden section on its logarithm to within 1 %.
/// It finds the minimum where there is only one. Cost: 11 calls.
double best_temperature(const std::function<double(double)>& loss);

/// Whether what best_temperature() found is, within that 1 %, an end of its range: the smallest may lie beyond.
bool is_at_end(double temperature);

}  // namespace rpt::experiment

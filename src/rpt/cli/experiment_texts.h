// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <string>

#include "rpt/experiment/measure.h"

namespace rpt::cli {

/// The texts of `--text` and `--test` of an experiment. Where `test` is empty, it is given the name of what takes its
/// place: the test part of an embedded text; of any other text a twentieth, held out by `seed`. Throws: as
/// train::load_documents, train::hold_out and text::load_corpus.
experiment::Texts load_experiment_texts(const std::string& text, std::string& test, std::uint64_t seed);

}  // namespace rpt::cli

// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <string>

#include "rpt/cli/context.h"
#include "rpt/experiment/measure.h"
#include "rpt/train/train_config.h"

/// What `rpt deploy` and `rpt reproduce` have in common.
namespace rpt::cli {

/// The texts of `--text` and `--test` of an experiment. Where `test` is empty, it is given the name of what takes its
/// place: the test part of an embedded text; of any other text a twentieth, held out by `seed`. Throws:
/// FormatError naming the first byte of a file that is no UTF-8; as train::load_documents, train::hold_out and
/// text::load_corpus.
experiment::Texts load_experiment_texts(const std::string& text, std::string& test, std::uint64_t seed);

/// The fine-tune of an experiment unless options say otherwise: 300 steps, learning rates and clipping by tensor, so
/// that a gauge changes nothing.
train::TrainConfig default_tune();

/// --text, --test, --steps, --batch, --context and --lr.
void add_experiment_options(CLI::App& app, std::string& text, std::string& test, train::TrainConfig& tune);

/// Sets what follows from the other options, and checks it. Throws: ConfigError naming `command`.
void complete_tune(train::TrainConfig& tune, const std::string& text, std::uint64_t seed, const std::string& command);

/// An experiment's messages, progress and interruption; `context` must outlive it.
experiment::Surroundings surroundings_of(Context& context);

}  // namespace rpt::cli

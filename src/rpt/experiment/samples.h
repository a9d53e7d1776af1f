// SPDX-License-Identifier: MIT
#pragma once
#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "rpt/experiment/run_directory.h"
#include "rpt/model/model.h"
#include "rpt/text/corpus.h"

/// What a model says, as the reference looked at it in its experiments 1 to 3: greedy texts, whether they loop, and
/// eight sentences scored. Looks, not measurements: docs/experiments.md, "What models say".
namespace rpt::experiment {

/// The reference's first three prompts.
inline constexpr std::array<std::string_view, 3> kSamplePrompts{"The capital of France is", "Water boils at",
                                                                "The largest planet in the solar system is"};
/// Tokens of a sample.
inline constexpr std::int64_t kSampleTokens = 30;

/// What generated() asks of a prompt. Throws: ConfigError where it has no token, or more than the model's context.
void require_prompt(const model::Model& model, std::string_view prompt);

/// `prompt` and its greedy continuation by up to `tokens` tokens; special tokens are not read in it and not shown.
/// Throws: ConfigError where the model has no vocabulary.
std::string generated(const model::Model& model, std::string_view prompt, std::int64_t tokens);

/// The reference's rule: a text of more than three words with at most two different ones among its last six.
bool is_loop(std::string_view text);

/// Numbers coherent (1, or 0 where a sample is a loop) and sentences_nll (mean, protocol full; only where there are
/// sentences); texts "sample N", the greedy texts of kSamplePrompts.
void add_samples(StageFigures& figures, const model::Model& model, const text::Corpus& sentences);

}  // namespace rpt::experiment

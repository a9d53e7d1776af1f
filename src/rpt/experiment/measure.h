// SPDX-License-Identifier: MIT
#pragma once
#include <string>
#include <vector>

#include "rpt/experiment/fine_tune.h"
#include "rpt/experiment/run_directory.h"
#include "rpt/prune/account.h"
#include "rpt/text/corpus.h"
#include "rpt/train/documents.h"

/// What runs write down of models and texts.
namespace rpt::experiment {

/// The texts of a run.
struct Texts {
  std::vector<train::Document> train;
  text::Corpus test;
};

/// What tells two models apart, their gauges included: the gate's likelihoods and every scale.
std::string sha256_of(const model::Model& model);

std::string sha256_of(const Texts& texts);

/// Scores a model: numbers mean_nll, perplexity, scored_tokens; text nll_sha256; series nll and tokens, by document.
/// Throws: as evaluate::perplexity.
StageFigures scored(const model::Model& model, const text::Corpus& test, const Surroundings& around);

/// Adds shares of all weights, codes_zero_share, codes_removed_share, codes_gained_share, codes_turned_share and
/// latents_zeroed_share, and for each tensor "scale_ratio NAME" and "dose NAME".
void add_account(StageFigures& figures, const prune::Account& account);

}  // namespace rpt::experiment

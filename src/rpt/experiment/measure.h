// SPDX-License-Identifier: MIT
#pragma once
#include <span>
#include <string>
#include <vector>

#include "rpt/evaluate/plan.h"
#include "rpt/experiment/fine_tune.h"
#include "rpt/experiment/run_directory.h"
#include "rpt/prune/account.h"
#include "rpt/report/report.h"
#include "rpt/text/corpus.h"
#include "rpt/train/documents.h"
#include "rpt/train/train_config.h"

/// What runs write down of models and texts.
namespace rpt::experiment {

/// The texts of a run.
struct Texts {
  std::vector<train::Document> train;
  text::Corpus test;
  text::Corpus retention;  ///< another text, to see what is forgotten; may be empty
  text::Corpus sentences;  ///< the eight of experiment 2; may be empty
};

/// What tells two models with latents apart: every stored weight, and the gate's likelihoods. Cost: 3 ns a byte.
std::string sha256_of(const model::Model& model);

std::string sha256_of(const Texts& texts);

/// What an experiment asks of a base and its texts, before anything is spent on them. Throws: ConfigError where the
/// base holds codes instead of latents, is too short for the fine-tune's context, or where the training text has too
/// few tokens for it, or holds a document of the test or retention text.
void require_usable(const model::Model& base, const Texts& texts, const train::TrainConfig& tune);

/// Of these what concerns the number of tokens to train on. Throws: ConfigError.
void require_enough(const model::Model& base, std::span<const train::Document> documents,
                    const train::TrainConfig& tune);

/// About how many tokens are run through a model to score a text: four bytes a token, each read about twice by windows
/// that overlap.
double guess_scored_tokens(const text::Corpus& corpus);

/// Says so where a finished stage comes from another processor, instruction set or number of threads.
void warn_of_other_machine(const std::string& stage, const StageFigures& found, const Surroundings& around);

/// Means of ten steps each, to be drawn over the steps.
report::Series loss_series(const std::string& name, std::span<const double> losses);

/// Scores a model on the retention text: number retention_nll; series retention_nll and retention_tokens, by document.
void add_retention(StageFigures& figures, const model::Model& model, const Texts& texts,
                   const evaluate::ProtocolOptions& protocol, const Surroundings& around);

/// Scores a model: numbers mean_nll, perplexity, scored_tokens; texts nll_sha256, machine; series nll and tokens, by
/// document. Throws: as evaluate::perplexity.
StageFigures scored(const model::Model& model, const text::Corpus& test, const evaluate::ProtocolOptions& protocol,
                    const Surroundings& around);

/// Adds shares of all weights, codes_zero_share, codes_removed_share, codes_gained_share, codes_turned_share and, of a
/// model with latents, latents_zeroed_share, and for each tensor "scale_ratio NAME" and "dose NAME".
void add_account(StageFigures& figures, const prune::Account& account);

}  // namespace rpt::experiment

// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "rpt/experiment/fine_tune.h"
#include "rpt/experiment/measure.h"
#include "rpt/experiment/run_directory.h"
#include "rpt/prune/recipe.h"
#include "rpt/report/report.h"
#include "rpt/text/corpus.h"

/// The pipeline: baseline, progressive pruning with a fine-tune after each level, snapped and written as GGUF, read
/// again, generated from.
namespace rpt::experiment {

struct DeployConfig {
  std::string model;        ///< as it was named
  std::string text;         ///< fine-tuned on, as it was named
  std::string test;         ///< scored, as it was named
  double sparsity = 0.1;    ///< dose after the last level: share of all ternary weights
  prune::Recipe recipe;     ///< how weights are chosen; its sparsity is each level's
  train::TrainConfig tune;  ///< a level's fine-tune
  std::vector<std::string> prompts;
  std::int64_t generated_tokens = 60;
  double memory_limit = 0;  ///< GB that were allowed, 0 for any; what follows from it stands in `tune`
};

/// Whether the run does what the reference's pipeline does: its thresholds, lines, learning rates, scales and protocol
/// (docs/experiments.md, "The reference's pipeline").
bool is_legacy(const DeployConfig& config);

/// The fine-tune of the reference's pipeline (RPT, deploy/rpt_deploy_a100.py) with two differences: float32 masters
/// where it has bfloat16, and no decay of gains. Learning rate 5e-4; its batch of 8 is rpt's default.
void follow_reference(train::TrainConfig& tune);

/// The doses of the levels: those of 5, 10, 15, 20, 25, 30, 40 and 50 % below `sparsity`, then it, to a millionth;
/// only 0 where it is 0.
std::vector<double> levels_to(double sparsity);

/// The beginnings of the first texts of a corpus, some words each, or as much of them as takes half of the model's
/// context: what it may go on from.
std::vector<std::string> default_prompts(const model::Model& model, const text::Corpus& corpus, std::size_t count = 3,
                                         std::size_t words = 8);

/// One state of the model on the way.
struct DeployStage {
  std::string name;   ///< "baseline", "5 % pruned", "5 % fine-tuned", …, "GGUF"; legacy: with the scale it is read by
  std::string stage;  ///< of the run: its file and folder
  /// Numbers mean_nll, perplexity, scored_tokens; text nll_sha256; series nll and tokens, by document; but for baseline
  /// and GGUF shares of all weights against the base: codes_zero_share, codes_removed_share, codes_gained_share,
  /// codes_turned_share, of latents latents_zeroed_share, and for each tensor scale_ratio and dose. Of pruned states
  /// text masks_sha256; of fine-tuned ones weights_sha256, of the file that holds the model; of GGUF number
  /// ternary_share.
  StageFigures found;
};

struct DeployResult {
  std::vector<DeployStage> stages;
  std::string gate_sha256;  ///< of the NLLs of the test text under the GGUF and the model it was made of alike
  std::filesystem::path gguf;
  std::string gguf_sha256;   ///< of its bytes
  std::string model_sha256;  ///< of the base, as sha256_of()
  std::string texts_sha256;
  std::vector<std::string> texts;  ///< generated from the GGUF, each with its prompt
};

/// The stage of protocol legacy that snaps what was trained.
inline constexpr std::string_view kSnapStage = "snap";

/// The last of the stages whose name ends so: "-prune", "-tune"; null where there is none.
const StageFigures* find_stage(const DeployResult& result, std::string_view suffix);
/// The same; there must be one.
const StageFigures& last_stage(const DeployResult& result, std::string_view suffix);

/// Nats a token by which the test text may be worse read behind a fine-tune than before it: beyond them, where
/// perplexity is more than e times what it was, the fine-tune counts as diverged.
inline constexpr double kDivergedNats = 1;

/// A line for each state whose fine-tune has diverged.
std::vector<std::string> diverged_fine_tunes(const std::vector<DeployStage>& stages);

/// What a run asks before anything is spent on it. Throws: ConfigError as measure.h's; where the GGUF cannot hold the
/// base's shape, more weights are to go than can, or a prompt does not fit or is no UTF-8; where protocol legacy finds
/// too few lines to train on or to score.
void require_usable(const model::Model& base, const DeployConfig& config, const Texts& texts);

/// The configuration as run.json holds it, with the hashes of model and texts.
std::string to_json(const DeployConfig& config, const model::Model& base, const Texts& texts);

/// Runs the pipeline in `run`, begun with to_json(), or what is left of it, and writes into its folder: model.gguf
/// (i2_s), latents/ and packed/ (Hugging Face directories), rpt_metadata.json, report.html, report.md, report.json,
/// tables.tex, README.md. Of model.gguf, latents/ and packed/ what is whole already stays as it is, and so does a
/// README.md that somebody has edited. Nothing where it was interrupted. Throws: CheckError where the GGUF does not
/// give every token of the test text the bits of the model that it was made of; OutputError where a folder that is
/// damaged holds what the run did not write; ConfigError where the model of a finished fine-tune is not the one that
/// it ended with; as pruning, training and export.
std::optional<DeployResult> deploy(const model::Model& base, const DeployConfig& config, const Texts& texts,
                                   RunDirectory& run, const Surroundings& around);

}  // namespace rpt::experiment

// SPDX-License-Identifier: MIT
#pragma once
#include "rpt/experiment/deploy.h"
#include "rpt/experiment/measure.h"
#include "rpt/model/config.h"

/// What the pipeline takes of a machine, before anything is spent.
namespace rpt::experiment {

struct DeployCost {
  double seconds = 0;
  double memory_bytes = 0;
  double disk_bytes = 0;
};

/// Bytes of memory at the peak: a fine-tune (train::run_memory) of the last level, and what stands beside it: the base
/// and the level before as latents and codes, masks as chosen and as held to, the texts and the tokens of the one that
/// is trained on (four bytes a token are guessed).
double deploy_memory(const DeployConfig& config, const model::Config& shape, const Texts& texts);

/// Makes a run fit into `limit` bytes of memory: first by running blocks again in the backward pass, then by moments of
/// a byte, then, where protocol legacy does not need its latents in float32, by bf16 masters. Returns whether anything
/// was changed. Throws: ConfigError where that is not enough.
bool fit_memory(DeployConfig& config, const model::Config& shape, const Texts& texts, double limit);

/// Guesses a run's cost: time from operations at the rate that products reach now, disk of checkpoints and what is
/// left.
DeployCost guess_cost(const DeployConfig& config, const model::Config& shape, const Texts& texts);

}  // namespace rpt::experiment

// SPDX-License-Identifier: MIT
#pragma once
#include "rpt/core/progress.h"
#include "rpt/model/model.h"
#include "rpt/tensor/dtype.h"

namespace rpt::model {

/// Rounds the weights that logits are made with, and that tokens are looked up in where the head is tied, to `type`
/// (f16, q8_0, q4_0 or q6_k), in memory. No decoder may refer to the model yet. `progress` counts rows. Throws:
/// ConfigError where a row does not divide into blocks of the type; FormatError for values beyond what it can scale.
void round_head(Model& model, tensor::DType type, core::ProgressSink& progress);

}  // namespace rpt::model

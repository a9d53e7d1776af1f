// SPDX-License-Identifier: MIT
#pragma once
#include <memory>

#include "rpt/model/model.h"

namespace rpt::model {

/// A model that says the same as `model`, with the same files behind it, but has no blocks yet: where a model begins
/// that differs in its blocks alone.
std::unique_ptr<Model> without_blocks(const Model& model);

}  // namespace rpt::model

// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <span>

#include "rpt/model/model.h"

namespace rpt::model {

/// Checks that every id of a text has a row in the embedding: a vocabulary may hold more tokens. Throws: ConfigError
/// naming the file and the first token that has none.
void require_rows(const Model& model, std::span<const std::int32_t> ids);

}  // namespace rpt::model

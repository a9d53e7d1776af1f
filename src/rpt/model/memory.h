// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>

#include "rpt/model/model.h"

namespace rpt::model {

/// Bytes of weights that one generated token reads: codes of every linear layer as the kernels read them, the head, the
/// norms. Keys and values come on top.
std::uint64_t bytes_per_token(const Model& model);

/// Number of weights: ternary ones, and all.
struct ParameterCount {
  std::int64_t ternary = 0;
  std::int64_t total = 0;
};
ParameterCount count_parameters(const Model& model);

}  // namespace rpt::model

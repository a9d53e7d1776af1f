// SPDX-License-Identifier: MIT
#include "rpt/model/memory.h"

#include <type_traits>

namespace rpt::model {

std::uint64_t bytes_per_token(const Model& model) {
  std::uint64_t bytes = model.weights.output().unchecked().bytes;
  visit_weights(model.weights, [&](const std::string&, const auto& weight) {
    using W = std::decay_t<decltype(weight)>;
    if constexpr (std::is_same_v<W, LinearWeight>) {
      bytes += weight.ternary() ? weight.weight.codes().bytes : weight.stored_bytes();
    }
    if constexpr (std::is_same_v<W, NormWeight>) bytes += weight.gain.size() * sizeof(float);
  });
  return bytes;
}

ParameterCount count_parameters(const Model& model) {
  ParameterCount count;
  visit_weights(model.weights, [&](const std::string&, const auto& weight) {
    using W = std::decay_t<decltype(weight)>;
    if constexpr (std::is_same_v<W, LinearWeight>) {
      (weight.ternary() ? count.ternary : count.total) += weight.rows() * weight.columns();
    } else if constexpr (std::is_same_v<W, NormWeight>) {
      count.total += static_cast<std::int64_t>(weight.gain.size());
    } else {
      count.total += weight.unchecked().rows * weight.unchecked().columns;
    }
  });
  count.total += count.ternary;
  return count;
}

}  // namespace rpt::model

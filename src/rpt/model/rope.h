// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <vector>

namespace rpt::model {

/// Cosines and sines of the rotary embedding. Formula: f_i = pow(θ, −2i/D), angle = position · f_i, both in double; cos
/// and sin rounded to float. Positions are computed when they are first asked for.
class RopeTable {
 public:
  RopeTable(double theta, std::int64_t head_size);

  /// Makes positions 0 … count−1 available. Not safe beside a reader.
  void reserve(std::int64_t count);
  /// [D/2] each; the position must be reserved.
  const float* cos(std::int64_t position) const { return cos_.data() + position * half_; }
  const float* sin(std::int64_t position) const { return sin_.data() + position * half_; }

 private:
  std::int64_t half_;
  std::vector<double> frequency_;
  std::vector<float> cos_;
  std::vector<float> sin_;
};

}  // namespace rpt::model

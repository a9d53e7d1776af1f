// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "rpt/train/parameters.h"

namespace rpt::train {

/// What applies to the parameters whose names match.
struct ParameterGroup {
  std::string pattern;  ///< regular expression (ECMAScript) that the whole name must match
  double lr_factor = 1;
  double decay_factor = 1;
};

enum class Clipping : std::uint8_t {
  global,  ///< the norm of all gradients together
  tensor,  ///< each tensor for itself, its norm times its rms in relative mode
};

struct AdamwOptions {
  double lr = 1e-3;
  double beta1 = 0.9;
  double beta2 = 0.95;
  double eps = 1e-8;
  double weight_decay = 0.1;
  double clip = 1;  ///< largest norm; 0 clips nothing
  Clipping clipping = Clipping::global;
  /// The learning rate is in units of each tensor's rms, and eps in units of its inverse: then a power of two that
  /// moves from a tensor to its gain changes nothing.
  bool relative = false;
  /// The first group that matches decides; a parameter that matches none has both factors 1.
  std::vector<ParameterGroup> groups;
};

/// What one step did.
struct StepNorms {
  double gradient = 0;  ///< norm of all gradients together, before clipping
  double largest = 0;   ///< largest norm of a tensor's gradient
};

/// AdamW with decoupled decay over all parameters. State: two float moments per value.
class Adamw {
 public:
  /// `parameters` must outlive it. Throws: ConfigError for options outside their bounds or a bad pattern.
  Adamw(Parameters& parameters, AdamwOptions options);

  /// One step with learning rate lr · rate_factor and decay · decay_factor, then publishes the weights. The parameters'
  /// hook sees gradients before and masters after. Throws: NumericError naming the first parameter whose gradient is
  /// not finite; nothing has moved then.
  StepNorms step(double rate_factor, double decay_factor);

  std::int64_t steps_taken() const { return steps_; }
  void set_steps_taken(std::int64_t steps) { steps_ = steps; }
  /// First and second moments, by parameter.
  std::vector<core::AlignedBuffer<float>>& first() { return m_; }
  std::vector<core::AlignedBuffer<float>>& second() { return v_; }
  /// Forgets moments and step count, as the reference does at every level of pruning.
  void reset();

 private:
  Parameters& parameters_;
  AdamwOptions options_;
  std::vector<ParameterGroup> group_of_;  ///< by parameter
  std::vector<core::AlignedBuffer<float>> m_, v_;
  std::int64_t steps_ = 0;
};

/// sqrt(Σ x²) in double; the same for any number of threads.
double norm(std::span<const float> x);

}  // namespace rpt::train

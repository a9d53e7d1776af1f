// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "rpt/kernels/kernel_table.h"
#include "rpt/train/moment.h"
#include "rpt/train/parameters.h"
#include "rpt/train/rounding.h"

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
  StateType state = StateType::f32;
};

/// What one step did.
struct StepNorms {
  double gradient = 0;  ///< norm of all gradients together, before clipping
  double largest = 0;   ///< largest norm of a tensor's gradient
};

/// AdamW with decoupled decay over all parameters. State: two moments per value, stored as the options say; masters as
/// the parameters say. A step is computed in float32 whatever they are: what is stored narrower is widened before it
/// and rounded once after it.
///
/// Masters `bf16_nearest` do what the reference's training in pure bfloat16 does: the weights are bfloat16 values, and
/// what would move one by less than half of their spacing leaves it where it is, step after step (at lr 5e-4 every
/// |w| > 0.25). The bits are not the reference's: PyTorch's AdamW rounds after every operation, so that w·(1 −
/// lr·decay) is w again and a second moment with β2 = 0.999 rises but never falls, and keeps gradients and moments in
/// bfloat16, rounded half to even.
class Adamw {
 public:
  /// `parameters` must outlive it; `seed` is that of stochastic rounding. Throws: ConfigError for options outside their
  /// bounds or a bad pattern.
  Adamw(Parameters& parameters, AdamwOptions options, std::uint64_t seed = 0);

  /// One step with learning rate lr · rate_factor and decay · decay_factor, then publishes the weights. The parameters'
  /// hook sees gradients before and masters after. Throws: NumericError naming the first parameter whose gradient is
  /// not finite; nothing has moved then.
  StepNorms step(double rate_factor, double decay_factor);

  std::int64_t steps_taken() const { return steps_; }
  void set_steps_taken(std::int64_t steps) { steps_ = steps; }
  StateType state() const { return options_.state; }
  /// First and second moments, by parameter.
  std::vector<Moment>& first() { return m_; }
  std::vector<Moment>& second() { return v_; }
  /// Forgets moments and step count, as the reference does at every level of pruning.
  void reset();

 private:
  /// Moves values begin … end − 1 of parameter i.
  void move(std::size_t i, std::int64_t begin, std::int64_t end, kernels::AdamwStep a);

  Parameters& parameters_;
  AdamwOptions options_;
  std::vector<ParameterGroup> group_of_;  ///< by parameter
  std::vector<Moment> m_, v_;
  std::uint64_t rounding_key_;
  std::int64_t steps_ = 0;
};

/// sqrt(Σ x²) in double; the same for any number of threads.
double norm(std::span<const float> x);

}  // namespace rpt::train

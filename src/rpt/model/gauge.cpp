// SPDX-License-Identifier: MIT
#include "rpt/model/gauge.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <initializer_list>
#include <numbers>

#include "rpt/core/exact_math.h"
#include "rpt/model/gauge_groups.h"

namespace rpt::model {

std::string block_tensor_name(std::size_t block, std::string_view part) {
  return fmt::format("blk.{}.{}", block, part);
}

tensor::StoredView latents_in_gauge(const std::string& name, const LinearWeight& linear) {
  const auto latents = linear.weight.latents();
  if (!latents) {
    throw ConfigError(fmt::format("{}: {} holds codes with a fixed scale; only latents have a gauge to change",
                                  linear.weight.origin().file, name));
  }
  return *latents;
}

namespace {

/// log2 without libm, so that a choice is the same everywhere.
double log2_of(double x) {
  return core::exact_log(x) / std::numbers::ln2;
}

/// The scale of a linear layer. Throws: ConfigError naming it unless it is positive.
double scale_of(const std::string& name, const LinearWeight& linear) {
  const auto scale = static_cast<double>(linear.weight.codes().scale);
  if (!(scale > 0)) {
    throw ConfigError(
        fmt::format("{}: {} has the scale {}, expected a positive one", linear.weight.origin().file, name, scale));
  }
  return scale;
}

/// The same, of a linear layer that must have latents.
double latent_scale_of(const std::string& name, const LinearWeight& linear) {
  latents_in_gauge(name, linear);
  return scale_of(name, linear);
}

using TargetOf = std::function<double(std::size_t block, const GaugeLinear& linear)>;

Gauge towards(const Model& model, const TargetOf& target) {
  Gauge gauge(model.weights.blocks.size());
  for (std::size_t i = 0; i < gauge.size(); ++i) {
    for (const GaugeGroup& group : kGaugeGroups) {
      double sum = 0;
      for (const GaugeLinear& linear : group.linears) {
        const std::string name = block_tensor_name(i, linear.name);
        sum += log2_of(target(i, linear)) - log2_of(latent_scale_of(name, model.weights.blocks[i].*linear.weight));
      }
      gauge[i].*group.exponent = static_cast<int>(std::lround(sum / static_cast<double>(group.linears.size())));
    }
  }
  return gauge;
}

void require_same_shape(const Model& a, const Model& b) {
  const auto require = [&](std::string_view what, std::int64_t x, std::int64_t y) {
    if (x == y) return;
    throw ConfigError(fmt::format("{}: {} {}, but {} in {}", b.path.string(), what, y, x, a.path.string()));
  };
  require("layers", a.config.layers, b.config.layers);
  require("hidden size", a.config.hidden, b.config.hidden);
  require("feed-forward size", a.config.feed_forward, b.config.feed_forward);
  require("heads", a.config.heads, b.config.heads);
  require("key/value heads", a.config.kv_heads, b.config.kv_heads);
  require("head size", a.config.head_size, b.config.head_size);
}

/// Smallest j with s · 2^j ≥ bound; bound and s positive.
int first_exponent_at(double s, double bound) {
  const int j = std::ilogb(bound) - std::ilogb(s);  // s · 2^j lies in the octave of the bound
  return std::ldexp(s, j) < bound ? j + 1 : j;
}

}  // namespace

TypeScales inverse(const TypeScales& scales) {
  double smallest = HUGE_VAL;
  double largest = 0;
  for (const GaugeGroup& group : kGaugeGroups) {
    for (const GaugeLinear& linear : group.linears) {
      smallest = std::min(smallest, scales.*linear.type_scale);
      largest = std::max(largest, scales.*linear.type_scale);
    }
  }
  TypeScales out;
  for (const GaugeGroup& group : kGaugeGroups) {
    for (const GaugeLinear& linear : group.linears) {
      out.*linear.type_scale = smallest * largest / scales.*linear.type_scale;
    }
  }
  return out;
}

Gauge gauge_towards(const Model& model, const TypeScales& targets) {
  return towards(model, [&](std::size_t, const GaugeLinear& linear) {
    const double target = targets.*linear.type_scale;
    if (!(target > 0 && std::isfinite(target))) {
      throw ConfigError(fmt::format("the target scale {} of {} is not positive", target, linear.name));
    }
    return target;
  });
}

Gauge gauge_towards(const Model& model, const Model& target) {
  require_same_shape(model, target);
  return towards(model, [&](std::size_t i, const GaugeLinear& linear) {
    return scale_of(block_tensor_name(i, linear.name), target.weights.blocks[i].*linear.weight);
  });
}

Gauge native_gauge(const Model& model) {
  Gauge gauge(model.weights.blocks.size());
  for (std::size_t i = 0; i < gauge.size(); ++i) {
    for (const GaugeGroup& group : kGaugeGroups) {
      const std::vector<float>& gain = (model.weights.blocks[i].*group.gain).gain;
      double squares = 0;
      for (const float g : gain) squares += static_cast<double>(g) * static_cast<double>(g);
      if (squares == 0) continue;
      const double log2_rms = 0.5 * log2_of(squares / static_cast<double>(gain.size()));
      gauge[i].*group.exponent = static_cast<int>(std::lround(log2_rms));
    }
  }
  return gauge;
}

Gauge gauge_within(const Model& model, double low, double high) {
  if (!(low > 0 && high >= 2 * low && std::isfinite(high))) {
    throw ConfigError(
        fmt::format("scales from {} to {}: expected 0 < low, and high at least twice as large", low, high));
  }
  Gauge gauge(model.weights.blocks.size());
  for (std::size_t i = 0; i < gauge.size(); ++i) {
    for (const GaugeGroup& group : kGaugeGroups) {
      double smallest = HUGE_VAL;
      double largest = 0;
      for (const GaugeLinear& linear : group.linears) {
        const std::string name = block_tensor_name(i, linear.name);
        const double scale = latent_scale_of(name, model.weights.blocks[i].*linear.weight);
        smallest = std::min(smallest, scale);
        largest = std::max(largest, scale);
      }
      const int first = first_exponent_at(smallest, low);
      const int last = first_exponent_at(largest, high) - 1;
      if (first > last) {
        throw ConfigError(
            fmt::format("{}: the linear layers behind {} share one power of two, and none brings their "
                        "scales, {} to {}, into [{}, {})",
                        model.path.string(), block_tensor_name(i, group.norm), smallest, largest, low, high));
      }
      gauge[i].*group.exponent = std::clamp(0, first, last);
    }
  }
  return gauge;
}

}  // namespace rpt::model

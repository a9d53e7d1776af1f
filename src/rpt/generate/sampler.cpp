// SPDX-License-Identifier: MIT
#include "rpt/generate/sampler.h"

#include <algorithm>
#include <numeric>

#include "rpt/core/error.h"
#include "rpt/core/exact_math.h"
#include "rpt/tensor/ops.h"

namespace rpt::generate {

void validate(const SamplingOptions& o) {
  const auto refuse = [](const char* name, double value, const char* expected) {
    throw ConfigError(fmt::format("{} is {}, expected {}", name, value, expected));
  };
  if (!(o.temperature >= 0) || o.temperature > 1e6) refuse("temperature", o.temperature, "0 to 1e6");
  if (o.top_k < 0) refuse("top-k", static_cast<double>(o.top_k), "at least 0");
  if (!(o.top_p > 0) || o.top_p > 1) refuse("top-p", o.top_p, "more than 0, at most 1");
  if (!(o.repeat_penalty > 0) || o.repeat_penalty > 1e6) refuse("repeat penalty", o.repeat_penalty, "more than 0");
  if (o.repeat_window < 0) refuse("repeat window", static_cast<double>(o.repeat_window), "at least 0");
}

Sampler::Sampler(const SamplingOptions& options) : options_(options), random_(options.seed) {
  validate(options);
}

std::int32_t Sampler::sample(std::span<const float> logits, std::span<const std::int32_t> history) {
  if (logits.empty()) throw ShapeError("sample: no logits");
  if (options_.repeat_penalty != 1) {
    penalised_.assign(logits.begin(), logits.end());
    const auto penalty = static_cast<float>(options_.repeat_penalty);
    const std::size_t count = std::min(history.size(), static_cast<std::size_t>(options_.repeat_window));
    std::vector<std::int32_t> seen(history.end() - static_cast<std::ptrdiff_t>(count), history.end());
    std::sort(seen.begin(), seen.end());
    seen.erase(std::unique(seen.begin(), seen.end()), seen.end());
    for (const std::int32_t id : seen) {
      RPT_CHECK(id >= 0 && std::cmp_less(id, logits.size()), "token {} of {}", id, logits.size());
      float& x = penalised_[static_cast<std::size_t>(id)];
      x = x > 0 ? x / penalty : x * penalty;
    }
    logits = penalised_;
  }
  return options_.temperature == 0 ? tensor::arg_max(logits) : draw(logits);
}

std::int32_t Sampler::draw(std::span<const float> logits) {
  const std::size_t all = logits.size();
  const std::size_t kept = options_.top_k > 0 ? std::min(all, static_cast<std::size_t>(options_.top_k)) : all;
  order_.resize(all);
  std::iota(order_.begin(), order_.end(), 0);
  const auto likelier = [&](std::int32_t a, std::int32_t b) {
    const float x = logits[static_cast<std::size_t>(a)];
    const float y = logits[static_cast<std::size_t>(b)];
    return x != y ? x > y : a < b;
  };
  // Only top-k and top-p need an order; without them tokens are drawn in order of their ids.
  const bool ordered = kept < all || options_.top_p < 1;
  if (ordered)
    std::partial_sort(order_.begin(), order_.begin() + static_cast<std::ptrdiff_t>(kept), order_.end(), likelier);
  const double maximum = static_cast<double>(*std::max_element(logits.begin(), logits.end()));

  weight_.resize(kept);
  double total = 0;
  for (std::size_t i = 0; i < kept; ++i) {
    const double x = static_cast<double>(logits[static_cast<std::size_t>(order_[i])]);
    weight_[i] = core::exact_exp((x - maximum) / options_.temperature);
    total += weight_[i];
  }
  std::size_t candidates = kept;
  if (options_.top_p < 1) {
    const double wanted = total * options_.top_p;
    double sum = 0;
    candidates = 0;
    while (candidates < kept && sum < wanted) sum += weight_[candidates++];
    total = sum;
  }
  double left = random_.uniform() * total;
  for (std::size_t i = 0; i + 1 < candidates; ++i) {
    left -= weight_[i];
    if (left < 0) return order_[i];
  }
  return order_[candidates - 1];
}

}  // namespace rpt::generate

// SPDX-License-Identifier: MIT
#pragma once
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <string>
#include <vector>

#include "rpt/core/error.h"
#include "rpt/core/float16.h"
#include "rpt/core/parallel.h"
#include "rpt/core/random.h"
#include "rpt/model/gate.h"
#include "rpt/model/gauge.h"
#include "rpt/model/masks.h"
#include "rpt/prune/linears.h"
#include "rpt/prune/score.h"
#include "rpt/tensor/ops.h"
#include "rpt/ternary/layouts.h"
#include "tests/tiny_model.h"

namespace rpt::prune {

using Sequences = std::vector<std::vector<std::int32_t>>;

/// 62,000 weights in 14 linear layers; bf16 latents, of which many are equal.
inline const test::TinyShape kSmall{.hidden = 64, .feed_forward = 96, .vocabulary = 100};

inline Sequences some_tokens(const model::Model& model, std::int64_t tokens = 40) {
  return {model::gate_ids(model.config, tokens)};
}

/// The latents of a bf16 model made up in memory, to be changed before their first use.
inline std::span<std::uint16_t> bf16_latents(model::LinearWeight& linear) {
  const tensor::StoredView v = linear.weight.stored_latents();
  return {reinterpret_cast<std::uint16_t*>(const_cast<std::byte*>(v.data)), v.bytes / 2};
}

/// What a layer holds, read the plain way.
struct PlainLayer {
  std::string name;
  std::size_t rows = 0;
  std::size_t columns = 0;
  std::vector<float> latents;
  std::vector<std::int8_t> codes;
};

inline std::vector<PlainLayer> plain_layers(const model::Model& model) {
  std::vector<PlainLayer> out;
  for (const Linear& linear : linear_layers(model)) {
    PlainLayer& layer = out.emplace_back();
    layer.name = linear.name;
    layer.rows = static_cast<std::size_t>(linear.rows());
    layer.columns = static_cast<std::size_t>(linear.columns());
    layer.latents = tensor::widen(linear.latents);
    layer.codes = ternary::unpack(linear.weight->codes());
  }
  return out;
}

/// All scores of a saliency, [linear][N·K].
inline std::vector<std::vector<double>> all_scores(const model::Model& model, const Saliency& saliency) {
  std::vector<std::vector<double>> out;
  const std::vector<PlainLayer> layers = plain_layers(model);
  for (std::size_t i = 0; i < layers.size(); ++i) {
    std::vector<double>& scores = out.emplace_back(layers[i].rows * layers[i].columns);
    saliency.prepare({&i, 1});
    for (std::size_t n = 0; n < layers[i].rows; ++n) {
      saliency.row(i, static_cast<std::int64_t>(n),
                   std::span(scores).subspan(n * layers[i].columns, layers[i].columns));
    }
  }
  return out;
}

/// Expects a ConfigError whose message holds `word`.
inline void expect_refusal(const std::function<void()>& action, const std::string& word) {
  try {
    action();
    FAIL() << "no refusal that says " << word;
  } catch (const ConfigError& e) {
    EXPECT_NE(std::string(e.what()).find(word), std::string::npos) << word << " in: " << e.what();
  }
}

/// Threads of a scope.
class WithThreads {
 public:
  explicit WithThreads(int count) : before_(core::threads()) { core::set_threads(count); }
  ~WithThreads() { core::set_threads(before_); }
  WithThreads(const WithThreads&) = delete;
  WithThreads& operator=(const WithThreads&) = delete;

 private:
  int before_;
};

/// The model in a gauge that changes every group. `query_key` moves the one between queries and keys.
inline std::unique_ptr<model::Model> regauged(const model::Model& model, const Sequences& tokens, int query_key) {
  model::Gauge gauge(model.weights.blocks.size());
  for (std::size_t b = 0; b < gauge.size(); ++b) {
    const int i = static_cast<int>(b);
    gauge[b] = {5 + i, 7 - 2 * i, 3 + 3 * i, 4 - i, query_key};
  }
  return apply_gauge(model, gauge, model::calibrate(model, tokens));
}

}  // namespace rpt::prune

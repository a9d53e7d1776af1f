// SPDX-License-Identifier: MIT
#include "rpt/prune/calibration.h"

#include <algorithm>

#include "rpt/core/error.h"
#include "rpt/core/parallel.h"
#include "rpt/model/decoder.h"
#include "rpt/model/gauge_groups.h"
#include "rpt/tensor/ops.h"

namespace rpt::prune {
namespace {

/// (a/127)² of each row: what a product of two of its int8 values stands for.
std::vector<double> weights_of(const tensor::QuantisedRows& x) {
  std::vector<double> weights;
  for (const float amax : x.amax) {
    const double step = static_cast<double>(amax) / 127.0;
    weights.push_back(step * step);
  }
  return weights;
}

void add_squares(const tensor::QuantisedRows& x, std::span<const double> weights, std::span<double> squares) {
  for (std::int64_t t = 0; t < x.rows; ++t) {
    const std::int8_t* q = x.q.data() + t * x.stride;
    for (std::size_t k = 0; k < squares.size(); ++k) squares[k] += weights[static_cast<std::size_t>(t)] * q[k] * q[k];
  }
}

/// Adds to the part of the products [K, K] on and below the diagonal. A row of them is one thread's.
void add_products(const tensor::QuantisedRows& x, std::span<const double> weights, std::span<double> products) {
  constexpr std::int64_t kRowsTogether = 8;
  core::parallel_for(x.columns, kRowsTogether, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t k = begin; k < end; ++k) {
      double* row = products.data() + k * x.columns;
      for (std::int64_t t = 0; t < x.rows; ++t) {
        const std::int8_t* q = x.q.data() + t * x.stride;
        if (q[k] == 0) continue;
        const double factor = weights[static_cast<std::size_t>(t)] * q[k];
        for (std::int64_t other = 0; other <= k; ++other) row[other] += factor * q[other];
      }
    }
  });
}

void mirror(std::span<double> products, std::size_t columns) {
  for (std::size_t k = 0; k < columns; ++k) {
    for (std::size_t other = k + 1; other < columns; ++other) {
      products[k * columns + other] = products[other * columns + k];
    }
  }
}

/// Quantises the outputs of the norms that feed linear layers, as these do, and sums up.
class MomentObserver final : public model::LayerObserver {
 public:
  explicit MomentObserver(Calibration& calibration) : calibration_(calibration) {}

  void activation(std::string_view name, std::int64_t layer, tensor::MatrixView values) override {
    if (layer < 0) return;
    for (std::size_t g = 0; g < model::kGaugeGroups.size(); ++g) {
      if (name != model::kGaugeGroups[g].norm) continue;
      const std::int64_t bad = tensor::quantise_rows(values, quantised_);
      if (bad >= 0) {
        throw NumericError(fmt::format("layer blk.{}.{}: row {} holds an infinity or NaN", layer, name, bad), bad);
      }
      InputMoments& moments = calibration_.blocks[static_cast<std::size_t>(layer)][g];
      const std::vector<double> weights = weights_of(quantised_);
      add_squares(quantised_, weights, moments.squares);
      if (!moments.products.empty()) add_products(quantised_, weights, moments.products);
    }
  }

 private:
  Calibration& calibration_;
  tensor::QuantisedRows quantised_;
};

/// Inputs K of the linear layers behind a norm.
std::size_t columns_of(const model::Config& config, std::size_t block, const model::GaugeGroup& group) {
  return static_cast<std::size_t>(model::expected_shape(model::block_tensor_name(block, group.norm), config).second);
}

Calibration zero_moments(const model::Model& model, Moments moments) {
  Calibration out;
  out.blocks.resize(model.weights.blocks.size());
  for (std::size_t b = 0; b < out.blocks.size(); ++b) {
    for (const model::GaugeGroup& group : model::kGaugeGroups) {
      const std::size_t columns = columns_of(model.config, b, group);
      InputMoments& input = out.blocks[b].emplace_back();
      input.squares.resize(columns);
      if (moments == Moments::products) input.products.resize(columns * columns);
    }
  }
  return out;
}

}  // namespace

Calibration calibrate(const model::Model& model, std::span<const std::vector<std::int32_t>> sequences,
                      Moments moments) {
  if (sequences.empty()) throw ConfigError("a calibration of no tokens");
  for (const std::vector<std::int32_t>& ids : sequences) {
    if (ids.empty() || std::cmp_greater(ids.size(), model.config.context)) {
      throw ConfigError(
          fmt::format("a sequence of {} tokens to calibrate with, expected 1 to {}", ids.size(), model.config.context));
    }
  }
  Calibration out = zero_moments(model, moments);
  MomentObserver observer(out);
  model::Decoder decoder(model.config, model.weights);
  decoder.set_observer(&observer);
  tensor::Tensor hidden;
  for (const std::vector<std::int32_t>& ids : sequences) {
    model::KvCache cache(model.config, static_cast<std::int64_t>(ids.size()));
    decoder.forward(ids, cache, hidden);
    out.tokens += ids.size();
  }
  for (std::vector<InputMoments>& block : out.blocks) {
    for (InputMoments& input : block) {
      if (!input.products.empty()) mirror(input.products, input.squares.size());
    }
  }
  return out;
}

std::vector<std::vector<std::int32_t>> calibration_sequences(const model::Model& model, std::string_view text,
                                                             std::int64_t length, std::int64_t tokens) {
  const bool bos = model.adds_bos && model.bos_id;
  const std::int64_t own = length - (bos ? 1 : 0);  // ids of the text in a sequence
  if (own < 1 || tokens < 1) {
    throw ConfigError(fmt::format("calibration sequences of {} tokens, {} in all: too few", length, tokens));
  }
  std::vector<std::int32_t> ids = model.vocabulary().encode(text);
  ids.resize(std::min(ids.size(), static_cast<std::size_t>(tokens)));
  std::vector<std::vector<std::int32_t>> sequences;
  for (std::size_t i = 0; i < ids.size(); i += static_cast<std::size_t>(own)) {
    std::vector<std::int32_t>& sequence = sequences.emplace_back();
    if (bos) sequence.push_back(*model.bos_id);
    const std::size_t count = std::min(ids.size() - i, static_cast<std::size_t>(own));
    const auto first = ids.begin() + static_cast<std::ptrdiff_t>(i);
    sequence.insert(sequence.end(), first, first + static_cast<std::ptrdiff_t>(count));
  }
  return sequences;
}

}  // namespace rpt::prune

// SPDX-License-Identifier: MIT
#include "rpt/prune/calibration.h"

#include <algorithm>

#include "rpt/core/error.h"
#include "rpt/core/parallel.h"
#include "rpt/core/sha256.h"
#include "rpt/model/decoder.h"
#include "rpt/model/gauge_groups.h"
#include "rpt/model/token_rows.h"
#include "rpt/tensor/ops.h"

namespace rpt::prune {
namespace {

/// Adds Σ_t (w_t·q_tk)·q_tk' to the part of the products [K, K] on and below the diagonal. Rows of them that a thread
/// computes together share what is read of the inputs.
void add_products(const InputMoments& moments, std::span<double> products) {
  constexpr std::int64_t kRowsTogether = 8;
  const std::size_t columns = moments.squares.size();
  core::parallel_for(static_cast<std::int64_t>(columns), kRowsTogether, [&](std::int64_t begin, std::int64_t end) {
    for (std::size_t t = 0; t < moments.square_steps.size(); ++t) {
      const std::int8_t* q = moments.inputs.data() + t * columns;
      for (auto k = static_cast<std::size_t>(begin); std::cmp_less(k, end); ++k) {
        if (q[k] == 0) continue;
        double* row = products.data() + k * columns;
        const double factor = moments.square_steps[t] * q[k];
        for (std::size_t other = 0; other <= k; ++other) row[other] += factor * q[other];
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
  MomentObserver(Calibration& calibration, Moments kept) : calibration_(calibration), kept_(kept) {}

  void activation(std::string_view name, std::int64_t layer, tensor::MatrixView values) override {
    if (layer < 0) return;
    for (std::size_t g = 0; g < model::kGaugeGroups.size(); ++g) {
      if (name != model::kGaugeGroups[g].norm) continue;
      const std::int64_t bad = tensor::quantise_rows(values, quantised_);
      if (bad >= 0) {
        throw NumericError(fmt::format("layer blk.{}.{}: row {} holds an infinity or NaN", layer, name, bad), bad);
      }
      InputMoments& moments = calibration_.blocks[static_cast<std::size_t>(layer)][g];
      for (std::int64_t t = 0; t < quantised_.rows; ++t) add_row(t, moments);
    }
  }

 private:
  void add_row(std::int64_t t, InputMoments& moments) const {
    const double step = static_cast<double>(quantised_.amax[static_cast<std::size_t>(t)]) / 127.0;
    const std::int8_t* q = quantised_.q.data() + t * quantised_.stride;
    for (std::size_t k = 0; k < moments.squares.size(); ++k) moments.squares[k] += step * step * q[k] * q[k];
    if (kept_ != Moments::inputs) return;
    moments.inputs.insert(moments.inputs.end(), q, q + quantised_.columns);
    moments.square_steps.push_back(step * step);
  }

  Calibration& calibration_;
  Moments kept_;
  tensor::QuantisedRows quantised_;
};

/// Inputs K of the linear layers behind a norm.
std::size_t columns_of(const model::Config& config, std::size_t block, const model::GaugeGroup& group) {
  return static_cast<std::size_t>(model::expected_shape(model::block_tensor_name(block, group.norm), config).second);
}

/// Zeros, and room for `tokens` inputs where they are kept.
Calibration zero_moments(const model::Model& model, Moments kept, std::size_t tokens) {
  Calibration out;
  out.blocks.resize(model.weights.blocks.size());
  for (std::size_t b = 0; b < out.blocks.size(); ++b) {
    for (const model::GaugeGroup& group : model::kGaugeGroups) {
      const std::size_t columns = columns_of(model.config, b, group);
      InputMoments& input = out.blocks[b].emplace_back();
      input.squares.resize(columns);
      if (kept == Moments::inputs) input.inputs.reserve(columns * tokens);
    }
  }
  return out;
}

}  // namespace

std::string documents_sha256(std::span<const std::string> documents) {
  core::Sha256 hash;
  for (const std::string& document : documents) {
    hash.update(document.data(), document.size());
    hash.update("\n", 1);
  }
  return hash.hex_digest();
}

Calibration calibrate(const model::Model& model, std::span<const std::vector<std::int32_t>> sequences,
                      Moments moments) {
  std::size_t tokens = 0;
  if (sequences.empty()) throw ConfigError("a calibration of no tokens");
  for (const std::vector<std::int32_t>& ids : sequences) {
    if (ids.empty() || std::cmp_greater(ids.size(), model.config.context)) {
      throw ConfigError(
          fmt::format("a sequence of {} tokens to calibrate with, expected 1 to {}", ids.size(), model.config.context));
    }
    tokens += ids.size();
  }
  Calibration out = zero_moments(model, moments, tokens);
  MomentObserver observer(out, moments);
  model::Decoder decoder(model.config, model.weights);
  decoder.set_observer(&observer);
  tensor::Tensor hidden;
  for (const std::vector<std::int32_t>& ids : sequences) {
    model::KvCache cache(model.config, static_cast<std::int64_t>(ids.size()));
    decoder.forward(ids, cache, hidden);
    out.tokens += ids.size();
  }
  return out;
}

std::vector<double> input_products(const InputMoments& moments) {
  const std::size_t columns = moments.squares.size();
  RPT_CHECK(moments.inputs.size() == moments.square_steps.size() * columns, "{} inputs, {} steps of {} columns",
            moments.inputs.size(), moments.square_steps.size(), columns);
  std::vector<double> products(columns * columns);
  add_products(moments, products);
  mirror(products, columns);
  return products;
}

std::vector<std::vector<std::int32_t>> calibration_sequences(const model::Model& model,
                                                             std::span<const std::string> documents,
                                                             std::int64_t length, std::int64_t tokens) {
  const bool bos = model.adds_bos && model.bos_id;
  const std::int64_t own = length - (bos ? 1 : 0);  // ids of the text in a sequence
  if (own < 1 || tokens < 1) {
    throw ConfigError(fmt::format("calibration sequences of {} tokens, {} in all: too few", length, tokens));
  }
  std::vector<std::int32_t> ids;
  for (const std::string& document : documents) {
    if (std::cmp_greater_equal(ids.size(), tokens)) break;
    const std::vector<std::int32_t> more = model.vocabulary().encode(document);
    model::require_rows(model, more);
    ids.insert(ids.end(), more.begin(), more.end());
  }
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

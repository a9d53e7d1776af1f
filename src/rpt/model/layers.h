// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "rpt/model/config.h"
#include "rpt/model/kv_cache.h"
#include "rpt/model/observer.h"
#include "rpt/model/rope.h"
#include "rpt/model/weights.h"
#include "rpt/tensor/ops.h"

namespace rpt::model {

/// What one row of a forward needs to know: which cache it belongs to and at which position it stands.
struct Row {
  KvCache* cache = nullptr;
  std::int64_t position = 0;
};

/// Scratch of a forward, kept between calls so that generation allocates nothing. Sizes grow with T.
struct Workspace {
  tensor::Tensor normed;     ///< [T, H]
  tensor::Tensor query;      ///< [T, A·D]
  tensor::Tensor key;        ///< [T, G·D]
  tensor::Tensor value;      ///< [T, G·D]
  tensor::Tensor attended;   ///< [T, A·D]
  tensor::Tensor gate;       ///< [T, F]
  tensor::Tensor up;         ///< [T, F]
  tensor::Tensor projected;  ///< [T, H]
  tensor::QuantisedRows quantised;
  std::vector<Row> rows;
};

/// A linear layer with ternary weights: y = BitLinear(x).
class BitLinear {
 public:
  BitLinear(const LinearWeight& weights, std::string name) : weights_(weights), name_(std::move(name)) {}

  /// y [T, N] from quantised x [T, K].
  void forward(const tensor::QuantisedRows& x, tensor::MutableMatrix y) const;
  /// Quantises x [T, K] into `scratch`, then as above. Throws: NumericError naming the layer and the row where x holds
  /// an infinity or NaN.
  void forward(tensor::MatrixView x, tensor::QuantisedRows& scratch, tensor::MutableMatrix y) const;
  /// The quantising half alone, for layers that share their input.
  void quantise(tensor::MatrixView x, tensor::QuantisedRows& out) const;

  std::int64_t rows() const { return weights_.weight.rows(); }

 private:
  const LinearWeight& weights_;
  std::string name_;
};

/// One block: h += attn_output(attn_sub_norm(attention(attn_norm(h)))), then
/// h += ffn_down(ffn_sub_norm(act(ffn_gate(x)) · ffn_up(x))), x = ffn_norm(h).
class Block {
 public:
  Block(const Config& config, const BlockWeights& weights, std::int64_t layer);

  /// Changes the residual stream h [T, H] in place and writes keys and values of the rows into their caches.
  void forward(tensor::MutableMatrix h, Workspace& work, const RopeTable& rope, LayerObserver* observer) const;

  /// The two halves of forward(), for tests of layers.
  void attention(tensor::MutableMatrix h, Workspace& work, const RopeTable& rope, LayerObserver* observer) const;
  void feed_forward(tensor::MutableMatrix h, Workspace& work, LayerObserver* observer) const;

 private:
  void write_cache(Workspace& work, const RopeTable& rope) const;
  void attend(Workspace& work) const;

  const Config& config_;
  const BlockWeights& weights_;
  std::int64_t layer_;
  BitLinear q_, k_, v_, o_, gate_, up_, down_;
};

}  // namespace rpt::model

// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>
#include <vector>

#include "rpt/model/backward.h"
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

/// What the forward of a block leaves for its backward. Keys and values are in the caches.
struct BlockTape {
  tensor::Tensor input;                ///< [T, H] the residual stream before the block; only where it is recorded
  tensor::QuantisedRows attn_input;    ///< [T, H] what q, k and v multiplied
  tensor::Tensor query;                ///< [T, A·D] after rope
  tensor::Tensor attended;             ///< [T, A·D] what attention gave
  tensor::QuantisedRows output_input;  ///< [T, A·D] what attn_output multiplied
  tensor::Tensor middle;               ///< [T, H] the residual stream between the halves; only where it is recorded
  tensor::QuantisedRows ffn_input;     ///< [T, H] what gate and up multiplied
  tensor::Tensor gate;                 ///< [T, F]
  tensor::Tensor up;                   ///< [T, F]
  tensor::QuantisedRows down_input;    ///< [T, F] what down multiplied
};

/// Scratch of a forward, kept between calls so that generation allocates nothing. Sizes grow with T.
struct Workspace {
  tensor::Tensor normed;     ///< [T, H], [T, A·D] or [T, F], where normed values are written down
  tensor::Tensor key;        ///< [T, G·D]
  tensor::Tensor value;      ///< [T, G·D]
  tensor::Tensor projected;  ///< [T, H]
  BlockTape tape;            ///< of a forward that records nothing
  std::vector<Row> rows;
  BackwardWork* training = nullptr;  ///< of a recorded forward, whose linears may be in a quantisation warm-up
};

/// A linear layer with ternary weights: y = BitLinear(x).
class BitLinear {
 public:
  BitLinear(const LinearWeight& weights, std::string name) : weights_(weights), name_(std::move(name)) {}

  /// y [T, N] from quantised x [T, K]. In the quantisation warm-up of a training step (`training` with a share λ below
  /// 1, which then holds the values of x) y = (1 − λ) · (q · Wᵀ) · a/127 + λ · ternary, W the latents; the dense
  /// product is tensor::multiply's, a relief of the training step only. Source: docs/forward.md, Activations and
  /// product.
  void forward(const tensor::QuantisedRows& x, tensor::MutableMatrix y, BackwardWork* training = nullptr) const;
  /// Quantises x [T, K] into `quantised`, then as above. Throws: NumericError naming the layer and the row where x
  /// holds an infinity or NaN.
  void forward(tensor::MatrixView x, tensor::QuantisedRows& quantised, tensor::MutableMatrix y,
               BackwardWork* training = nullptr) const;
  /// The quantising half alone, for layers that share their input. In a warm-up it loads `training` with the values.
  void quantise(tensor::MatrixView x, tensor::QuantisedRows& out, BackwardWork* training = nullptr) const;

  /// Of an input that was quantised elsewhere: its first row that holds an infinity or NaN, or −1. Throws and loads as
  /// quantise().
  void accept(std::int64_t bad, const tensor::QuantisedRows& x, BackwardWork* training) const;

  /// Straight through both quantisers: dx [T, K] = s · (dy · C), in a warm-up (1 − λ) · (dy · W) + λ · s · (dy · C),
  /// added where `accumulate`, and dweight [N, K] += (dy · a/127)ᵀ · Q. `work` holds Q, the values of x
  /// (BackwardWork::load_input), and λ. Source: docs/forward.md, Backward.
  void backward(const tensor::QuantisedRows& x, tensor::MatrixView dy, BackwardWork& work, tensor::MutableMatrix dx,
                bool accumulate, tensor::MutableMatrix dweight) const;

  std::int64_t rows() const { return weights_.weight.rows(); }

 private:
  void warm_up(const tensor::QuantisedRows& x, tensor::MutableMatrix y, BackwardWork& training) const;
  void input_gradient(const tensor::Operand& dy, BackwardWork& work, tensor::MutableMatrix dx, bool accumulate) const;

  const LinearWeight& weights_;
  std::string name_;
};

/// A linear layer of a block: ternary or dense.
class Linear {
 public:
  Linear(const LinearWeight& weights, std::string name)
      : weights_(weights), ternary_(weights, name), name_(std::move(name)) {}

  bool is_ternary() const { return weights_.ternary(); }
  /// The layer as a BitLinear. Only where is_ternary().
  const BitLinear& ternary() const { return ternary_; }

  /// y [T, N] of a dense layer: dots of the weights, as floats, with x [T, K] in lanes, times the output scale. Throws:
  /// NumericError naming the layer and the row where x holds an infinity or NaN. Source: docs/forward.md, What is read.
  void forward_dense(tensor::MatrixView x, tensor::MutableMatrix y) const;

 private:
  const LinearWeight& weights_;
  BitLinear ternary_;
  std::string name_;
};

/// A layer and where its output goes.
struct Projection {
  const Linear& layer;
  tensor::MutableMatrix y;
};

/// Layers that share their input x [T, K]. It is quantised once, into `quantised`, if one of them is ternary. Throws:
/// NumericError naming the first layer and the row where x holds an infinity or NaN.
void project(tensor::MatrixView x, tensor::QuantisedRows& quantised, std::initializer_list<Projection> layers,
             BackwardWork* training);

/// The same from quantised x, all layers ternary; `bad` as in BitLinear::accept.
void project_quantised(std::int64_t bad, const tensor::QuantisedRows& x, std::initializer_list<Projection> layers,
                       BackwardWork* training);

/// One block: h += attn_output(attn_sub_norm(attention(attn_norm(h)))), then
/// h += ffn_down(ffn_sub_norm(act(ffn_gate(x)) · ffn_up(x))), x = ffn_norm(h). Without the sub-norms in blocks that
/// have none.
class Block {
 public:
  Block(const Config& config, const BlockWeights& weights, std::int64_t layer);

  /// Changes the residual stream h [T, H] in place and writes keys and values of the rows into their caches. With a
  /// `tape`, records there what backward() needs.
  void forward(tensor::MutableMatrix h, Workspace& work, const RopeTable& rope, LayerObserver* observer,
               BlockTape* tape = nullptr) const;

  /// The two halves of forward(), for tests of layers.
  void attention(tensor::MutableMatrix h, Workspace& work, const RopeTable& rope, LayerObserver* observer,
                 BlockTape* tape = nullptr) const;
  void feed_forward(tensor::MutableMatrix h, Workspace& work, LayerObserver* observer, BlockTape* tape = nullptr) const;

  /// Turns dh [T, H], the gradient of what forward() left in h, into that of what it found there, and adds the
  /// gradients of the weights. Rows are those of the recorded forward: whole sequences, one after another. Only of
  /// blocks with sub-norms and ternary layers (require_bitnet_blocks).
  void backward(tensor::MutableMatrix dh, const BlockTape& tape, std::span<const Sequence> sequences,
                const RopeTable& rope, BackwardWork& work, const BlockGradients& gradients) const;

 private:
  /// What a norm reads.
  struct NormInput {
    tensor::MatrixView x;
    const NormWeight& weight;
    std::string_view name;
  };

  void project_normed(const NormInput& input, tensor::QuantisedRows& quantised,
                      std::initializer_list<Projection> layers, Workspace& work, LayerObserver* observer) const;
  void project_gated(BlockTape& kept, Workspace& work, LayerObserver* observer) const;
  void write_cache(Workspace& work, BlockTape& tape, const RopeTable& rope) const;
  void attend(const Workspace& work, BlockTape& tape) const;
  void attention_backward(tensor::MutableMatrix dh, const BlockTape& tape, std::span<const Sequence> sequences,
                          const RopeTable& rope, BackwardWork& work, const BlockGradients& gradients) const;
  void feed_forward_backward(tensor::MutableMatrix dh, const BlockTape& tape, BackwardWork& work,
                             const BlockGradients& gradients) const;
  void attend_backward(const BlockTape& tape, std::span<const Sequence> sequences, const RopeTable& rope,
                       BackwardWork& work) const;

  const Config& config_;
  const BlockWeights& weights_;
  std::int64_t layer_;
  Linear q_, k_, v_, o_, gate_, up_, down_;
};

}  // namespace rpt::model

// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <optional>
#include <vector>

#include "rpt/core/aligned_buffer.h"
#include "rpt/model/kv_cache.h"
#include "rpt/model/weights.h"
#include "rpt/tensor/ops.h"
#include "rpt/tensor/product.h"

/// What the backward passes beside the forwards of layers.h share.
namespace rpt::model {

/// Where the gradients of a block's weights are added, by the weights' names and in their shapes; norms are [1, n].
struct BlockGradients {
  tensor::MutableMatrix attn_norm, attn_q, attn_k, attn_v, attn_sub_norm, attn_output;
  tensor::MutableMatrix ffn_norm, ffn_gate, ffn_up, ffn_sub_norm, ffn_down;
};

/// The same for all weights. visit_weights() goes over it as over Weights.
struct Gradients {
  tensor::MutableMatrix token_embd;
  std::vector<BlockGradients> blocks;
  tensor::MutableMatrix output_norm;
  std::optional<tensor::MutableMatrix> head;
};

/// How the products of a backward pass are computed.
enum class BackwardType : std::uint8_t {
  f32,   ///< in float
  bf16,  ///< gradients rounded to bf16, sums in float
};

/// A sequence that a recorded forward ran from its first position: rows [first_row, first_row + length).
struct Sequence {
  KvCache* cache = nullptr;
  std::int64_t first_row = 0;
  std::int64_t length = 0;
};

/// Scratch of a training step, kept between calls: of its backward pass and of the dense products of a quantisation
/// warm-up.
class BackwardWork {
 public:
  explicit BackwardWork(BackwardType type) : type_(type) {}
  BackwardType type() const { return type_; }

  /// λ of a quantisation warm-up, 0 … 1: y = (1 − λ) · dense + λ · ternary. At 1 nothing dense is computed. Recorded
  /// forward and backward of a step must see the same value.
  float ternary_share = 1;
  bool warms_up() const { return ternary_share != 1; }

  /// The values of quantised x [T, K], as BitLinear::backward wants them; one call serves all layers that share x.
  void load_input(const tensor::QuantisedRows& x);
  /// The same [T, K].
  tensor::Operand input() const { return input_; }
  /// The codes of packed weights [N, K].
  tensor::Operand codes(const tensor::PackedTernaryView& weights);
  /// The latents of a weight [N, K], which must be stored in bf16. Takes the room of codes().
  tensor::Operand latents(const TernaryWeight& weight);
  /// dy [T, N], row t multiplied by factors[t], or as it is where there are none.
  tensor::Operand rows(tensor::MatrixView dy, const std::vector<float>* factors);

  // Gradients of activations, named after them.
  tensor::Tensor normed;     ///< [T, H], [T, A·D] or [T, F]
  tensor::Tensor attended;   ///< [T, A·D]
  tensor::Tensor query;      ///< [T, A·D]
  tensor::Tensor key;        ///< [T, G·D]
  tensor::Tensor value;      ///< [T, G·D]
  tensor::Tensor activated;  ///< [T, F] the product of gate and up, computed again, then its gradient
  tensor::Tensor gate;       ///< [T, F]
  tensor::Tensor up;         ///< [T, F]

  tensor::Tensor dense;  ///< [T, N] the dense product of a linear during a warm-up

 private:
  /// Room for [rows, columns] numbers of the type of this pass.
  tensor::Operand reserve(core::AlignedBuffer<float>& buffer, std::int64_t rows, std::int64_t columns) const;

  BackwardType type_;
  tensor::Operand input_;
  core::AlignedBuffer<float> input_values_, code_values_, gradient_values_;
};

}  // namespace rpt::model

// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "rpt/core/aligned_buffer.h"
#include "rpt/model/backward.h"
#include "rpt/model/weights.h"

namespace rpt::train {

/// The head and the cross-entropy behind it, forward and backward, a few tokens at a time, so that logits [T, V] never
/// stand in memory at once.
class HeadLoss {
 public:
  /// bf16 computes the three products of the head from bf16 values with float sums, a relief of the training step only
  /// (docs/forward.md, "Backward"); f32, which also runs where the processor has no bf16 (model::runnable), computes
  /// the forward contract's logits. int8 computes logits as bf16 does here; the gradient's part through what is not the
  /// target goes through int8 products, where `work` is of int8 (else bf16). Both need a head stored in bf16.
  /// Throws: as runnable().
  explicit HeadLoss(model::BackwardType type);

  /// Σ NLL (nats) of the targets ≥ 0; writes dhidden [T, H] = weight · dΣ/dhidden and adds weight · dΣ/dE to
  /// dhead [V, H], or writes it where `overwrites` (T at least 1). Throws: ShapeError where sizes do not fit or a
  /// target is outside the vocabulary.
  double add(const model::EmbeddingWeight& head, tensor::MatrixView hidden, std::span<const std::int32_t> targets,
             float weight, model::BackwardWork& work, tensor::MutableMatrix dhidden, tensor::MutableMatrix dhead,
             bool overwrites = false);

  /// Most rows of logits [rows, V] that are held at once.
  static std::int64_t rows_at_once(std::int64_t vocabulary);

 private:
  double add_rows(const model::EmbeddingWeight& head, tensor::MatrixView hidden, std::span<const std::int32_t> targets,
                  float weight, model::BackwardWork& work, tensor::MutableMatrix dhidden, tensor::MutableMatrix dhead,
                  bool overwrites);
  /// The gradients of logits_, which hold those of the logits but for the targets', which target_gradients_ hold.
  void add_int8_gradients(const tensor::StoredView& head, tensor::MatrixView hidden,
                          std::span<const std::int32_t> targets, model::BackwardWork& work,
                          tensor::MutableMatrix dhidden, tensor::MutableMatrix dhead, bool overwrites);

  model::BackwardType type_;
  bool wide_;  ///< the head's values are read as floats
  tensor::Tensor logits_;
  tensor::Tensor wide_head_;                             ///< f32: the head as the forward reads it
  core::AlignedBuffer<std::uint16_t> hidden_, dlogits_;  ///< bf16
  std::vector<float> target_gradients_;                  ///< [T], of int8
  tensor::QuantisedRows states_;                         ///< hidden states, of int8
};

}  // namespace rpt::train

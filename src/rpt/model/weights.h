// SPDX-License-Identifier: MIT
#pragma once
#include <atomic>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "rpt/core/aligned_buffer.h"
#include "rpt/model/config.h"
#include "rpt/tensor/ops.h"
#include "rpt/tensor/view.h"
#include "rpt/ternary/layouts.h"
#include "rpt/ternary/scale_rules.h"

namespace rpt::model {

/// Where a stored tensor came from, for errors: file, its name there, offset of its bytes.
struct Origin {
  std::string file;
  std::string tensor;
  std::uint64_t offset = 0;
};

/// How a file stores ternary codes that the forward reads in one form only.
struct StoredForm {
  std::int64_t rope_pairs = 0;  ///< size of the heads whose rows stand in pairs (row_order.h); 0: in halves
  ternary::I2sLayout i2_s = ternary::I2sLayout::x86;
};

/// The ternary weights [N, K] of one BitLinear: either codes with a scale that the file holds (rule `stored`), or
/// latents from which both follow (rule `online_absmean`). Codes are prepared at first use, so that opening a file
/// reads no weights; preparing also checks them. Safe to use from several threads.
class TernaryWeight {
 public:
  TernaryWeight() = default;

  /// Codes of the file, used in place unless `form` has them put in order first. For i2_s, tq1_0 and tq2_0
  /// `codes.scale` is found in the tensor at first use.
  static TernaryWeight stored(Origin origin, tensor::PackedTernaryView codes, StoredForm form = {});
  /// Latents, quantised at first use by online_absmean. Where they `may_be_snapped`, as in a GGUF, latents whose values
  /// are all 0 or ±s for one s are `stored` instead.
  static TernaryWeight latent(Origin origin, tensor::StoredView latents, bool may_be_snapped);

  std::int64_t rows() const;
  std::int64_t columns() const;
  const Origin& origin() const { return origin_; }

  /// Codes and scale. Throws: FormatError for an invalid code, TQ blocks that do not share a scale, a scale or latent
  /// that is not finite.
  const tensor::PackedTernaryView& codes() const;
  /// How codes and scale came about.
  ternary::ScaleRule rule() const;
  /// The latents as stored, where the file holds latents that are not snapped.
  std::optional<tensor::StoredView> latents() const;
  /// Latents as the file holds them, snapped or not, without preparing anything; data is null where it holds codes.
  const tensor::StoredView& stored_latents() const { return latent_; }
  /// The type of the tensor in its file.
  tensor::DType stored_type() const { return latent_.data != nullptr ? latent_.type : packed_.type; }
  /// Bytes of the tensor in its file.
  std::uint64_t stored_bytes() const { return latent_.data != nullptr ? latent_.bytes : packed_.bytes; }

 private:
  struct Prepared {
    std::once_flag once;
    tensor::PackedTernaryView view;
    ternary::PackedTernary owned;
    ternary::ScaleRule rule = ternary::ScaleRule::stored;
  };
  void prepare() const;
  void prepare_stored() const;
  void put_in_order(tensor::PackedTernaryView& view) const;
  void prepare_latent() const;

  Origin origin_;
  tensor::PackedTernaryView packed_;
  tensor::StoredView latent_;
  StoredForm form_;
  bool may_be_snapped_ = false;
  std::unique_ptr<Prepared> prepared_;
};

/// Dense weights [N, K] of any type that tensor::is_dense, used in place (rows in rope pairs are copied in order). At
/// first use the values are checked: one that the forward cannot read is an error that names the tensor. Safe to use
/// from several threads.
class DenseWeight {
 public:
  DenseWeight() = default;
  /// `rope_pairs` is the size of the heads whose rows stand in pairs (row_order.h), 0 where they stand in halves.
  DenseWeight(Origin origin, tensor::StoredView values, std::int64_t rope_pairs = 0)
      : DenseWeight(std::move(origin), values, tensor::Bf16::exact, rope_pairs) {}

  const Origin& origin() const { return origin_; }
  /// The values as the forward reads them, checked. Throws: FormatError for an infinity or a NaN.
  const tensor::StoredView& values() const;
  /// The values as stored, neither checked nor put in order.
  const tensor::StoredView& unchecked() const { return values_; }
  /// What a bf16 value counts as.
  tensor::Bf16 bf16() const { return bf16_; }

 protected:
  DenseWeight(Origin origin, tensor::StoredView values, tensor::Bf16 bf16, std::int64_t rope_pairs);

 private:
  struct Prepared {
    std::once_flag once;
    tensor::StoredView view;
    core::AlignedBuffer<std::byte> owned;
  };
  void check() const;

  Origin origin_;
  tensor::StoredView values_;
  tensor::Bf16 bf16_ = tensor::Bf16::exact;
  std::int64_t rope_pairs_ = 0;
  std::unique_ptr<Prepared> prepared_;
};

/// The embedding or an untied head [V, H]: dense weights whose bf16 values are read as f16, so that one beyond 65,504
/// is an error too.
class EmbeddingWeight : public DenseWeight {
 public:
  EmbeddingWeight() = default;
  EmbeddingWeight(Origin origin, tensor::StoredView values)
      : DenseWeight(std::move(origin), values, tensor::Bf16::as_f16, 0) {}
};

/// Gains of an RMSNorm [n], widened to float.
struct NormWeight {
  Origin origin;
  std::vector<float> gain;
  tensor::DType stored_type = tensor::DType::f32;
};

/// The weights of a linear layer, which is ternary (a BitLinear) or dense, and, where the file has one, the factor {1}
/// that multiplies its output last.
struct LinearWeight {
  TernaryWeight weight;  ///< without content where the layer is dense
  std::optional<float> output_scale;
  std::optional<DenseWeight> dense;

  bool ternary() const { return !dense; }
  std::int64_t rows() const { return dense ? dense->unchecked().rows : weight.rows(); }
  std::int64_t columns() const { return dense ? dense->unchecked().columns : weight.columns(); }
  /// Type and bytes of the tensor in its file.
  tensor::DType stored_type() const { return dense ? dense->unchecked().type : weight.stored_type(); }
  std::uint64_t stored_bytes() const { return dense ? dense->unchecked().bytes : weight.stored_bytes(); }
};

/// The weights of one block, by GGUF's names.
struct BlockWeights {
  NormWeight attn_norm;      ///< [H]
  LinearWeight attn_q;       ///< [A·D, H]
  LinearWeight attn_k;       ///< [G·D, H]
  LinearWeight attn_v;       ///< [G·D, H]
  NormWeight attn_sub_norm;  ///< [A·D]; empty where the blocks have no sub-norms
  LinearWeight attn_output;  ///< [H, A·D]
  NormWeight ffn_norm;       ///< [H]
  LinearWeight ffn_gate;     ///< [F, H]
  LinearWeight ffn_up;       ///< [F, H]
  NormWeight ffn_sub_norm;   ///< [F]; the same
  LinearWeight ffn_down;     ///< [H, F]
};

/// All named weights of a model.
struct Weights {
  EmbeddingWeight token_embd;           ///< [V, H]
  std::vector<BlockWeights> blocks;     ///< [L]
  bool sub_norms = true;                ///< whether the blocks have attn_sub_norm and ffn_sub_norm
  NormWeight output_norm;               ///< [H]
  std::optional<EmbeddingWeight> head;  ///< [V, H], absent where tied

  /// The weights that logits are made with.
  const EmbeddingWeight& output() const { return head ? *head : token_embd; }
};

/// The visitor over all named weights, in the order in which files hold them: calls visit(name, weight) with GGUF's
/// name without ".weight" ("token_embd", "blk.0.attn_norm", …, "output_norm", "output") and an EmbeddingWeight,
/// NormWeight or LinearWeight. W is Weights or const Weights.
template <typename W, typename Visit>
void visit_weights(W& weights, Visit&& visit) {
  visit(std::string("token_embd"), weights.token_embd);
  for (std::size_t i = 0; i < weights.blocks.size(); ++i) {
    auto& b = weights.blocks[i];
    const std::string prefix = "blk." + std::to_string(i) + ".";
    visit(prefix + "attn_norm", b.attn_norm);
    visit(prefix + "attn_q", b.attn_q);
    visit(prefix + "attn_k", b.attn_k);
    visit(prefix + "attn_v", b.attn_v);
    if (weights.sub_norms) visit(prefix + "attn_sub_norm", b.attn_sub_norm);
    visit(prefix + "attn_output", b.attn_output);
    visit(prefix + "ffn_norm", b.ffn_norm);
    visit(prefix + "ffn_gate", b.ffn_gate);
    visit(prefix + "ffn_up", b.ffn_up);
    if (weights.sub_norms) visit(prefix + "ffn_sub_norm", b.ffn_sub_norm);
    visit(prefix + "ffn_down", b.ffn_down);
  }
  visit(std::string("output_norm"), weights.output_norm);
  if (weights.head) visit(std::string("output"), *weights.head);
}

/// Shape [rows, columns] that a named weight must have; norms are [1, n]. Throws: LogicError for an unknown name.
std::pair<std::int64_t, std::int64_t> expected_shape(const std::string& name, const Config& config);

/// GGUF's name without ".weight" → Hugging Face's with it ("blk.3.attn_q" → "model.layers.3.self_attn.q_proj.weight").
/// Throws: LogicError for an unknown name.
std::string hf_tensor_name(const std::string& name, HfFamily family = HfFamily::bitnet);

}  // namespace rpt::model

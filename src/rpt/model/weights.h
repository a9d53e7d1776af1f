// SPDX-License-Identifier: MIT
#pragma once
#include <atomic>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "rpt/model/config.h"
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

/// The ternary weights [N, K] of one BitLinear: either codes with a scale that the file holds (rule `stored`), or
/// latents from which both follow (rule `online_absmean`). Codes are prepared at first use, so that opening a file
/// reads no weights; preparing also checks them. Safe to use from several threads.
class TernaryWeight {
 public:
  TernaryWeight() = default;

  /// Codes of the file, used in place. For tq1_0 and tq2_0 `codes.scale` is found in the blocks at first use.
  static TernaryWeight stored(Origin origin, tensor::PackedTernaryView codes);
  /// Latents of the file, quantised at first use by online_absmean. In a GGUF (`may_be_snapped`) latents whose values
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
  void prepare_latent() const;

  Origin origin_;
  tensor::PackedTernaryView packed_;
  tensor::StoredView latent_;
  bool may_be_snapped_ = false;
  std::unique_ptr<Prepared> prepared_;
};

/// The embedding or an untied head [V, H]: f32, f16, bf16 (read as f16), q8_0 or q6_k, used in place. At first use its
/// values are checked: a value that f16 cannot hold is an error that names the tensor.
class EmbeddingWeight {
 public:
  EmbeddingWeight() = default;
  EmbeddingWeight(Origin origin, tensor::StoredView values);

  const Origin& origin() const { return origin_; }
  /// The values as stored, checked. Throws: FormatError for an infinity, a NaN, or a bf16 value beyond 65,504.
  const tensor::StoredView& values() const;
  /// The values as stored, not yet checked.
  const tensor::StoredView& unchecked() const { return values_; }

 private:
  Origin origin_;
  tensor::StoredView values_;
  std::unique_ptr<std::once_flag> once_;
};

/// Gains of an RMSNorm [n], widened to float.
struct NormWeight {
  Origin origin;
  std::vector<float> gain;
  tensor::DType stored_type = tensor::DType::f32;
};

/// A BitLinear's weights and, where the file has one, the factor {1} that multiplies its output last.
struct LinearWeight {
  TernaryWeight weight;
  std::optional<float> output_scale;
};

/// The weights of one block, by GGUF's names.
struct BlockWeights {
  NormWeight attn_norm;      ///< [H]
  LinearWeight attn_q;       ///< [A·D, H]
  LinearWeight attn_k;       ///< [G·D, H]
  LinearWeight attn_v;       ///< [G·D, H]
  NormWeight attn_sub_norm;  ///< [A·D]
  LinearWeight attn_output;  ///< [H, A·D]
  NormWeight ffn_norm;       ///< [H]
  LinearWeight ffn_gate;     ///< [F, H]
  LinearWeight ffn_up;       ///< [F, H]
  NormWeight ffn_sub_norm;   ///< [F]
  LinearWeight ffn_down;     ///< [H, F]
};

/// All named weights of a model.
struct Weights {
  EmbeddingWeight token_embd;           ///< [V, H]
  std::vector<BlockWeights> blocks;     ///< [L]
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
    visit(prefix + "attn_sub_norm", b.attn_sub_norm);
    visit(prefix + "attn_output", b.attn_output);
    visit(prefix + "ffn_norm", b.ffn_norm);
    visit(prefix + "ffn_gate", b.ffn_gate);
    visit(prefix + "ffn_up", b.ffn_up);
    visit(prefix + "ffn_sub_norm", b.ffn_sub_norm);
    visit(prefix + "ffn_down", b.ffn_down);
  }
  visit(std::string("output_norm"), weights.output_norm);
  if (weights.head) visit(std::string("output"), *weights.head);
}

/// Shape [rows, columns] that a named weight must have; norms are [1, n]. Throws: LogicError for an unknown name.
std::pair<std::int64_t, std::int64_t> expected_shape(const std::string& name, const Config& config);

/// GGUF's name without ".weight" → Hugging Face's with it ("blk.3.attn_q" → "model.layers.3.self_attn.q_proj.weight").
/// Throws: LogicError for an unknown name.
std::string hf_tensor_name(const std::string& name);

}  // namespace rpt::model

// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <functional>
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
  static constexpr bool sub_norms = true;  ///< other blocks are not trained
  tensor::MutableMatrix token_embd;
  std::vector<BlockGradients> blocks;
  tensor::MutableMatrix output_norm;
  std::optional<tensor::MutableMatrix> head;
};

/// How the products of a backward pass are computed.
enum class BackwardType : std::uint8_t {
  f32,   ///< in float
  bf16,  ///< gradients rounded to bf16, sums in float
  int8,  ///< gradients rounded to int8 at random, right on average, sums exact; only where tensor::multiplies_int8()
};

/// "f32", "bf16", "int8".
std::string_view name(BackwardType type);
/// The type of that name. Throws ConfigError for any other text.
BackwardType parse_backward_type(std::string_view text);
/// Whether the products of attention's gradients, of heads of that size, run in bf16 as those of linears do.
bool attention_in_bf16(BackwardType type, std::int64_t head_size);
/// What runs here where `type` is asked for: f32 instead of bf16 where the processor does not multiply bf16 numbers
/// itself. Throws EnvironmentError for int8 where it has no exact int8 products.
BackwardType runnable(BackwardType type);

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
  /// Of type runnable(type). Throws as that.
  explicit BackwardWork(BackwardType type);
  /// In force: int8 becomes bf16, or what runs instead, while quantisation warms up.
  BackwardType type() const { return type_ == BackwardType::int8 && warms_up() ? dense_type_ : type_; }

  /// attention_in_bf16 of this pass.
  bool attention_in_bf16(std::int64_t head_size) const { return model::attention_in_bf16(type_, head_size); }

  /// Gradients of linears are written in place of what is there instead of being added to it.
  bool overwrites = false;

  /// λ of a quantisation warm-up, 0 … 1: y = (1 − λ) · dense + λ · ternary. At 1 nothing dense is computed. Recorded
  /// forward and backward of a step must see the same value.
  float ternary_share = 1;
  bool warms_up() const { return ternary_share != 1; }

  /// To be called where a training step begins: the random numbers of int8 depend on both, and on what came since.
  void begin_step(std::uint64_t seed, std::int64_t step);

  /// The values of quantised x [T, K], as BitLinear::backward wants them; one call serves all layers that share x.
  void load_input(const tensor::QuantisedRows& x);
  /// The same [T, K].
  tensor::Operand input() const { return input_; }
  /// The codes of packed weights [N, K].
  tensor::Operand codes(const tensor::PackedTernaryView& weights);
  /// The latents of a weight [N, K], which must be stored in bf16. Takes the room of codes().
  tensor::Operand latents(const TernaryWeight& weight);
  /// dy [T, N] as it is, and with row t multiplied by a factor.
  struct Gradient {
    tensor::Operand plain, scaled;
  };
  /// dy in the type of this pass. Not for int8. Holds until the next call.
  Gradient rows(tensor::MatrixView dy, std::span<const float> factors);

  /// A gradient as int8 codes [T, N]: row_step_t · row_codes_tn and, row t multiplied by a factor,
  /// column_step_n · column_codes_tn.
  struct Int8Gradient {
    tensor::Operand row_codes, column_codes;
    std::span<const float> row_steps, column_steps;
  };
  /// dy [T, N] rounded, factors[t] as in rows(). Not finite values show in the steps. Holds until the next call.
  Int8Gradient int8_rows(tensor::MatrixView dy, std::span<const float> factors);

  /// A dense head [V, H] as int8 codes: column_step_h · codes_vh.
  struct Int8Head {
    tensor::Operand codes;
    std::span<const float> column_steps;
  };
  /// The head rounded at random, once a step: it must not change before the next begin_step(). Only for int8. Not
  /// finite values show in the steps.
  Int8Head int8_head(const tensor::StoredView& head);

  // Gradients of activations, named after them.
  tensor::Tensor normed;    ///< [T, H], [T, A·D] or [T, F]
  tensor::Tensor attended;  ///< [T, A·D]
  tensor::Tensor query;     ///< [T, A·D]
  tensor::Tensor key;       ///< [T, G·D]
  tensor::Tensor value;     ///< [T, G·D]
  tensor::Tensor gate;      ///< [T, F]
  tensor::Tensor up;        ///< [T, F]

  tensor::Tensor dense;  ///< [T, N] the dense product of a linear during a warm-up

 private:
  /// Room for [rows, columns] numbers of the type of this pass.
  tensor::Operand reserve(core::AlignedBuffer<float>& buffer, std::int64_t rows, std::int64_t columns) const;
  /// The key of a row's random numbers in the present call of int8_rows() or int8_head().
  std::uint32_t row_key(std::int64_t row) const;
  /// Steps of rows and of columns into row_steps_ and column_steps_, inverses of the latter into column_inverses_.
  void find_steps(tensor::MatrixView dy, std::span<const float> factors);
  /// Calls visit(row, maxima) for every row, `part` of which share maxima; what it leaves in maxima [columns] becomes
  /// `steps`, and their inverses column_inverses_.
  void find_column_steps(std::int64_t rows, std::int64_t part, std::int64_t columns, std::vector<float>& steps,
                         const std::function<void(std::int64_t row, float* maxima)>& visit);
  /// The head's codes and steps into head_codes_ and head_steps_.
  void round_head(const tensor::StoredView& head);

  BackwardType type_, dense_type_;
  tensor::Operand input_;
  core::AlignedBuffer<float> input_values_, code_values_, gradient_values_, column_values_;
  std::vector<float> row_steps_, column_steps_, column_inverses_;
  tensor::Tensor column_maxima_;                 ///< [parts, N]
  core::AlignedBuffer<std::int8_t> head_codes_;  ///< [V, H]
  std::vector<float> head_steps_;
  bool head_is_rounded_ = false;  ///< in this step
  std::uint64_t seed_ = 0;
  std::int64_t step_ = 0;
  std::uint32_t calls_ = 0;  ///< of int8_rows and int8_head in this step
};

}  // namespace rpt::model

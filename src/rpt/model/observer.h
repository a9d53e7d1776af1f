// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <string_view>

#include "rpt/tensor/view.h"

namespace rpt::model {

/// Sees the activations that pass through a decoder, as they are made. Called on the thread that runs the forward.
class LayerObserver {
 public:
  virtual ~LayerObserver() = default;
  /// `name` is GGUF's name of the part whose output `values` [T, n] is ("attn_norm", "attn_q", …, "ffn_down",
  /// "output_norm"), "embedding" or "block" for the residual stream; `layer` is −1 outside of blocks.
  virtual void activation(std::string_view name, std::int64_t layer, tensor::MatrixView values) = 0;
};

}  // namespace rpt::model

// SPDX-License-Identifier: MIT
#include <array>
#include <string_view>

#include "rpt/core/error.h"
#include "rpt/model/weights.h"

namespace rpt::model {
namespace {

/// One kind of tensor of a block: its names in both worlds and its shape.
struct BlockTensor {
  std::string_view gguf;
  std::string_view huggingface;
  std::string_view one_bit;             ///< where HfFamily::one_bit names it otherwise
  std::int64_t (*rows)(const Config&);  ///< null for a vector
  std::int64_t (*columns)(const Config&);
};

constexpr auto kHidden = [](const Config& c) { return c.hidden; };
constexpr auto kFeedForward = [](const Config& c) { return c.feed_forward; };
constexpr auto kQuery = [](const Config& c) { return c.query_size(); };
constexpr auto kKeyValue = [](const Config& c) { return c.kv_size(); };

constexpr std::array<BlockTensor, 11> kBlockTensors{{
    {"attn_norm", "input_layernorm", "", nullptr, kHidden},
    {"attn_q", "self_attn.q_proj", "", kQuery, kHidden},
    {"attn_k", "self_attn.k_proj", "", kKeyValue, kHidden},
    {"attn_v", "self_attn.v_proj", "", kKeyValue, kHidden},
    {"attn_sub_norm", "self_attn.attn_sub_norm", "self_attn.inner_attn_ln", nullptr, kQuery},
    {"attn_output", "self_attn.o_proj", "", kHidden, kQuery},
    {"ffn_norm", "post_attention_layernorm", "", nullptr, kHidden},
    {"ffn_gate", "mlp.gate_proj", "", kFeedForward, kHidden},
    {"ffn_up", "mlp.up_proj", "", kFeedForward, kHidden},
    {"ffn_sub_norm", "mlp.ffn_sub_norm", "mlp.ffn_layernorm", nullptr, kFeedForward},
    {"ffn_down", "mlp.down_proj", "", kHidden, kFeedForward},
}};

/// "blk.12.attn_q" → ("12", its entry).
std::pair<std::string_view, const BlockTensor*> find_block_tensor(std::string_view name) {
  if (!name.starts_with("blk.")) return {{}, nullptr};
  name.remove_prefix(4);
  const auto dot = name.find('.');
  if (dot == std::string_view::npos) return {{}, nullptr};
  for (const BlockTensor& t : kBlockTensors) {
    if (t.gguf == name.substr(dot + 1)) return {name.substr(0, dot), &t};
  }
  return {{}, nullptr};
}

}  // namespace

std::pair<std::int64_t, std::int64_t> expected_shape(const std::string& name, const Config& config) {
  if (name == "token_embd" || name == "output") return {config.vocabulary, config.hidden};
  if (name == "output_norm") return {1, config.hidden};
  const auto [layer, entry] = find_block_tensor(name);
  RPT_CHECK(entry != nullptr, "no tensor is named {}", name);
  return {entry->rows == nullptr ? 1 : entry->rows(config), entry->columns(config)};
}

std::string hf_tensor_name(const std::string& name, HfFamily family) {
  if (name == "token_embd") return "model.embed_tokens.weight";
  if (name == "output") return "lm_head.weight";
  if (name == "output_norm") return "model.norm.weight";
  const auto [layer, entry] = find_block_tensor(name);
  RPT_CHECK(entry != nullptr, "no tensor is named {}", name);
  const bool other = family == HfFamily::one_bit && !entry->one_bit.empty();
  return fmt::format("model.layers.{}.{}.weight", layer, other ? entry->one_bit : entry->huggingface);
}

}  // namespace rpt::model

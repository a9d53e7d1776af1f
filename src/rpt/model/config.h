// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace rpt::model {

/// What stands between gate and up of the feed-forward layer.
enum class Activation : std::uint8_t { relu2, silu };

/// Shape and constants of a decoder.
/// Letters used in this room: L layers, H hidden, F feed-forward, A query heads, G key/value heads, D head size,
/// V vocabulary, T tokens, S positions in the cache.
struct Config {
  std::string architecture = "bitnet-b1.58";  ///< GGUF's name: bitnet-b1.58, bitnet-25 (relu²), bitnet, llama (SiLU)
  std::string name;                           ///< general.name, or the folder's name
  Activation activation = Activation::relu2;
  bool sub_norms = true;  ///< BitNet's norms before attn_output and ffn_down; llama has none
  std::int64_t hidden = 0;
  std::int64_t feed_forward = 0;
  std::int64_t layers = 0;
  std::int64_t heads = 0;
  std::int64_t kv_heads = 0;
  std::int64_t head_size = 0;
  std::int64_t vocabulary = 0;
  std::int64_t context = 0;
  float norm_epsilon = 1e-5F;
  double rope_theta = 10000.0;
  bool tied_head = true;
  std::optional<std::int32_t> bos_id;
  std::vector<std::int32_t> eos_ids;
  std::optional<std::int32_t> pad_id;

  std::int64_t kv_size() const { return kv_heads * head_size; }
  std::int64_t query_size() const { return heads * head_size; }
};

/// Checks that the sizes fit together and lie within the limits of this program (K ≤ 132,104, so that every integer dot
/// is exact in float). Throws: ConfigError naming `source` and the property.
void validate(const Config& config, const std::string& source);

/// How a Hugging Face directory says its linear layers are stored.
enum class QuantizationMode : std::uint8_t {
  online,   ///< latents, quantised anew in every forward
  offline,  ///< packed uint8 and weight_scale
};

/// What a Hugging Face directory calls its linear layers.
enum class LinearClass : std::uint8_t {
  dense,          ///< no quantization_config
  autobitlinear,  ///< weight_scale multiplies
  bitlinear,      ///< weight_scale divides
};

/// Whose names and defaults a directory has.
enum class HfFamily : std::uint8_t {
  bitnet,   ///< transformers' BitNetForCausalLM
  one_bit,  ///< 1bitLLM's BitnetForCausalLM: latents, sub-norms by other names
  llama,    ///< LlamaForCausalLM
};

/// What config.json says.
struct HfConfig {
  Config config;
  HfFamily family = HfFamily::bitnet;
  LinearClass linear_class = LinearClass::autobitlinear;
  QuantizationMode mode = QuantizationMode::online;
  std::string dtype = "bfloat16";
};

/// Reads config.json; both homes of rope_theta and dtype (transformers 4 and 5).
/// Throws: FormatError for malformed JSON or a property of the wrong type, ConfigError for a model that is not
/// supported (another model_type, a rope_type other than default, biases, another quantisation, norms inside linears).
HfConfig parse_hf_config(std::string_view json, const std::string& file);

/// Writes config.json as transformers reads it.
std::string to_hf_config_json(const HfConfig& config);

}  // namespace rpt::model

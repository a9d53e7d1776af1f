// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "rpt/model/config.h"
#include "rpt/model/weights.h"
#include "rpt/text/tokenizer.h"

namespace rpt::model {

/// A checkpoint as it was opened: shape, named weights in place, vocabulary. Neither copied nor moved, since decoders
/// refer to it.
struct Model {
  Model() = default;
  Model(const Model&) = delete;
  Model& operator=(const Model&) = delete;

  std::filesystem::path path;
  std::string format;  ///< "gguf", "huggingface", "llama2.c"
  Config config;
  Weights weights;
  std::optional<text::Tokenizer> tokenizer;  ///< absent for files without a vocabulary
  std::string tokenizer_fault;               ///< why there is no tokenizer although the file names a vocabulary
  std::string tokenizer_config_json;         ///< tokenizer_config.json as it was read; empty where there was none
  std::string chat_template;                 ///< Jinja source; empty where the model has none
  /// What a chat template finds as bos_token and eos_token: tokenizer_config.json's where there is one, else the
  /// vocabulary's.
  std::optional<std::string> chat_bos_token, chat_eos_token;
  std::vector<std::string> warnings;                 ///< what a user should know about this file, a line each
  std::vector<std::shared_ptr<const void>> storage;  ///< mapped files and buffers that the weights point into

  bool adds_bos = false;               ///< the vocabulary's rule, or tokenizer_config.json's where that is given
  std::optional<std::int32_t> bos_id;  ///< id that stands before a text
  std::vector<std::int32_t> end_ids;   ///< every id that ends a generated text

  /// The vocabulary. Throws ConfigError naming the file where it holds none.
  const text::Tokenizer& vocabulary() const;
};

/// What a directory of latents that are 0 and ±s already is taken for.
enum class ScaleReading : std::uint8_t {
  declared,  ///< what it declares: online latents are quantised again, which shrinks the scale
  stored,    ///< s is the scale
};

/// What a user knows better than the file says.
struct OpenOptions {
  ScaleReading scale = ScaleReading::declared;        ///< of Hugging Face directories that declare online
  ternary::I2sLayout i2_s = ternary::I2sLayout::x86;  ///< of the I2_S tensors of a GGUF file
  /// What a GGUF file should have said; empty: as it says. Keys keep the prefix of the architecture that it names.
  std::string architecture = {};
  std::string pre_tokenizer = {};  ///< the same, of tokenizer.ggml.pre
  std::string config_json = {};    ///< text that stands for a Hugging Face directory's config.json; empty: its own
};

/// Opens a GGUF file, a Hugging Face directory or a checkpoint of llama2.c. Header and vocabulary are read, weights are
/// mapped. Throws: IoError, FormatError, ConfigError.
std::unique_ptr<Model> open_model(const std::filesystem::path& path, const OpenOptions& options = {});

/// Opens a vocabulary alone: that of a GGUF file, whatever its architecture, or of a folder with a tokenizer.json or
/// tokenizer.model; or one of these two files itself, or llama2.c's tokenizer.bin. What a user should know is added to
/// `warnings`. Throws: IoError, FormatError, ConfigError.
text::Tokenizer open_vocabulary(const std::filesystem::path& path, std::vector<std::string>& warnings);

/// The readers behind open_model.
std::unique_ptr<Model> open_gguf(const std::filesystem::path& path, const OpenOptions& options = {});
std::unique_ptr<Model> open_huggingface(const std::filesystem::path& folder, const OpenOptions& options = {});
std::unique_ptr<Model> open_llama2c(const std::filesystem::path& path);

/// Checks that every block is BitNet's: ternary linear layers with a norm before each of their inputs. Throws:
/// ConfigError, which names the model, the first layer that is not and `what` needs it ("pruning").
void require_bitnet_blocks(const Model& model, std::string_view what);

}  // namespace rpt::model

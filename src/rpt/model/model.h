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
  std::string format;  ///< "gguf", "huggingface"
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

/// Opens a GGUF file or a Hugging Face directory. Header and vocabulary are read, weights are mapped.
/// Throws: IoError, FormatError, ConfigError.
std::unique_ptr<Model> open_model(const std::filesystem::path& path);

/// Opens a vocabulary alone: that of a GGUF file, whatever its architecture, or of a folder with a tokenizer.json or
/// tokenizer.model; or one of these two files itself, or llama2.c's tokenizer.bin. What a user should know is added to
/// `warnings`. Throws: IoError, FormatError, ConfigError.
text::Tokenizer open_vocabulary(const std::filesystem::path& path, std::vector<std::string>& warnings);

/// The two readers behind open_model.
std::unique_ptr<Model> open_gguf(const std::filesystem::path& path);
std::unique_ptr<Model> open_huggingface(const std::filesystem::path& folder);

}  // namespace rpt::model

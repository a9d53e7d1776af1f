// SPDX-License-Identifier: MIT
#pragma once
#include <filesystem>
#include <set>
#include <string>

#include "rpt/io/gguf.h"
#include "rpt/model/model.h"

namespace rpt::model {

/// Fills the named weights of a model from a file: one load per tensor, whatever the file's format is.
class TensorLoader {
 public:
  virtual ~TensorLoader() = default;

  /// Loads `weight` by GGUF's name without ".weight". Throws: FormatError for a missing tensor, a shape other than
  /// `rows` x `columns`, or a type that it cannot have.
  virtual void load(const std::string& name, std::int64_t rows, std::int64_t columns, EmbeddingWeight& weight) = 0;
  virtual void load(const std::string& name, std::int64_t rows, std::int64_t columns, NormWeight& weight) = 0;
  virtual void load(const std::string& name, std::int64_t rows, std::int64_t columns, LinearWeight& weight) = 0;
};

/// Sizes `weights` by `config` (a head of its own unless tied) and loads each of them.
void load_weights(TensorLoader& loader, const Config& config, Weights& weights);

/// A norm's gains from stored bytes, widened. Throws: FormatError for another type or a gain that is not finite.
NormWeight make_norm(Origin origin, const tensor::StoredView& values);

/// Fills bos_id, adds_bos and end_ids from the vocabulary and the configuration; warns where the vocabulary holds more
/// ids than the embedding has rows.
void settle_special_ids(Model& model);

/// The vocabulary of a GGUF file, or nothing where it holds none. Ids that are none of its `rows` are left out. `pre`
/// wins over the file's tokenizer.ggml.pre unless it is empty. What a user should know is added to `warnings`. Throws:
/// FormatError.
std::optional<text::GgufVocabulary> read_gguf_vocabulary(const io::GgufFile& file,
                                                         const std::shared_ptr<const void>& keep_alive,
                                                         std::int64_t rows, std::vector<std::string>& warnings,
                                                         const std::string& pre = {});

/// The tokenizer.json of a folder, else its tokenizer.model (SentencePiece or tiktoken) with the tokens that
/// added_tokens.json and tokenizer_config.json add to it, else nothing. Throws: as the readers of text::Tokenizer;
/// ConfigError for added tokens that contradict the model file or each other, or cannot be honoured.
std::optional<text::Tokenizer> open_tokenizer_files(const std::filesystem::path& folder);

/// Reads the tokenizer of a Hugging Face directory and everything that its side files say of it: BOS rule, special ids,
/// chat template. Throws: FormatError.
void load_vocabulary(const std::filesystem::path& folder, Model& model);

/// The chat template that a reader finds in the text of a tokenizer_config.json; empty where there is none. Throws:
/// FormatError naming `file`.
std::string chat_template_of(const std::string& tokenizer_config_json, const std::string& file);

}  // namespace rpt::model

// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "rpt/text/tokenizer.h"

namespace rpt::test {

/// The texts of a vocabulary that lies in shared data, as GGUF would hold them.
struct VocabularyTexts {
  std::string arena;
  std::vector<std::string_view> tokens, merges;
  std::vector<std::int32_t> types;
};

/// data/tokenizers/llama3: 128,256 tokens and 280,147 merges.
std::shared_ptr<const VocabularyTexts> llama3_texts();
/// data/tokenizers/gpt2: 50,257 tokens and 50,000 merges.
std::shared_ptr<const VocabularyTexts> gpt2_texts();

text::GgufVocabulary gguf_vocabulary(const std::shared_ptr<const VocabularyTexts>& texts, const std::string& pre);

text::Tokenizer llama3_from_gguf();
text::Tokenizer gpt2_from_gguf();
text::Tokenizer llama3_from_tiktoken();
/// As Hugging Face writes it: merges as pairs or as "left right".
std::string llama3_tokenizer_json(bool merges_as_pairs);

/// A vocabulary with the 256 bytes, some merges, <|begin_of_text|>, <|eot_id|> and <|end_of_text|>.
text::Tokenizer small_tokenizer(const std::string& pre);
std::shared_ptr<const VocabularyTexts> small_texts();

/// The sha256 of ids as little-endian u32.
std::string ids_sha256(const std::vector<std::int32_t>& ids);

}  // namespace rpt::test

// SPDX-License-Identifier: MIT
#include <algorithm>

#include "rpt/core/error.h"
#include "rpt/text/byte_level.h"
#include "rpt/text/tokenizer_state.h"
#include "rpt/text/utf8.h"

namespace rpt::text {

namespace {

/// The tokens as they are written, by id.
std::vector<std::string> token_texts(const BytePairVocabulary& vocabulary, const std::string& name) {
  std::vector<std::string> texts = vocabulary.special_tokens;
  texts.reserve(texts.size() + 256 + vocabulary.merges.size());
  for (const std::uint8_t byte : bytes_by_character()) append_utf8(texts.emplace_back(), byte_to_char(byte));
  for (std::size_t rank = 0; rank < vocabulary.merges.size(); ++rank) {
    const auto [left, right] = vocabulary.merges[rank];
    for (const std::int64_t id : {left, right}) {
      if (id < std::ssize(vocabulary.special_tokens) || id >= std::ssize(texts)) {
        throw FormatError(name, 0, fmt::format("merge {}", rank), "ids of bytes and earlier merges",
                          fmt::format("{}", id));
      }
    }
    texts.push_back(texts[static_cast<std::size_t>(left)] + texts[static_cast<std::size_t>(right)]);
  }
  return texts;
}

}  // namespace

Tokenizer Tokenizer::from_byte_pairs(const BytePairVocabulary& vocabulary, const std::string& name) {
  const auto texts = std::make_shared<const std::vector<std::string>>(token_texts(vocabulary, name));
  std::vector<TokenType> types(texts->size(), TokenType::normal);
  std::fill_n(types.begin(), vocabulary.special_tokens.size(), TokenType::control);

  auto state = std::make_shared<TokenizerState>();
  state->vocabulary = Vocabulary({texts->begin(), texts->end()}, std::move(types), texts, name);
  state->model = BytePairModel(state->vocabulary, {.byte_level = true}, vocabulary.merges.size());
  MergeReader reader(state->vocabulary, state->model, name);
  for (const auto& [left, right] : vocabulary.merges) {
    reader.add(state->vocabulary.text(left), state->vocabulary.text(right));
  }
  reader.finish();
  state->raw_added = added_tokens_of(state->vocabulary);
  state->pre_tokenizer = PreTokenizer(
      {{.pattern = vocabulary.pattern}, {.kind = PreTokenizerStep::Kind::byte_level, .use_regex = false}}, name);
  state->decoder = Decoder({{.kind = DecoderStep::Kind::byte_level}});
  SpecialIds& special = state->special;
  find_special_ids_by_name(state->vocabulary, special);
  special.adds_bos = special.bos && std::count(special.ends.begin(), special.ends.end(), *special.bos) == 0;
  return Tokenizer(std::move(state));
}

}  // namespace rpt::text

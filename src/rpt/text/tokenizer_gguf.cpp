// SPDX-License-Identifier: MIT
#include <algorithm>

#include "rpt/core/error.h"
#include "rpt/text/tokenizer_state.h"
#include "rpt/text/utf8.h"

namespace rpt::text {

namespace {

constexpr std::size_t kLlama3Tokens = 128'256;

const NamedPreTokenizer& pre_tokenizer_of(const GgufVocabulary& gguf) {
  if (!gguf.pre && gguf.tokens.size() != kLlama3Tokens) {
    throw ConfigError(gguf.file + ": tokenizer.ggml.pre is missing, so the pre-tokenizer is unknown");
  }
  const std::string name = gguf.pre.value_or("llama-bpe");
  const NamedPreTokenizer* named = find_pre_tokenizer(name);
  if (named == nullptr)
    throw ConfigError(fmt::format("{}: the pre-tokenizer '{}' is not supported", gguf.file, for_message(name)));
  return *named;
}

std::vector<TokenType> types_of(const GgufVocabulary& gguf) {
  std::vector<TokenType> types(gguf.tokens.size(), TokenType::normal);
  if (gguf.types.empty()) return types;
  if (gguf.types.size() != gguf.tokens.size()) {
    throw FormatError(gguf.file, 0, "key tokenizer.ggml.token_type", fmt::format("{} types", gguf.tokens.size()),
                      fmt::format("{}", gguf.types.size()));
  }
  for (std::size_t i = 0; i < types.size(); ++i) {
    if (gguf.types[i] < 1 || gguf.types[i] > 6) {
      throw FormatError(gguf.file, 0, fmt::format("type of token {}", i), "1 to 6", fmt::format("{}", gguf.types[i]));
    }
    types[i] = static_cast<TokenType>(gguf.types[i]);
  }
  return types;
}

SpecialIds special_ids_of(const GgufVocabulary& gguf, const Vocabulary& vocabulary, bool adds_bos_by_name) {
  const auto checked = [&](const char* key, std::optional<std::int64_t> id) -> std::optional<std::int32_t> {
    if (!id) return std::nullopt;
    if (!vocabulary.holds(*id)) {
      throw FormatError(gguf.file, 0, fmt::format("key tokenizer.ggml.{}_token_id", key),
                        fmt::format("an id below {}", vocabulary.size()), fmt::format("{}", *id));
    }
    return static_cast<std::int32_t>(*id);
  };
  SpecialIds ids;
  ids.bos = checked("bos", gguf.bos_id);
  ids.pad = checked("padding", gguf.pad_id);
  (void)checked("unknown", gguf.unk_id);
  for (const auto& id : {checked("eos", gguf.eos_id), checked("eot", gguf.eot_id), checked("eom", gguf.eom_id)}) {
    if (id && std::find(ids.ends.begin(), ids.ends.end(), *id) == ids.ends.end()) ids.ends.push_back(*id);
  }
  find_special_ids_by_name(vocabulary, ids);
  ids.adds_bos = gguf.add_bos.value_or(adds_bos_by_name);
  if (ids.adds_bos && !ids.bos) {
    throw FormatError(gguf.file, 0, "key tokenizer.ggml.bos_token_id", "an id, because BOS is to be added", "none");
  }
  return ids;
}

std::shared_ptr<TokenizerState> sentence_piece_of(GgufVocabulary& gguf) {
  if (gguf.types.empty() && !gguf.tokens.empty()) {
    throw FormatError(gguf.file, 0, "key tokenizer.ggml.token_type", "an array, because the model is llama", "none");
  }
  SentencePieceParts parts{.file = gguf.file, .types = types_of(gguf), .keep_alive = std::move(gguf.keep_alive)};
  parts.pieces = std::move(gguf.tokens);
  parts.rules = {.scores = std::move(gguf.scores), .space_prefix = gguf.add_space_prefix.value_or(true)};
  auto state = make_sentence_piece(std::move(parts));
  state->special = special_ids_of(gguf, state->vocabulary, true);
  return state;
}

}  // namespace

Tokenizer Tokenizer::from_gguf(GgufVocabulary gguf) {
  if (gguf.model == "llama") return Tokenizer(sentence_piece_of(gguf));
  if (gguf.model != "gpt2") {
    throw ConfigError(fmt::format("{}: the tokenizer model '{}' is not supported", gguf.file, for_message(gguf.model)));
  }
  if (gguf.merges.size() > kMaxMerges) {
    throw FormatError(gguf.file, 0, "key tokenizer.ggml.merges", fmt::format("at most {} merges", kMaxMerges),
                      fmt::format("{}", gguf.merges.size()));
  }
  const NamedPreTokenizer& named = pre_tokenizer_of(gguf);
  auto state = std::make_shared<TokenizerState>();
  std::vector<TokenType> types = types_of(gguf);
  state->vocabulary = Vocabulary(std::move(gguf.tokens), std::move(types), std::move(gguf.keep_alive), gguf.file);
  const BytePairOptions options{.byte_level = true, .ignore_merges = named.ignore_merges};
  state->model = BytePairModel(state->vocabulary, options, gguf.merges.size());
  MergeReader reader(state->vocabulary, state->model, gguf.file);
  for (const std::string_view merge : gguf.merges) reader.add(merge);
  reader.finish();
  state->raw_added = added_tokens_of(state->vocabulary);
  state->pre_tokenizer = PreTokenizer(named.steps, std::string(named.name));
  state->decoder = Decoder({{.kind = DecoderStep::Kind::byte_level}});
  state->special = special_ids_of(gguf, state->vocabulary, named.adds_bos);
  return Tokenizer(std::move(state));
}

}  // namespace rpt::text

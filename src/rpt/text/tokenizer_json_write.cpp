// SPDX-License-Identifier: MIT
#include "rpt/core/error.h"
#include "rpt/text/tokenizer_state.h"

namespace rpt::text {

namespace {

/// Appends a JSON string. The text must be UTF-8, as all texts of a vocabulary are.
void put_quoted(std::string& out, std::string_view text) {
  out += '"';
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (static_cast<unsigned char>(c) < 0x20) {
      out += fmt::format("\\u{:04x}", static_cast<unsigned>(c));
    } else {
      out += c;
    }
  }
  out += '"';
}

std::string quoted(std::string_view text) {
  std::string out;
  put_quoted(out, text);
  return out;
}

/// The steps that named pre-tokenizers are made of: ByteLevel, Digits, and expressions whose matches stand alone.
std::string step_json(const PreTokenizerStep& step) {
  if (step.kind == PreTokenizerStep::Kind::byte_level) {
    return fmt::format(R"({{"type":"ByteLevel","add_prefix_space":{},"trim_offsets":true,"use_regex":{}}})",
                       step.add_prefix_space, step.use_regex);
  }
  if (step.kind == PreTokenizerStep::Kind::digits) {
    return fmt::format(R"({{"type":"Digits","individual_digits":{}}})", step.individual_digits);
  }
  RPT_CHECK(step == PreTokenizerStep{.pattern = step.pattern}, "a step that no named pre-tokenizer has");
  return fmt::format(R"({{"type":"Split","pattern":{{"Regex":{}}},"behavior":"Isolated","invert":false}})",
                     quoted(step.pattern));
}

std::string added_tokens_json(const Vocabulary& vocabulary) {
  std::string out = "[";
  for (std::int32_t id = 0; id < vocabulary.size(); ++id) {
    if (!vocabulary.is_literal(id)) continue;
    if (out.size() > 1) out += ",";
    out += fmt::format(
        R"({{"id":{},"content":{},"single_word":false,"lstrip":false,"rstrip":false,"normalized":false,"special":{}}})",
        id, quoted(vocabulary.text(id)), vocabulary.type(id) != TokenType::user_defined);
  }
  return out + "]";
}

std::string pre_tokenizer_json(const PreTokenizer& pre_tokenizer) {
  std::string steps;
  for (const PreTokenizerStep& step : pre_tokenizer.steps()) {
    if (!steps.empty()) steps += ',';
    steps += step_json(step);
  }
  return fmt::format(R"({{"type":"Sequence","pretokenizers":[{}]}})", steps);
}

std::string post_processor_json(const TokenizerState& state) {
  constexpr std::string_view kByteLevel =
      R"({"type":"ByteLevel","add_prefix_space":true,"trim_offsets":false,"use_regex":true})";
  if (!state.special.adds_bos) return state.sentence_piece ? "null" : std::string(kByteLevel);
  const std::int32_t id = *state.special.bos;
  const std::string bos = quoted(state.vocabulary.text(id));
  const std::string special = fmt::format(R"({{"SpecialToken":{{"id":{},"type_id":0}}}})", bos);
  return fmt::format(R"({{"type":"TemplateProcessing","single":[{0},{{"Sequence":{{"id":"A","type_id":0}}}}],)"
                     R"("pair":[{0},{{"Sequence":{{"id":"A","type_id":0}}}},{{"Sequence":{{"id":"B","type_id":1}}}}],)"
                     R"("special_tokens":{{{1}:{{"id":{1},"ids":[{2}],"tokens":[{1}]}}}}}})",
                     special, bos, id);
}

/// All tokens stand in the vocab, added ones too: so each keeps its id wherever it is.
std::string vocab_json(const Vocabulary& vocabulary) {
  std::string out = "{";
  for (std::int32_t id = 0; id < vocabulary.size(); ++id) {
    if (id > 0) out += ',';
    put_quoted(out, vocabulary.text(id));
    out += fmt::format(":{}", id);
  }
  return out + "}";
}

std::string merges_json(const Vocabulary& vocabulary, const BytePairModel& model) {
  std::string out = "[";
  for (const auto& [left, right] : model.merges()) {
    if (out.size() > 1) out += ',';
    out += '[';
    put_quoted(out, vocabulary.text(left));
    out += ',';
    put_quoted(out, vocabulary.text(right));
    out += ']';
  }
  return out + "]";
}

/// Normaliser and pre-tokenizer, post-processor, decoder, and the model up to its vocab.
std::string byte_level_parts(const TokenizerState& state) {
  std::string out = R"(,"normalizer":null,"pre_tokenizer":)" + pre_tokenizer_json(state.pre_tokenizer);
  out += R"(,"post_processor":)" + post_processor_json(state);
  out += R"(,"decoder":{"type":"ByteLevel","add_prefix_space":true,"trim_offsets":true,"use_regex":true})";
  out += R"(,"model":{"type":"BPE","dropout":null,"unk_token":null,"continuing_subword_prefix":null,)";
  out += fmt::format(R"("end_of_word_suffix":null,"fuse_unk":false,"byte_fallback":false,"ignore_merges":{},"vocab":)",
                     state.model.options().ignore_merges);
  return out;
}

/// The same for SentencePiece, as Hugging Face converts it.
std::string sentence_piece_parts(const TokenizerState& state) {
  const bool prefix = state.sentence_piece->rules.space_prefix;
  const BytePairOptions& options = state.model.options();
  std::string out = R"(,"normalizer":{"type":"Sequence","normalizers":[)";
  if (prefix) out += fmt::format(R"({{"type":"Prepend","prepend":"{}"}},)", kSpaceSign);
  out += fmt::format(R"({{"type":"Replace","pattern":{{"String":" "}},"content":"{}"}}]}})", kSpaceSign);
  out += R"(,"pre_tokenizer":null,"post_processor":)" + post_processor_json(state);
  out += R"(,"decoder":{"type":"Sequence","decoders":[)";
  out += fmt::format(R"({{"type":"Replace","pattern":{{"String":"{}"}},"content":" "}},)", kSpaceSign);
  out += R"({"type":"ByteFallback"},{"type":"Fuse"})";
  if (prefix) out += R"(,{"type":"Strip","content":" ","start":1,"stop":0})";
  out += R"(]},"model":{"type":"BPE","dropout":null,"unk_token":)";
  out += options.unknown_id < 0 ? "null" : quoted(state.vocabulary.text(options.unknown_id));
  out += R"(,"continuing_subword_prefix":null,"end_of_word_suffix":null,"fuse_unk":true,)";
  out += fmt::format(R"("byte_fallback":{},"ignore_merges":false,"vocab":)", options.byte_fallback);
  return out;
}

}  // namespace

std::string Tokenizer::to_tokenizer_json() const {
  const TokenizerState& state = *state_;
  if (!state.tokenizer_json.empty()) return state.tokenizer_json;
  if (state.sentence_piece && (!fits_gguf_llama() || state.model.has_stand_ins())) {
    throw ConfigError(fmt::format("tokenizer.json cannot say a SentencePiece vocabulary with {}",
                                  state.model.has_stand_ins() ? "characters that are no pieces in pieces"
                                                              : "user-defined pieces and a space before the text"));
  }
  std::string out = R"({"version":"1.0","truncation":null,"padding":null,"added_tokens":)";
  out += added_tokens_json(state.vocabulary);
  out += state.sentence_piece ? sentence_piece_parts(state) : byte_level_parts(state);
  out += vocab_json(state.vocabulary);
  out += R"(,"merges":)" + merges_json(state.vocabulary, state.model);
  return out + "}}\n";
}

std::string Tokenizer::to_tokenizer_config_json() const {
  const bool model_file = state_->sentence_piece && !state_->sentence_piece->rules.model_file.empty();
  std::string out =
      fmt::format("{{\n  \"tokenizer_class\": \"{}\"", model_file ? "LlamaTokenizer" : "PreTrainedTokenizerFast");
  const auto put_token = [&](std::string_view key, std::optional<std::int32_t> id) {
    if (id) out += fmt::format(",\n  \"{}\": {}", key, quoted(token_text(*id)));
  };
  put_token("bos_token", bos_id());
  put_token("eos_token", eos_id());
  put_token("pad_token", pad_id());
  out += fmt::format(",\n  \"add_bos_token\": {}", adds_bos());
  // What transformers writes for "no limit": int(1e30).
  out += ",\n  \"model_max_length\": 1000000000000000019884624838656\n}\n";
  return out;
}

}  // namespace rpt::text

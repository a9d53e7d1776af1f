// SPDX-License-Identifier: MIT
#include "rpt/text/tokenizer.h"

#include <limits>
#include <utility>

#include "rpt/core/error.h"
#include "rpt/text/byte_level.h"
#include "rpt/text/tokenizer_state.h"

namespace rpt::text {

std::unique_ptr<EncodeScratch> ScratchPool::take() {
  {
    const std::lock_guard lock(mutex_);
    if (!idle_.empty()) {
      std::unique_ptr<EncodeScratch> scratch = std::move(idle_.back());
      idle_.pop_back();
      return scratch;
    }
  }
  return std::make_unique<EncodeScratch>();
}

void ScratchPool::give_back(std::unique_ptr<EncodeScratch> scratch) {
  if (scratch->byte_pair.is_oversized()) return;
  const std::lock_guard lock(mutex_);
  idle_.push_back(std::move(scratch));
}

namespace {

/// A scratch of the pool for the length of a call.
class BorrowedScratch {
 public:
  explicit BorrowedScratch(ScratchPool& pool) : pool_(pool), scratch_(pool.take()) {}
  ~BorrowedScratch() { pool_.give_back(std::move(scratch_)); }
  BorrowedScratch(const BorrowedScratch&) = delete;
  BorrowedScratch& operator=(const BorrowedScratch&) = delete;
  EncodeScratch& operator*() const { return *scratch_; }

 private:
  ScratchPool& pool_;
  std::unique_ptr<EncodeScratch> scratch_;
};

/// One call of encode.
class Encoding {
 public:
  Encoding(const TokenizerState& state, std::string_view text, EncodeOptions options, bool want_ends,
           EncodeScratch& scratch, EncodedText& out)
      : state_(state), text_(text), options_(options), want_ends_(want_ends), scratch_(scratch), out_(out) {
    out_.ids.reserve(text.size() / 4);
    if (want_ends) out_.ends.reserve(text.size() / 4);
  }

  void run() { around(state_.raw_added, 0, text_.size(), true); }

 private:
  /// Cuts the added tokens out of [begin, end) and hands what lies between them on.
  void around(const AddedTokens& added, std::size_t begin, std::size_t end, bool outer) {
    const auto between = [&](std::size_t from, std::size_t to) {
      if (from == to) return;
      if (outer) wants_prefix_ = state_.sentence_piece && state_.sentence_piece->rules.space_prefix;
      outer ? around(state_.normalized_added, from, to, false) : plain(from, to);
    };
    const std::string_view text = text_.substr(0, end);
    while (const auto found = added.find(text, begin, options_.special)) {
      between(begin, found->begin);
      if (!outer && wants_prefix_) words(begin, begin);  // the space before a text that begins with an added token
      put(found->id, found->end);
      begin = found->end;
    }
    between(begin, end);
  }

  /// Text without added tokens: normalise, keep invalid bytes apart, split, merge.
  void plain(std::size_t begin, std::size_t end) {
    if (state_.sentence_piece) return words(begin, end);
    std::string_view text = text_.substr(begin, end - begin);
    NormalizedText normalized;
    begin_ = begin;
    ends_ = nullptr;
    if (!state_.normalizer.empty()) {
      normalized = normalize(state_.normalizer, text);
      text = normalized.text;
      ends_ = &normalized.ends;
    }
    state_.pre_tokenizer.split_bytes(text, scratch_.match, [this](const TextSpan& span) { piece(span); });
  }

  void piece(const TextSpan& span) {
    std::vector<TokenEnd>& tokens = scratch_.tokens;
    tokens.clear();
    out_.dropped_bytes += state_.model.encode(state_.vocabulary, span.text, scratch_.byte_pair, tokens);
    for (const TokenEnd& token : tokens) put(token.id, original_end(span.base + token.end));
  }

  /// SentencePiece: cuts the text where that changes nothing, so that words met before need no merging.
  void words(std::size_t begin, std::size_t end) {
    const std::string_view text = text_.substr(0, end);
    do {
      const std::size_t border = begin < end ? state_.sentence_piece->borders.next(text, begin) : end;
      word(begin, border, std::exchange(wants_prefix_, false));
      begin = border;
    } while (begin < end);
  }

  void word(std::size_t begin, std::size_t end, bool prefix) {
    std::string& form = scratch_.form;
    form.clear();
    if (prefix) form += kSpaceSign;
    append_with_space_signs(form, text_.substr(begin, end - begin));
    std::vector<TokenEnd>& tokens = scratch_.tokens;
    tokens.clear();
    out_.dropped_bytes += state_.model.encode(state_.vocabulary, form, scratch_.byte_pair, tokens);
    std::size_t form_end = prefix ? kSpaceSign.size() : 0;
    for (const TokenEnd& token : tokens) {
      for (; form_end < token.end; ++begin) form_end += text_[begin] == ' ' ? kSpaceSign.size() : 1;
      put(token.id, begin);
    }
  }

  /// Turns the end of a token in the (normalised) segment into one in the text.
  std::uint64_t original_end(std::uint64_t end) const {
    if (ends_ == nullptr || end == 0) return begin_ + end;
    return begin_ + (*ends_)[end - 1];
  }

  void put(std::int32_t id, std::uint64_t end) {
    out_.ids.push_back(id);
    if (want_ends_) out_.ends.push_back(end);
  }

  const TokenizerState& state_;
  std::string_view text_;
  EncodeOptions options_;
  bool want_ends_;
  EncodeScratch& scratch_;
  EncodedText& out_;
  bool wants_prefix_ = false;                         // of SentencePiece, for the next word
  std::uint64_t begin_ = 0;                           // of the segment being encoded
  const std::vector<std::uint64_t>* ends_ = nullptr;  // its way back, if it was normalised
};

EncodedText encode_text(const TokenizerState& state, std::string_view text, EncodeOptions options, bool want_ends) {
  // A space takes three bytes in the form that SentencePiece merges.
  const std::size_t growth = state.sentence_piece ? kSpaceSign.size() : 1;
  if (text.size() >= std::numeric_limits<std::uint32_t>::max() / 2 / growth) {
    throw ConfigError(fmt::format("a text of {} bytes is too long to be encoded at once", text.size()));
  }
  EncodedText out;
  const BorrowedScratch scratch(state.scratches);
  Encoding(state, text, options, want_ends, *scratch, out).run();
  return out;
}

void check_id(const Vocabulary& vocabulary, std::int32_t id) {
  if (!vocabulary.holds(id)) {
    throw ConfigError(fmt::format("token id {} is outside the vocabulary of {}", id, vocabulary.size()));
  }
}

}  // namespace

Tokenizer::Tokenizer(std::shared_ptr<const TokenizerState> state) : state_(std::move(state)) {}

std::vector<std::int32_t> Tokenizer::encode(std::string_view text, EncodeOptions options,
                                            std::uint64_t* dropped_bytes) const {
  EncodedText encoded = encode_text(*state_, text, options, false);
  if (dropped_bytes != nullptr) *dropped_bytes = encoded.dropped_bytes;
  return std::move(encoded.ids);
}

EncodedText Tokenizer::encode_with_offsets(std::string_view text, EncodeOptions options) const {
  return encode_text(*state_, text, options, true);
}

std::string Tokenizer::decode(std::span<const std::int32_t> ids) const {
  for (const std::int32_t id : ids) check_id(state_->vocabulary, id);
  return state_->decoder.decode(state_->vocabulary, ids);
}

std::string Tokenizer::piece(std::int32_t id) const {
  check_id(state_->vocabulary, id);
  return state_->decoder.piece(state_->vocabulary, id);
}

std::int32_t Tokenizer::vocab_size() const {
  return state_->vocabulary.size();
}

TokenType Tokenizer::type(std::int32_t id) const {
  check_id(state_->vocabulary, id);
  return state_->vocabulary.type(id);
}

bool Tokenizer::is_special(std::int32_t id) const {
  const TokenType t = type(id);
  return t == TokenType::control || t == TokenType::unknown;
}

std::optional<std::int32_t> Tokenizer::find(std::string_view piece_bytes) const {
  const Vocabulary& vocabulary = state_->vocabulary;
  std::int32_t id = vocabulary.find(piece_bytes);
  if (id >= 0 && vocabulary.is_literal(id)) return id;
  if (state_->sentence_piece) {
    std::string form;
    append_with_space_signs(form, piece_bytes);
    id = vocabulary.find(form);
    if (id >= 0 && vocabulary.type(id) != TokenType::normal) id = -1;
    if (id < 0 && piece_bytes.size() == 1) {
      id = vocabulary.find(fmt::format("<0x{:02X}>", static_cast<unsigned char>(piece_bytes[0])));
    }
  } else if (state_->model.options().byte_level) {
    std::string form;
    append_byte_level(form, piece_bytes);
    id = vocabulary.find(form);
    if (id >= 0 && vocabulary.is_literal(id)) id = -1;
  }
  return id >= 0 ? std::optional(id) : std::nullopt;
}

std::optional<std::int32_t> Tokenizer::bos_id() const {
  return state_->special.bos;
}
bool Tokenizer::adds_bos() const {
  return state_->special.adds_bos;
}
const std::vector<std::int32_t>& Tokenizer::end_ids() const {
  return state_->special.ends;
}
std::optional<std::int32_t> Tokenizer::pad_id() const {
  return state_->special.pad;
}

bool Tokenizer::is_end_name(std::int32_t id) const {
  return state_->vocabulary.holds(id) && type(id) == TokenType::control && text::is_end_name(token_text(id));
}

std::optional<std::int32_t> Tokenizer::eos_id() const {
  if (end_ids().empty()) return std::nullopt;
  return end_ids().front();
}

std::string_view Tokenizer::token_text(std::int32_t id) const {
  check_id(state_->vocabulary, id);
  return state_->vocabulary.text(id);
}

std::vector<std::string> Tokenizer::merges() const {
  std::vector<std::string> out;
  out.reserve(state_->model.merges().size());
  for (const auto& [left, right] : state_->model.merges()) {
    out.emplace_back(state_->vocabulary.text(left));
    out.back() += ' ';
    out.back() += state_->vocabulary.text(right);
  }
  return out;
}

const SentencePieceRules* Tokenizer::sentence_piece() const {
  return state_->sentence_piece ? &state_->sentence_piece->rules : nullptr;
}

bool Tokenizer::fits_gguf_llama() const {
  return state_->sentence_piece &&
         (!state_->sentence_piece->rules.space_prefix || state_->normalized_added.tokens().empty());
}

std::optional<std::string> Tokenizer::gguf_pre() const {
  const BytePairOptions& options = state_->model.options();
  const bool has_unknown = options.unknown_id >= 0 && !state_->model.holds_every_byte();
  if (!options.byte_level || !state_->normalizer.empty() || has_unknown) return std::nullopt;
  for (const NamedPreTokenizer& named : named_pre_tokenizers()) {
    if (named.steps != state_->pre_tokenizer.steps()) continue;
    // Looking up first matters only where some token is no result of its own merges.
    const bool same =
        named.ignore_merges == options.ignore_merges || state_->model.every_token_merges(state_->vocabulary);
    return same ? std::optional(std::string(named.name)) : std::nullopt;
  }
  return std::nullopt;
}

std::vector<std::string> llama3_special_tokens() {
  std::vector<std::string> names = {"<|begin_of_text|>",
                                    "<|end_of_text|>",
                                    "<|reserved_special_token_0|>",
                                    "<|reserved_special_token_1|>",
                                    "<|finetune_right_pad_id|>",
                                    "<|reserved_special_token_2|>",
                                    "<|start_header_id|>",
                                    "<|end_header_id|>",
                                    "<|eom_id|>",
                                    "<|eot_id|>",
                                    "<|python_tag|>"};
  for (int i = 3; i <= 247; ++i) names.push_back(fmt::format("<|reserved_special_token_{}|>", i));
  return names;
}

}  // namespace rpt::text

// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace rpt::text {

/// What a vocabulary entry is, with the numbers of `tokenizer.ggml.token_type`.
enum class TokenType : std::int32_t {
  normal = 1,
  unknown = 2,       ///< stands for what the vocabulary cannot hold
  control = 3,       ///< a special token: found in a text only where EncodeOptions::special asks for it
  user_defined = 4,  ///< an added token that is found in every text, before any merging
  unused = 5,        ///< never comes out of encode
  byte = 6,          ///< `<0xNN>`
};

struct EncodeOptions {
  /// Recognise control tokens written in the text ("<|eot_id|>"). Right for prompts, wrong for texts to be scored.
  bool special = false;
};

/// Token ids with the stretch of the text that each one covers.
struct EncodedText {
  std::vector<std::int32_t> ids;
  /// Token i covers the bytes [ends[i-1], ends[i]) of the text, ends[-1] = 0. Never decreasing. Bytes that were dropped
  /// belong to the next token, those behind the last token to none. Exact for byte-level vocabularies; where a
  /// normaliser put characters in, they cover no bytes.
  std::vector<std::uint64_t> ends;
  /// Bytes of the text that the vocabulary cannot hold and that no token stands for.
  std::uint64_t dropped_bytes = 0;
};

/// A vocabulary as GGUF keys hold it (`tokenizer.ggml.*`). The views point into memory that `keep_alive` owns.
struct GgufVocabulary {
  std::string file;                      ///< named in errors
  std::string model;                     ///< "gpt2" (byte-level byte pairs) or "llama" (SentencePiece merges)
  std::optional<std::string> pre;        ///< gpt2: the name of the pre-tokenizer; see from_gguf
  std::vector<std::string_view> tokens;  ///< [V]; gpt2: byte-to-unicode form; special tokens as they are written
  std::vector<std::int32_t> types;       ///< [V] of TokenType, or empty: all normal
  std::vector<std::string_view> merges;  ///< gpt2: "left right", rank = index
  std::vector<float> scores;             ///< llama: [V]
  std::optional<bool> add_space_prefix;  ///< llama: true where it is missing
  std::optional<std::int64_t> bos_id, eos_id, eot_id, eom_id, pad_id;
  /// Only checked: what a byte-level vocabulary cannot hold is dropped and counted, as llama.cpp does.
  std::optional<std::int64_t> unk_id;
  std::optional<bool> add_bos;
  std::shared_ptr<const void> keep_alive;  ///< whatever owns the bytes of tokens and merges
};

/// A token that side files put behind the pieces of a SentencePiece model.
struct AddedPiece {
  std::string text;
  bool special = true;  ///< a control token; else user-defined
};

/// A byte-level vocabulary by its parts. Ids: the special tokens, then the 256 bytes in the order of their characters
/// (`!` first), then a token for each merge.
struct BytePairVocabulary {
  std::vector<std::string> special_tokens;                    ///< as they are written
  std::vector<std::pair<std::int32_t, std::int32_t>> merges;  ///< pairs of ids, by rank
  std::string pattern;  ///< the matches are the pre-tokens, as is what lies between
};

/// What a SentencePiece vocabulary holds besides its pieces.
struct SentencePieceRules {
  std::vector<float> scores;         ///< [V]; of the neighbours that make a piece, the highest merge first
  bool space_prefix = true;          ///< a space is put before a text, and decode takes it away
  std::string_view model_file = {};  ///< the bytes of the tokenizer.model it was read from, or empty
};

struct TokenizerState;

/// A byte-pair vocabulary with its pre-tokenizer, or a SentencePiece vocabulary of the BPE kind: text → token ids and
/// back. A handle: copies share one immutable vocabulary; encode and decode may be called from any number of threads
/// at once.
///
/// SentencePiece vocabularies write a space as U+2581 and put one before a text, and behind the special tokens in it.
/// So their decode(encode(x)) == x for every x without U+2581, where all 256 bytes are pieces.
///
/// Bytes that are no UTF-8 are kept, not replaced: each longest run of them is a pre-token by itself, so that for a
/// vocabulary that holds all 256 bytes decode(encode(x)) == x for every x.
class Tokenizer {
 public:
  /// Reads a Hugging Face `tokenizer.json` with a BPE model. Normaliser, pre-tokenizer and decoder are executed as
  /// written; a kind or option that is not known is refused by name. `file_name` is named in errors.
  /// Throws FormatError where the file is damaged, ConfigError where it asks for what cannot be honoured.
  static Tokenizer from_tokenizer_json(std::string_view json, const std::string& file_name);

  /// Reads a vocabulary from GGUF keys. Of `gpt2` the pre-tokenizer may be llama-bpe (llama3, llama-v3, falcon3),
  /// gpt-2, smollm, falcon or default; a missing one means llama-bpe for 128,256 tokens, else it is refused. llama-bpe
  /// looks whole pre-tokens up before merging, and adds BOS unless add_bos says otherwise; the others do not. `llama`
  /// needs scores and types, and adds BOS unless add_bos says otherwise. Throws FormatError for contradictory keys,
  /// ConfigError for models and pre-tokenizers that are not known. Cost: about 50 ms for 128,256 tokens and 280,147
  /// merges; no copy of the texts is made.
  static Tokenizer from_gguf(GgufVocabulary vocabulary);

  /// Reads a tiktoken vocabulary: lines of `base64 rank`, rank = id. The special tokens get the ids behind the last
  /// rank. Without any, a vocabulary of 128,000 ranks gets llama3_special_tokens(); another one is refused
  /// (ConfigError). The pre-tokenizer is Llama 3's, BOS (`<|begin_of_text|>`) is added where there is one. Throws
  /// FormatError.
  static Tokenizer from_tiktoken(std::string_view text, std::vector<std::string> special_tokens,
                                 const std::string& file_name);

  /// Reads a SentencePiece `tokenizer.model` of the BPE kind. A Unigram model, a normaliser that changes characters,
  /// and rules for white space other than Llama's are refused by name. BOS is added where the model names one. Throws
  /// FormatError where the file is damaged, ConfigError where it asks for what cannot be honoured.
  /// `added` get the ids behind the last piece; with any, the model file is no longer all of the vocabulary and not
  /// kept.
  static Tokenizer from_sentencepiece(std::string_view bytes, const std::string& file_name,
                                      std::vector<AddedPiece> added = {});

  /// Reads the `tokenizer.bin` of llama2.c: pieces with their scores; ids 0, 1, 2 are <unk>, <s>, </s>. BOS is added.
  /// Throws FormatError.
  static Tokenizer from_llama2c(std::string_view bytes, const std::string& file_name);

  /// Makes a vocabulary from its parts, with a name for errors. The special tokens are control tokens; BOS is added
  /// where one of them is known as begin-of-text token and not as an end (see bos_id, end_ids). Throws ConfigError for
  /// an expression that does not compile, FormatError for merges of what is no token yet or is special, and for two
  /// tokens alike.
  static Tokenizer from_byte_pairs(const BytePairVocabulary& vocabulary, const std::string& name);

  /// The ids of a text. Never adds BOS (see adds_bos). `dropped_bytes`, if given, receives the number of bytes that the
  /// vocabulary cannot hold. Throws ConfigError where the pre-tokenizer's expression exhausts its memory on the text.
  /// Cost: over 5 MB/s on one core for prose; n log n in the length of the longest pre-token.
  std::vector<std::int32_t> encode(std::string_view text, EncodeOptions options = {},
                                   std::uint64_t* dropped_bytes = nullptr) const;

  /// As encode, with the bytes that each token covers.
  EncodedText encode_with_offsets(std::string_view text, EncodeOptions options = {}) const;

  /// The bytes that the ids stand for, special tokens as they are written. Throws ConfigError for an id outside the
  /// vocabulary, and where a tokenizer.json's decoder makes the text grow without measure.
  std::string decode(std::span<const std::int32_t> ids) const;

  /// The bytes of one token; they need not be whole characters. Throws ConfigError as decode.
  std::string piece(std::int32_t id) const;

  /// Number of ids, V.
  std::int32_t vocab_size() const;
  /// True for control and unknown tokens: those whose text encode recognises only if asked.
  bool is_special(std::int32_t id) const;
  TokenType type(std::int32_t id) const;
  /// The id whose bytes are `piece` ("<|eot_id|>", " the"), special tokens first.
  std::optional<std::int32_t> find(std::string_view piece) const;

  /// The begin-of-text id, if the vocabulary names one: GGUF's bos_token_id, the leading token of tokenizer.json's
  /// template, else the first control token among <|begin_of_text|>, <s>, <bos>, <|startoftext|>, <|endoftext|>.
  std::optional<std::int32_t> bos_id() const;
  /// Whether the vocabulary's own rule puts BOS before a text.
  bool adds_bos() const;
  /// Every id that ends a generated text, without repetition. First those that the file declares (eos, eot, eom), then,
  /// by id, every control token named <|end_of_text|>, <|eot_id|>, <|eom_id|>, <|endoftext|>, <|im_end|>, <|end|>,
  /// <|eos|>, <end_of_turn>, </s>, <eos>, <EOT>.
  const std::vector<std::int32_t>& end_ids() const;
  /// Whether a token is among those that end_ids() finds by name.
  bool is_end_name(std::int32_t id) const;
  /// The id that a GGUF file calls eos_token_id: the first of end_ids().
  std::optional<std::int32_t> eos_id() const;
  std::optional<std::int32_t> pad_id() const;

  /// The token as the vocabulary writes it (byte-to-unicode form; special tokens as they are written).
  std::string_view token_text(std::int32_t id) const;
  /// The merges as "left right", in order of rank; for a tiktoken vocabulary every split of every token into two.
  std::vector<std::string> merges() const;
  /// The rules of a SentencePiece vocabulary, or nullptr for any other. They live as long as the tokenizer.
  const SentencePieceRules* sentence_piece() const;
  /// False where `model` "llama" of GGUF, whose readers put a space behind user-defined tokens, would mean other ids.
  bool fits_gguf_llama() const;
  /// The name under which GGUF knows this pre-tokenizer ("llama-bpe"), or nothing where no name means exactly this.
  std::optional<std::string> gguf_pre() const;
  /// A tokenizer.json that Hugging Face's tokenizers loads: the text that was read where it was read from one, else
  /// written from the vocabulary. Of a SentencePiece vocabulary its merges take the order that Hugging Face's
  /// conversion gives them; where pieces have equal scores, a reader may merge in another order than this tokenizer.
  /// Throws ConfigError for SentencePiece vocabularies that the form cannot say.
  std::string to_tokenizer_json() const;
  /// The tokenizer_config.json that goes with it: class, special tokens, whether BOS is added. No greatest length.
  std::string to_tokenizer_config_json() const;

 private:
  explicit Tokenizer(std::shared_ptr<const TokenizerState> state);
  std::shared_ptr<const TokenizerState> state_;
};

/// The 256 special tokens of Llama 3.1, ids 128000…128255 in this order.
std::vector<std::string> llama3_special_tokens();

}  // namespace rpt::text

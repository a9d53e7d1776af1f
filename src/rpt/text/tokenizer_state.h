// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "rpt/text/added_tokens.h"
#include "rpt/text/byte_pair.h"
#include "rpt/text/decoder.h"
#include "rpt/text/normalizer.h"
#include "rpt/text/pre_tokenizer.h"
#include "rpt/text/sentence_piece.h"
#include "rpt/text/tokenizer.h"
#include "rpt/text/vocabulary.h"

namespace rpt::text {

/// What one call of encode writes to.
struct EncodeScratch {
  MatchScratch match;
  BytePairScratch byte_pair;
  std::string form;  ///< a word with its spaces as SentencePiece writes them
  std::vector<TokenEnd> tokens;
};

/// Lends scratches to the calls that run at the same time, and keeps them warm between calls.
class ScratchPool {
 public:
  std::unique_ptr<EncodeScratch> take();
  void give_back(std::unique_ptr<EncodeScratch> scratch);

 private:
  std::mutex mutex_;
  std::vector<std::unique_ptr<EncodeScratch>> idle_;
};

/// Ids with a meaning of their own.
struct SpecialIds {
  std::optional<std::int32_t> bos, pad;
  bool adds_bos = false;
  std::vector<std::int32_t> ends;
};

/// All parts of a Tokenizer, immutable but for the scratches.
struct TokenizerState {
  Vocabulary vocabulary;
  BytePairModel model;
  AddedTokens raw_added;         ///< looked for first
  AddedTokens normalized_added;  ///< looked for in what is left
  std::vector<NormalizerStep> normalizer;
  PreTokenizer pre_tokenizer;
  std::optional<SentencePiece> sentence_piece;  ///< instead of normalizer and pre_tokenizer
  Decoder decoder;
  SpecialIds special;
  std::string tokenizer_json;  ///< as it was read, or empty
  mutable ScratchPool scratches;
};

/// Added tokens from the types of a vocabulary: control and unknown ones if asked, user-defined ones always.
AddedTokens added_tokens_of(const Vocabulary& vocabulary);

/// Whether a control token of this text ends a generated text.
bool is_end_name(std::string_view text);

/// Completes `ids` by the names of control tokens: bos where there is none, further ends. The rule stands at
/// Tokenizer::bos_id and end_ids.
void find_special_ids_by_name(const Vocabulary& vocabulary, SpecialIds& ids);

/// Fills a model from merges, a block of them at a time. Throws FormatError for parts or results that are no plain
/// tokens, and for pairs that come twice.
class MergeReader {
 public:
  /// The texts of the merges must outlive the reader.
  MergeReader(const Vocabulary& vocabulary, BytePairModel& model, const std::string& file)
      : vocabulary_(vocabulary), model_(model), file_(file) {}
  /// The next merge, in order of rank.
  void add(std::string_view left, std::string_view right);
  /// The same for "left right".
  void add(std::string_view merge);
  /// To be called behind the last merge.
  void finish();

 private:
  static constexpr std::size_t kBlock = 64;
  struct Merge {
    std::string_view left, right;
  };
  [[noreturn]] void fail(std::size_t rank, const std::string& expected, const std::string& found) const;
  void check_plain(std::size_t rank, std::string_view text, std::int32_t id) const;

  const Vocabulary& vocabulary_;
  BytePairModel& model_;
  const std::string& file_;
  std::vector<Merge> block_;
  std::size_t rank_ = 0;  ///< of the first merge of the block
};

}  // namespace rpt::text

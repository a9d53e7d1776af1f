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
#include "rpt/text/tokenizer.h"
#include "rpt/text/vocabulary.h"

namespace rpt::text {

/// What one call of encode writes to.
struct EncodeScratch {
  MatchScratch match;
  BytePairScratch byte_pair;
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
  Decoder decoder;
  SpecialIds special;
  std::string tokenizer_json;  ///< as it was read, or empty
  mutable ScratchPool scratches;
};

/// Added tokens from the types of a vocabulary: control and unknown ones if asked, user-defined ones always.
AddedTokens added_tokens_of(const Vocabulary& vocabulary);

/// Completes `ids` by the names of control tokens: bos where there is none, further ends. The rule stands at
/// Tokenizer::bos_id and end_ids.
void find_special_ids_by_name(const Vocabulary& vocabulary, SpecialIds& ids);

/// Fills a model from merges. Throws FormatError for parts or results that are no plain tokens, and for pairs that come
/// twice.
class MergeReader {
 public:
  MergeReader(const Vocabulary& vocabulary, BytePairModel& model, const std::string& file)
      : vocabulary_(vocabulary), model_(model), file_(file) {}
  /// The next merge, in order of rank; `offset` is the place in the file, or 0.
  void add(std::string_view left, std::string_view right, std::uint64_t offset);
  /// The same for "left right".
  void add(std::string_view merge, std::uint64_t offset);

 private:
  [[noreturn]] void fail(std::uint64_t offset, const std::string& expected, const std::string& found) const;
  std::int32_t plain_token(std::string_view text, std::uint64_t offset) const;

  const Vocabulary& vocabulary_;
  BytePairModel& model_;
  const std::string& file_;
  std::string joined_;
  std::uint32_t rank_ = 0;
};

}  // namespace rpt::text

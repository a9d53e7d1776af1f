// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "rpt/core/progress.h"
#include "rpt/text/pre_tokenizer.h"
#include "rpt/text/tokenizer.h"

namespace rpt::text {

struct BytePairTrainerOptions {
  std::int32_t vocabulary_size = 8192;   ///< ids at most, special tokens and bytes included
  std::uint64_t min_pair_frequency = 2;  ///< pairs that occur more rarely are not merged
  std::vector<std::string> special_tokens{"<|begin_of_text|>", "<|end_of_text|>"};  ///< ids 0, 1, …
  std::string pattern{kLlama3Expression};                                           ///< see BytePairVocabulary
};

/// What training gives.
struct TrainedBytePairs {
  BytePairVocabulary vocabulary;  ///< for Tokenizer::from_byte_pairs
  std::uint64_t bytes = 0;        ///< of the texts
  std::uint64_t pre_tokens = 0;
  std::uint64_t distinct_pre_tokens = 0;
  std::uint64_t tokens = 0;  ///< of the texts under the vocabulary, each document encoded alone
};

/// Trains a byte-level byte-pair vocabulary: texts are taken one after the other and only their distinct pre-tokens are
/// kept, with their counts; from these the merges are learnt as BytePairLearner says. The result depends on the options
/// and on the set of documents, not on their order nor on the number of threads. Special tokens written in a text are
/// text like any other; no merge spells a special token.
/// Reference: the merges are those of the BpeTrainer of Hugging Face's tokenizers for the same pre-tokens.
class BytePairTrainer {
 public:
  /// Throws ConfigError for a vocabulary that cannot hold special tokens and bytes or is beyond kMaxTokens, for a
  /// frequency of 0, for special tokens that are empty, no UTF-8, twice there, or written as a byte is, and for an
  /// expression that does not compile.
  explicit BytePairTrainer(BytePairTrainerOptions options = {});
  ~BytePairTrainer();
  BytePairTrainer(const BytePairTrainer&) = delete;
  BytePairTrainer& operator=(const BytePairTrainer&) = delete;

  /// Counts the pre-tokens of documents, on all threads. Bytes that are no UTF-8 are counted as Tokenizer encodes them.
  /// Throws ConfigError where the expression exhausts its memory on a text; the trainer is then of no more use.
  /// Cost: some 30 MB/s and thread for prose; memory for each distinct pre-token once per thread.
  void add(std::span<const std::string> documents);
  /// The same for one document.
  void add(std::string_view document);

  /// Bytes of all documents so far.
  std::uint64_t bytes() const { return bytes_; }

  /// Learns the merges from what was added so far. They are fewer than asked for where no pair occurs often enough.
  /// Throws ConfigError as BytePairLearner. Cost: 0.3 s for 74 MB of English prose (128,608 distinct pre-tokens) and
  /// 8192 tokens.
  TrainedBytePairs train(core::ProgressSink& progress = core::null_progress()) const;

 private:
  struct Counter;
  class Counters;

  BytePairTrainerOptions options_;
  PreTokenizer pre_tokenizer_;
  std::unique_ptr<Counters> counters_;
  std::uint64_t bytes_ = 0;
};

}  // namespace rpt::text

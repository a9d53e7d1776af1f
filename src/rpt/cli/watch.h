// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "rpt/evaluate/plan.h"
#include "rpt/model/model.h"
#include "rpt/text/corpus.h"
#include "rpt/train/run.h"

namespace rpt::cli {

/// The texts that a training run watches: all of them are scored at its end, parts of them on the way. Of conversations
/// only the answers are scored.
class Watch {
 public:
  /// Parts on the way have about `part_tokens` tokens of each text.
  Watch(std::int64_t part_tokens, std::uint64_t seed) : part_tokens_(part_tokens), seed_(seed) {}

  void add(const std::string& name, text::Corpus corpus);
  /// Conversations whose JSON lines have `bytes` bytes; reported as "NAME (answers)".
  void add(const std::string& name, std::vector<text::EncodedConversation> conversations, std::uint64_t bytes);

  /// Scores every text by protocol full, in the order in which they came. Throws as the plans and the decoder do.
  std::vector<train::Evaluation> score(const model::Model& model, bool complete) const;

  /// Bytes of all texts, whole.
  std::uint64_t bytes() const;
  /// Bytes of the largest text, and of the largest part that is scored on the way.
  std::uint64_t largest_bytes() const;
  std::uint64_t largest_part_bytes() const;

 private:
  /// Either a text or conversations.
  struct Watched {
    std::string name;
    text::Corpus whole;
    text::Corpus part;
    std::vector<text::EncodedConversation> conversations;
    std::vector<text::EncodedConversation> some;  ///< of them
    std::uint64_t bytes = 0;
    std::uint64_t part_bytes = 0;
  };

  std::int64_t part_tokens_;
  std::uint64_t seed_;
  std::vector<Watched> texts_;
};

/// Names and figures of a look at the texts, one line.
std::string describe(const std::vector<train::Evaluation>& list);

}  // namespace rpt::cli

// SPDX-License-Identifier: MIT
#include "rpt/cli/watch.h"

#include <fmt/format.h>

#include <algorithm>

#include "rpt/core/memory.h"
#include "rpt/evaluate/perplexity.h"

namespace rpt::cli {
namespace {

/// Tokens of prose have about four bytes.
constexpr std::uint64_t kTokenBytes = 4;

/// The beginning of every document, so that all together have about `bytes` bytes.
text::Corpus shorten(const text::Corpus& corpus, std::uint64_t bytes) {
  text::Corpus part;
  part.unk_is_unknown = corpus.unk_is_unknown;
  const std::uint64_t each = std::max<std::uint64_t>(bytes / std::max<std::size_t>(corpus.documents.size(), 1), 16);
  for (const std::string& document : corpus.documents) {
    std::size_t end = std::min<std::size_t>(document.size(), each);
    while (end < document.size() && end > 0 && (static_cast<unsigned char>(document[end]) & 0xc0U) == 0x80U) --end;
    part.documents.push_back(document.substr(0, end));
  }
  return part;
}

std::uint64_t bytes_of(const text::Corpus& corpus) {
  std::uint64_t bytes = 0;
  for (const std::string& document : corpus.documents) bytes += document.size();
  return bytes;
}

std::size_t tokens_of(const std::vector<text::EncodedConversation>& conversations) {
  std::size_t tokens = 0;
  for (const text::EncodedConversation& c : conversations) tokens += c.ids.size();
  return tokens;
}

/// Every n-th conversation, so that they have about `tokens` tokens; whole ones, for an answer is the better told by
/// all that stands before it.
std::vector<text::EncodedConversation> choose_some(const std::vector<text::EncodedConversation>& all,
                                                   std::size_t tokens) {
  const std::size_t every = std::clamp<std::size_t>((tokens_of(all) + tokens - 1) / tokens, 1, all.size());
  std::vector<text::EncodedConversation> some;
  for (std::size_t i = 0; i < all.size(); i += every) some.push_back(all[i]);
  return some;
}

}  // namespace

void Watch::add(const std::string& name, text::Corpus corpus) {
  Watched text;
  text.name = name;
  text.part = shorten(corpus, static_cast<std::uint64_t>(part_tokens_) * kTokenBytes);
  text.part_bytes = bytes_of(text.part);
  text.bytes = bytes_of(corpus);
  text.whole = std::move(corpus);
  texts_.push_back(std::move(text));
}

void Watch::add(const std::string& name, std::vector<text::EncodedConversation> conversations, std::uint64_t bytes) {
  Watched text;
  text.name = name + " (answers)";
  text.some = choose_some(conversations, static_cast<std::size_t>(part_tokens_));
  text.part_bytes = bytes * tokens_of(text.some) / std::max<std::size_t>(tokens_of(conversations), 1);
  text.bytes = bytes;
  text.conversations = std::move(conversations);
  texts_.push_back(std::move(text));
}

std::vector<train::Evaluation> Watch::score(const model::Model& model, bool complete) const {
  std::vector<train::Evaluation> list;
  for (const Watched& text : texts_) {
    if (complete) core::return_freed_memory();  // the last text's plan: ten times its size
    const evaluate::ScoringPlan plan =
        text.conversations.empty()
            ? evaluate::plan_scoring(complete ? text.whole : text.part, evaluate::text_model(model), {})
            : evaluate::plan_conversations(complete ? text.conversations : text.some, model);
    evaluate::DecoderScorer scorer(model);
    const auto r = evaluate::perplexity(plan, scorer, seed_);
    list.push_back({text.name, r.mean_nll, r.bits_per_byte.value_or(0), r.scored_tokens, r.nll_sha256, false});
  }
  return list;
}

std::uint64_t Watch::bytes() const {
  std::uint64_t sum = 0;
  for (const Watched& text : texts_) sum += text.bytes;
  return sum;
}

std::uint64_t Watch::largest_bytes() const {
  std::uint64_t largest = 0;
  for (const Watched& text : texts_) largest = std::max(largest, text.bytes);
  return largest;
}

std::uint64_t Watch::largest_part_bytes() const {
  std::uint64_t largest = 0;
  for (const Watched& text : texts_) largest = std::max(largest, text.part_bytes);
  return largest;
}

std::string describe(const std::vector<train::Evaluation>& list) {
  std::string line;
  for (const train::Evaluation& e : list) {
    line += fmt::format("{}{} NLL {:.4f} ({:.4f} bits per byte)", line.empty() ? "" : ", ", e.text, e.mean_nll,
                        e.bits_per_byte);
  }
  return line;
}

}  // namespace rpt::cli

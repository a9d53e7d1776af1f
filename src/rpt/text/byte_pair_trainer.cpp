// SPDX-License-Identifier: MIT
#include "rpt/text/byte_pair_trainer.h"

#include <algorithm>
#include <functional>
#include <mutex>
#include <set>
#include <unordered_map>

#include "rpt/core/error.h"
#include "rpt/core/parallel.h"
#include "rpt/text/byte_level.h"
#include "rpt/text/byte_pair_learner.h"
#include "rpt/text/hash_tables.h"
#include "rpt/text/utf8.h"
#include "rpt/text/vocabulary.h"

namespace rpt::text {

namespace {

/// Makes look-ups by a piece of text possible without copying it.
struct BytesHash {
  using is_transparent = void;
  std::size_t operator()(std::string_view bytes) const { return static_cast<std::size_t>(hash_bytes(bytes)); }
};

void check_special_tokens(const std::vector<std::string>& tokens) {
  std::set<std::string_view> seen;
  for (const std::string& token : tokens) {
    const auto refuse = [&](const char* why) {
      throw ConfigError(fmt::format("the special token '{}' {}", for_message(token), why));
    };
    if (token.empty()) refuse("is empty");
    if (!is_valid_utf8(token)) refuse("is no UTF-8");
    if (!seen.insert(token).second) refuse("is there twice");
    if (const auto bytes = from_byte_level(token); bytes && bytes->size() == 1) refuse("is written as a byte is");
  }
}

/// Byte strings whose tokens would be written as special tokens are.
std::set<std::string> spellings(const std::vector<std::string>& special_tokens) {
  std::set<std::string> out;
  for (const std::string& token : special_tokens) {
    if (const auto bytes = from_byte_level(token)) out.insert(*bytes);
  }
  return out;
}

}  // namespace

/// What one thread at a time counts into.
struct BytePairTrainer::Counter {
  MatchScratch match;
  std::unordered_map<std::string, std::uint64_t, BytesHash, std::equal_to<>> counts;

  void add(const PreTokenizer& pre_tokenizer, std::string_view document) {
    pre_tokenizer.split_bytes(document, match, [this](const TextSpan& piece) {
      const auto found = counts.find(piece.text);
      if (found != counts.end()) {
        ++found->second;
      } else {
        counts.emplace(piece.text, 1);
      }
    });
  }
};

/// Lends counters to threads: never more than work at the same time. Which document was counted where does not matter,
/// since in the end all are summed.
class BytePairTrainer::Counters {
 public:
  std::unique_ptr<Counter> take() {
    const std::lock_guard lock(mutex_);
    if (idle_.empty()) return std::make_unique<Counter>();
    std::unique_ptr<Counter> counter = std::move(idle_.back());
    idle_.pop_back();
    return counter;
  }
  void give_back(std::unique_ptr<Counter> counter) {
    const std::lock_guard lock(mutex_);
    idle_.push_back(std::move(counter));
  }

  /// All distinct pre-tokens; they stay with the counters.
  std::vector<CountedPiece> sum() const {
    std::unordered_map<std::string_view, std::uint64_t, BytesHash> total;
    for (const auto& counter : idle_) {
      for (const auto& [piece, count] : counter->counts) total[piece] += count;
    }
    std::vector<CountedPiece> out;
    out.reserve(total.size());
    for (const auto& [piece, count] : total) out.push_back({piece, count});
    return out;
  }

 private:
  std::mutex mutex_;
  std::vector<std::unique_ptr<Counter>> idle_;
};

BytePairTrainer::BytePairTrainer(BytePairTrainerOptions options)
    : options_(std::move(options)), counters_(std::make_unique<Counters>()) {
  check_special_tokens(options_.special_tokens);
  const std::size_t least = options_.special_tokens.size() + 256;
  if (std::cmp_less(options_.vocabulary_size, least) || std::cmp_greater(options_.vocabulary_size, kMaxTokens)) {
    throw ConfigError(
        fmt::format("a vocabulary of {} tokens: {} special tokens and the bytes need at least {}, {} are "
                    "the most",
                    options_.vocabulary_size, options_.special_tokens.size(), least, kMaxTokens));
  }
  if (options_.min_pair_frequency == 0) throw ConfigError("a pair must occur at least once to be merged");
  pre_tokenizer_ = PreTokenizer({{.pattern = options_.pattern}}, "the pre-tokenizer's expression");
}

BytePairTrainer::~BytePairTrainer() = default;

void BytePairTrainer::add(std::span<const std::string> documents) {
  const std::int64_t count = std::ssize(documents);
  // Documents differ in length: many small ranges, so that no thread waits long for the last one.
  const std::int64_t grain = std::max<std::int64_t>(1, count / (32 * core::threads()));
  core::parallel_for(count, grain, [&](std::int64_t begin, std::int64_t end) {
    std::unique_ptr<Counter> counter = counters_->take();
    for (std::int64_t i = begin; i < end; ++i) counter->add(pre_tokenizer_, documents[static_cast<std::size_t>(i)]);
    counters_->give_back(std::move(counter));
  });
  for (const std::string& document : documents) bytes_ += document.size();
}

void BytePairTrainer::add(std::string_view document) {
  std::unique_ptr<Counter> counter = counters_->take();
  counter->add(pre_tokenizer_, document);
  counters_->give_back(std::move(counter));
  bytes_ += document.size();
}

TrainedBytePairs BytePairTrainer::train(core::ProgressSink& progress) const {
  const std::vector<CountedPiece> pieces = counters_->sum();
  TrainedBytePairs out{.vocabulary = {options_.special_tokens, {}, options_.pattern},
                       .bytes = bytes_,
                       .distinct_pre_tokens = pieces.size()};
  for (const CountedPiece& piece : pieces) out.pre_tokens += piece.count;

  const std::size_t special = options_.special_tokens.size();
  BytePairLearner learner(pieces, static_cast<std::int32_t>(special), spellings(options_.special_tokens));
  const std::size_t wanted = static_cast<std::size_t>(options_.vocabulary_size) - special - 256;
  progress.begin(wanted, "merges", "learning merges");
  while (out.vocabulary.merges.size() < wanted) {
    const auto pair = learner.merge_next(options_.min_pair_frequency);
    if (!pair) break;
    out.vocabulary.merges.push_back(*pair);
    progress.advance(1);
  }
  progress.finish();
  out.tokens = learner.tokens();
  return out;
}

}  // namespace rpt::text

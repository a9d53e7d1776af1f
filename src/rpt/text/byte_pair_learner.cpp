// SPDX-License-Identifier: MIT
#include "rpt/text/byte_pair_learner.h"

#include <algorithm>
#include <array>
#include <limits>

#include "rpt/core/error.h"
#include "rpt/text/byte_level.h"

namespace rpt::text {

namespace {

constexpr std::int32_t kBorder = -1;
constexpr std::int32_t kInside = -2;

}  // namespace

BytePairLearner::BytePairLearner(std::span<const CountedPiece> pieces, std::int32_t first_id,
                                 std::set<std::string> forbidden)
    : first_id_(first_id), forbidden_(std::move(forbidden)) {
  for (const std::uint8_t byte : bytes_by_character()) bytes_.emplace_back(1, static_cast<char>(byte));
  lay_out(pieces);
  for (std::uint32_t i = 0; i + 1 < slots_.size(); ++i) {
    if (slots_[i] != kBorder && slots_[i + 1] != kBorder) gain({slots_[i], slots_[i + 1]}, i, counts_[piece_of_[i]]);
  }
  for (const auto& [key, places] : pairs_) {
    queue_.push({places.count, {static_cast<std::int32_t>(key >> 32), static_cast<std::int32_t>(key & UINT32_MAX)}});
  }
}

void BytePairLearner::lay_out(std::span<const CountedPiece> pieces) {
  std::array<std::int32_t, 256> id_of_byte{};
  for (std::size_t i = 0; i < 256; ++i) {
    id_of_byte[static_cast<std::uint8_t>(bytes_[i][0])] = first_id_ + static_cast<std::int32_t>(i);
  }
  std::uint64_t slots = 1;
  for (const CountedPiece& piece : pieces) slots += piece.bytes.size() + 1;
  if (slots > std::numeric_limits<std::uint32_t>::max()) {
    throw ConfigError(fmt::format("{} bytes of distinct pre-tokens are too many to learn merges from", slots));
  }
  slots_.reserve(slots);
  piece_of_.reserve(slots);
  counts_.reserve(pieces.size());
  slots_.push_back(kBorder);
  piece_of_.push_back(0);
  for (const CountedPiece& piece : pieces) {
    for (const char byte : piece.bytes) slots_.push_back(id_of_byte[static_cast<std::uint8_t>(byte)]);
    slots_.push_back(kBorder);
    piece_of_.resize(slots_.size(), static_cast<std::uint32_t>(counts_.size()));
    counts_.push_back(piece.count);
    tokens_ += piece.count * piece.bytes.size();
  }
}

void BytePairLearner::gain(Pair pair, std::uint32_t begin, std::uint64_t count) {
  PairPlaces& places = pairs_[key_of(pair)];
  places.count += count;
  places.begins.push_back(begin);
}

void BytePairLearner::lose(Pair pair, std::uint64_t count) {
  pairs_.at(key_of(pair)).count -= count;
}

bool BytePairLearner::is_forbidden(Pair pair) const {
  return !forbidden_.empty() && forbidden_.contains(bytes_of(pair.first) + bytes_of(pair.second));
}

std::optional<BytePairLearner::Pair> BytePairLearner::merge_next(std::uint64_t min_frequency) {
  RPT_CHECK(min_frequency > 0, "a pair that does not occur cannot be merged");
  while (!queue_.empty()) {
    const Candidate best = queue_.top();
    const auto found = pairs_.find(key_of(best.pair));
    const std::uint64_t count = found == pairs_.end() ? 0 : found->second.count;
    if (count == best.count && count >= min_frequency && !is_forbidden(best.pair)) {
      const std::int32_t merged = first_id_ + static_cast<std::int32_t>(bytes_.size());
      bytes_.push_back(bytes_of(best.pair.first) + bytes_of(best.pair.second));
      queue_.pop();
      apply(best.pair, merged);
      return best.pair;
    }
    if (best.count < min_frequency) return std::nullopt;
    queue_.pop();
    if (count < best.count && count >= min_frequency) queue_.push({count, best.pair});
  }
  return std::nullopt;
}

void BytePairLearner::apply(Pair pair, std::int32_t merged) {
  PairPlaces& places = pairs_.at(key_of(pair));
  std::vector<std::uint32_t> begins = std::move(places.begins);
  std::sort(begins.begin(), begins.end());  // of pairs that overlap, as in "aaa", the first is merged
  grown_.clear();
  for (const std::uint32_t begin : begins) {
    if (slots_[begin] == pair.first && slots_[begin + length(pair.first)] == pair.second) merge_at(begin, pair, merged);
  }
  RPT_CHECK(places.count == 0, "a merged pair has {} places left", places.count);
  pairs_.erase(key_of(pair));
  std::sort(grown_.begin(), grown_.end());
  grown_.erase(std::unique(grown_.begin(), grown_.end()), grown_.end());
  for (const Pair& grown : grown_) queue_.push({pairs_.at(key_of(grown)).count, grown});
}

void BytePairLearner::merge_at(std::uint32_t begin, Pair pair, std::int32_t merged) {
  const std::uint64_t count = counts_[piece_of_[begin]];
  const std::uint32_t middle = begin + length(pair.first), end = middle + length(pair.second);
  if (const std::int32_t previous = slots_[begin - 1]; previous != kBorder) {
    lose({previous, pair.first}, count);
    gain({previous, merged}, begin - length(previous), count);
    grown_.push_back({previous, merged});
  }
  if (const std::int32_t next = slots_[end]; next != kBorder) {
    lose({pair.second, next}, count);
    gain({merged, next}, begin, count);
    grown_.push_back({merged, next});
  }
  lose(pair, count);
  tokens_ -= count;
  slots_[middle - 1] = slots_[middle] = kInside;
  slots_[begin] = slots_[end - 1] = merged;
}

}  // namespace rpt::text

// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <optional>
#include <queue>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace rpt::text {

/// A pre-token and how often it occurs.
struct CountedPiece {
  std::string_view bytes;
  std::uint64_t count;
};

/// The merges of byte-pair encoding, learnt one at a time: of all pairs of neighbouring tokens within a pre-token, the
/// one that occurs most often becomes a token. "aaa" holds two pairs of "a", of which the first is merged. Of pairs
/// that occur equally often the one with the lower left id comes first, then the one with the lower right id; so the
/// result does not depend on the order of the pre-tokens. No two merges make the same bytes: where the same bytes
/// become one token, the merges within them were the same.
///
/// The pre-tokens lie one behind the other in one array of ids, a slot for each byte. A token writes its id into the
/// first and the last of its slots: neighbours are found in one step, and a merge writes four slots. Every pair knows
/// its count and the slots where it may begin.
class BytePairLearner {
 public:
  using Pair = std::pair<std::int32_t, std::int32_t>;

  /// The bytes get the ids first_id … first_id + 255 in the order of bytes_by_character(), merges those that follow.
  /// Pairs that spell one of `forbidden` are passed over. Throws ConfigError where the pre-tokens take 4 GiB.
  /// Cost: memory 8 bytes per byte of the pre-tokens and 4 or more per pair of neighbours.
  BytePairLearner(std::span<const CountedPiece> pieces, std::int32_t first_id, std::set<std::string> forbidden = {});

  /// Merges the next pair, if one occurs at least `min_frequency` times (at least 1), else gives nothing.
  /// Cost: in proportion to the places where the pair occurs.
  std::optional<Pair> merge_next(std::uint64_t min_frequency);

  /// How many tokens the counted pre-tokens have now.
  std::uint64_t tokens() const { return tokens_; }

 private:
  struct PairPlaces {
    std::uint64_t count = 0;
    std::vector<std::uint32_t> begins;  ///< where the pair has come up; it may be gone since
  };
  /// A pair with a count that it had once: never below the one it has.
  struct Candidate {
    std::uint64_t count;
    Pair pair;
    bool operator<(const Candidate& other) const {
      return count != other.count ? count < other.count : other.pair < pair;
    }
  };
  static std::uint64_t key_of(Pair pair) {
    return static_cast<std::uint64_t>(static_cast<std::uint32_t>(pair.first)) << 32 |
           static_cast<std::uint32_t>(pair.second);
  }

  void lay_out(std::span<const CountedPiece> pieces);
  bool is_forbidden(Pair pair) const;
  void apply(Pair pair, std::int32_t merged);
  void merge_at(std::uint32_t begin, Pair pair, std::int32_t merged);
  void gain(Pair pair, std::uint32_t begin, std::uint64_t count);
  void lose(Pair pair, std::uint64_t count);
  const std::string& bytes_of(std::int32_t id) const { return bytes_[static_cast<std::size_t>(id - first_id_)]; }
  std::uint32_t length(std::int32_t id) const { return static_cast<std::uint32_t>(bytes_of(id).size()); }

  std::int32_t first_id_;
  std::set<std::string> forbidden_;
  std::vector<std::string> bytes_;       ///< of the tokens, from first_id on
  std::vector<std::int32_t> slots_;      ///< ids, kInside within a token, kBorder around pre-tokens
  std::vector<std::uint32_t> piece_of_;  ///< for each slot
  std::vector<std::uint64_t> counts_;    ///< of the pre-tokens
  std::unordered_map<std::uint64_t, PairPlaces> pairs_;
  std::priority_queue<Candidate> queue_;
  std::vector<Pair> grown_;  ///< pairs that the merge under way has made
  std::uint64_t tokens_ = 0;
};

}  // namespace rpt::text

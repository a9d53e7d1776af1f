// SPDX-License-Identifier: MIT
#pragma once
#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "rpt/text/hash_tables.h"
#include "rpt/text/vocabulary.h"

namespace rpt::text {

/// A token and the end, in bytes, of what it covers in its pre-token.
struct TokenEnd {
  std::int32_t id;
  std::uint32_t end;
};

/// How pre-tokens become tokens besides the merges.
struct BytePairOptions {
  bool byte_level = false;     ///< the vocabulary is in byte-to-unicode form and the units are bytes, not characters
  bool ignore_merges = false;  ///< a pre-token that is a token is that token
  bool byte_fallback = false;  ///< a unit without a token becomes its bytes' tokens `<0xNN>`
  bool fuse_unknown = false;   ///< neighbouring unknown units become one token
  std::int32_t unknown_id = -1;
};

/// The working memory of one thread, with the pre-tokens it has met lately.
class BytePairScratch {
 public:
  /// The tokens of a pre-token met before, or nothing.
  const std::vector<TokenEnd>* recall(std::string_view piece);
  /// True after words so long that the memory they took should be given back.
  bool is_oversized() const { return symbols_.capacity() > std::size_t{1} << 16; }
  /// Keeps the tokens of a pre-token, if they are few and short, in place of another one.
  void remember(std::string_view piece, const TokenEnd* tokens, std::size_t count);

 private:
  friend class BytePairModel;
  static constexpr std::size_t kSlots = 1 << 15, kMaxPiece = 32, kMaxTokens = 8;
  struct Slot {
    std::uint8_t piece_size = 0, token_count = 0;
    std::array<std::uint8_t, kMaxTokens> ends;
    std::array<char, kMaxPiece> piece;
    std::array<std::int32_t, kMaxTokens> ids;
  };
  /// A symbol of the word that is being merged; a heap entry names a pair that could merge.
  struct Symbol {
    std::int32_t id;
    std::uint32_t end, previous, next;
  };
  struct Candidate {
    std::uint32_t rank, position;
    std::int32_t left, right, merged;
  };

  std::vector<Slot> slots_;  ///< direct-mapped; 80 bytes each
  std::vector<TokenEnd> recalled_;
  std::vector<TokenEnd> units_;
  std::vector<std::uint32_t> ranks_;
  std::vector<std::int32_t> merged_;
  std::vector<Symbol> symbols_;
  std::vector<Candidate> heap_;
  std::string form_;
};

/// Byte-pair encoding of pre-tokens: of all neighbours that merge, the pair of lowest rank, leftmost first, until none
/// is left. Immutable once filled.
class BytePairModel {
 public:
  BytePairModel() = default;
  /// Resolves the units. `vocabulary` is given again to encode.
  BytePairModel(const Vocabulary& vocabulary, const BytePairOptions& options, std::size_t merge_count);

  /// Adds a merge; ranks need not be dense. False where the pair has one already.
  bool add_merge(std::int32_t left, std::int32_t right, std::uint32_t rank, std::int32_t merged);

  /// The id, beyond the vocabulary, of a character that is no token but may merge with its neighbours. What is left of
  /// it behind the merges goes the way of every unit without a token.
  std::int32_t stand_in(std::string_view character);

  /// Announces an add_merge.
  void prefetch_merge(std::int32_t left, std::int32_t right) const { pairs_.prefetch(left, right); }

  /// Appends the tokens of a pre-token, not empty and below 4 GiB. Returns the number of its bytes that no token stands
  /// for. Cost: n log n for n units, quadratic only in short words.
  std::uint64_t encode(const Vocabulary& vocabulary, std::string_view piece, BytePairScratch& scratch,
                       std::vector<TokenEnd>& out) const;

  /// The merges of tokens as pairs of ids, in the order they were added.
  const std::vector<std::pair<std::int32_t, std::int32_t>>& merges() const { return merges_; }
  const BytePairOptions& options() const { return options_; }
  bool has_stand_ins() const { return !stand_ins_.empty(); }

  /// True where no byte can be without a token (for byte-level vocabularies and those with byte fallback).
  bool holds_every_byte() const;
  /// True where looking whole pre-tokens up first changes nothing, because every token comes out of its own merges.
  bool every_token_merges(const Vocabulary& vocabulary) const;

 private:
  std::uint64_t encode_uncached(const Vocabulary& vocabulary, std::string_view piece, BytePairScratch& scratch,
                                std::vector<TokenEnd>& out) const;
  std::int32_t whole_token(const Vocabulary& vocabulary, std::string_view piece, BytePairScratch& scratch) const;
  std::uint64_t make_units(const Vocabulary& vocabulary, std::string_view piece, std::vector<TokenEnd>& units) const;
  std::uint64_t add_without_token(std::string_view unit, std::uint32_t begin, std::vector<TokenEnd>& units) const;
  std::uint64_t resolve_stand_ins(std::string_view piece, std::vector<TokenEnd>& units) const;
  bool add_fallback_bytes(std::string_view character, std::uint32_t begin, std::vector<TokenEnd>& units) const;
  void merge_short(BytePairScratch& scratch) const;
  void merge_long(BytePairScratch& scratch) const;

  BytePairOptions options_;
  std::int32_t vocabulary_size_ = 0;
  std::map<std::string, std::int32_t, std::less<>> stand_ins_;  ///< by character; ids from vocabulary_size_ on
  PairTable pairs_;
  std::vector<std::pair<std::int32_t, std::int32_t>> merges_;
  std::array<std::int32_t, 256> byte_ids_{};  ///< byte-level: the unit of a byte; else its `<0xNN>`; -1 without
};

}  // namespace rpt::text

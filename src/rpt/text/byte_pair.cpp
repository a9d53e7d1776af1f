// SPDX-License-Identifier: MIT
#include "rpt/text/byte_pair.h"

#include <algorithm>
#include <limits>

#include "rpt/core/error.h"
#include "rpt/text/byte_level.h"
#include "rpt/text/utf8.h"

namespace rpt::text {

namespace {

constexpr std::size_t kShortWord = 48;  // units up to which scanning for the lowest rank beats a heap
constexpr std::uint32_t kNoRank = std::numeric_limits<std::uint32_t>::max();
constexpr std::uint32_t kNone = std::numeric_limits<std::uint32_t>::max();

}  // namespace

const std::vector<TokenEnd>* BytePairScratch::recall(std::string_view piece) {
  if (slots_.empty() || piece.size() > kMaxPiece) return nullptr;
  const Slot& slot = slots_[hash_bytes(piece) % kSlots];
  if (std::string_view(slot.piece.data(), slot.piece_size) != piece) return nullptr;
  recalled_.clear();
  for (std::size_t i = 0; i < slot.token_count; ++i) recalled_.push_back({slot.ids[i], slot.ends[i]});
  return &recalled_;
}

void BytePairScratch::remember(std::string_view piece, const TokenEnd* tokens, std::size_t count) {
  if (piece.size() > kMaxPiece || count > kMaxTokens) return;
  if (slots_.empty()) slots_.resize(kSlots);
  Slot& slot = slots_[hash_bytes(piece) % kSlots];
  slot.piece_size = static_cast<std::uint8_t>(piece.size());
  slot.token_count = static_cast<std::uint8_t>(count);
  std::copy(piece.begin(), piece.end(), slot.piece.begin());
  for (std::size_t i = 0; i < count; ++i) {
    slot.ids[i] = tokens[i].id;
    slot.ends[i] = static_cast<std::uint8_t>(tokens[i].end);
  }
}

BytePairModel::BytePairModel(const Vocabulary& vocabulary, const BytePairOptions& options, std::size_t merge_count)
    : options_(options), vocabulary_size_(vocabulary.size()), pairs_(merge_count) {
  RPT_CHECK(merge_count <= kMaxMerges, "{} merges", merge_count);
  merges_.reserve(merge_count);
  for (unsigned byte = 0; byte < 256; ++byte) {
    std::string unit;
    if (options.byte_level) {
      append_utf8(unit, byte_to_char(static_cast<std::uint8_t>(byte)));
    } else {
      unit = fmt::format("<0x{:02X}>", byte);
    }
    const std::int32_t id = vocabulary.find(unit);
    byte_ids_[byte] = id >= 0 && vocabulary.is_plain(id) ? id : -1;
  }
}

bool BytePairModel::add_merge(std::int32_t left, std::int32_t right, std::uint32_t rank, std::int32_t merged) {
  if (!pairs_.insert(left, right, rank, merged)) return false;
  if (left < vocabulary_size_ && right < vocabulary_size_) merges_.emplace_back(left, right);
  return true;
}

std::int32_t BytePairModel::stand_in(std::string_view character) {
  const auto next = vocabulary_size_ + static_cast<std::int32_t>(stand_ins_.size());
  return stand_ins_.emplace(character, next).first->second;
}

std::uint64_t BytePairModel::encode(const Vocabulary& vocabulary, std::string_view piece, BytePairScratch& scratch,
                                    std::vector<TokenEnd>& out) const {
  if (const std::vector<TokenEnd>* known = scratch.recall(piece)) {
    out.insert(out.end(), known->begin(), known->end());
    return 0;
  }
  const std::size_t before = out.size();
  const std::uint64_t dropped = encode_uncached(vocabulary, piece, scratch, out);
  if (dropped == 0) scratch.remember(piece, out.data() + before, out.size() - before);
  return dropped;
}

std::uint64_t BytePairModel::encode_uncached(const Vocabulary& vocabulary, std::string_view piece,
                                             BytePairScratch& scratch, std::vector<TokenEnd>& out) const {
  RPT_CHECK(!piece.empty() && piece.size() < kNone, "a pre-token of {} bytes", piece.size());
  if (options_.ignore_merges) {
    const std::int32_t id = whole_token(vocabulary, piece, scratch);
    if (id >= 0) {
      out.push_back({id, static_cast<std::uint32_t>(piece.size())});
      return 0;
    }
  }
  std::vector<TokenEnd>& units = scratch.units_;
  units.clear();
  std::uint64_t dropped = make_units(vocabulary, piece, units);
  if (units.size() <= kShortWord) {
    merge_short(scratch);
  } else {
    merge_long(scratch);
  }
  if (!stand_ins_.empty()) dropped += resolve_stand_ins(piece, units);
  out.insert(out.end(), units.begin(), units.end());
  return dropped;
}

std::int32_t BytePairModel::whole_token(const Vocabulary& vocabulary, std::string_view piece,
                                        BytePairScratch& scratch) const {
  std::string_view token = piece;
  if (options_.byte_level) {
    scratch.form_.clear();
    append_byte_level(scratch.form_, piece);
    token = scratch.form_;
  }
  const std::int32_t id = vocabulary.find(token);
  return id >= 0 && vocabulary.is_plain(id) ? id : -1;
}

/// Cuts a pre-token into its smallest tokens. Units without a token go to fallback bytes, else to the unknown token,
/// else they are left out, and what stands around them becomes neighbours.
std::uint64_t BytePairModel::make_units(const Vocabulary& vocabulary, std::string_view piece,
                                        std::vector<TokenEnd>& units) const {
  std::uint64_t dropped = 0;
  for (std::size_t begin = 0, size = 0; begin < piece.size(); begin += size) {
    size = options_.byte_level ? 1 : decode_utf8(piece.substr(begin)).size;
    const std::string_view unit = piece.substr(begin, size);
    const auto end = static_cast<std::uint32_t>(begin + size);
    std::int32_t id = -1;
    if (options_.byte_level) {
      id = byte_ids_[static_cast<std::uint8_t>(unit[0])];
    } else {
      id = vocabulary.find(unit);
      if (id >= 0 && !vocabulary.is_plain(id)) id = -1;
    }
    if (id < 0 && !stand_ins_.empty()) {
      const auto found = stand_ins_.find(unit);
      if (found != stand_ins_.end()) id = found->second;
    }
    if (id >= 0) {
      units.push_back({id, end});
    } else {
      dropped += add_without_token(unit, static_cast<std::uint32_t>(begin), units);
    }
  }
  return dropped;
}

/// Appends what stands for a unit without a token. Returns how many bytes nothing stands for.
std::uint64_t BytePairModel::add_without_token(std::string_view unit, std::uint32_t begin,
                                               std::vector<TokenEnd>& units) const {
  const auto end = begin + static_cast<std::uint32_t>(unit.size());
  if (options_.byte_fallback && add_fallback_bytes(unit, begin, units)) return 0;
  if (options_.unknown_id < 0) return unit.size();
  if (options_.fuse_unknown && !units.empty() && units.back().id == options_.unknown_id) {
    units.back().end = end;
  } else {
    units.push_back({options_.unknown_id, end});
  }
  return 0;
}

std::uint64_t BytePairModel::resolve_stand_ins(std::string_view piece, std::vector<TokenEnd>& units) const {
  std::uint64_t dropped = 0;
  std::uint32_t begin = 0;
  std::vector<TokenEnd> resolved;
  for (const TokenEnd& unit : units) {
    const bool fuses =
        options_.fuse_unknown && unit.id == options_.unknown_id && !resolved.empty() && resolved.back().id == unit.id;
    if (unit.id >= vocabulary_size_) {
      dropped += add_without_token(piece.substr(begin, unit.end - begin), begin, resolved);
    } else if (fuses) {
      resolved.back().end = unit.end;
    } else {
      resolved.push_back(unit);
    }
    begin = unit.end;
  }
  units = std::move(resolved);
  return dropped;
}

bool BytePairModel::add_fallback_bytes(std::string_view character, std::uint32_t begin,
                                       std::vector<TokenEnd>& units) const {
  if (options_.byte_level) return false;
  const auto id_of = [this](char byte) { return byte_ids_[static_cast<std::uint8_t>(byte)]; };
  if (std::any_of(character.begin(), character.end(), [&](char byte) { return id_of(byte) < 0; })) return false;
  for (const char byte : character) units.push_back({id_of(byte), ++begin});
  return true;
}

/// Merges scratch.units_ by scanning for the lowest rank.
void BytePairModel::merge_short(BytePairScratch& scratch) const {
  std::vector<TokenEnd>& units = scratch.units_;
  std::vector<std::uint32_t>& ranks = scratch.ranks_;  // ranks[i] and merged[i] are those of units i and i + 1
  std::vector<std::int32_t>& merged = scratch.merged_;
  if (units.size() < 2) return;
  ranks.assign(units.size() - 1, kNoRank);
  merged.assign(units.size() - 1, -1);
  const auto look_up = [&](std::size_t i) {
    const PairTable::Entry& entry = pairs_.find(units[i].id, units[i + 1].id);
    ranks[i] = entry.rank;
    merged[i] = entry.merged;
  };
  for (std::size_t i = 0; i < ranks.size(); ++i) look_up(i);
  while (!ranks.empty()) {
    const auto lowest = static_cast<std::size_t>(std::min_element(ranks.begin(), ranks.end()) - ranks.begin());
    if (merged[lowest] < 0) return;
    units[lowest] = {merged[lowest], units[lowest + 1].end};
    const auto at = static_cast<std::ptrdiff_t>(lowest);
    units.erase(units.begin() + at + 1);
    ranks.erase(ranks.begin() + at);
    merged.erase(merged.begin() + at);
    if (lowest > 0) look_up(lowest - 1);
    if (lowest < ranks.size()) look_up(lowest);
  }
}

/// Merges scratch.units_ with a linked list and a heap of candidates. A candidate whose symbols have changed since is
/// stale and passed over.
void BytePairModel::merge_long(BytePairScratch& scratch) const {
  std::vector<TokenEnd>& units = scratch.units_;
  auto& symbols = scratch.symbols_;
  auto& heap = scratch.heap_;
  symbols.clear();
  heap.clear();
  const auto count = static_cast<std::uint32_t>(units.size());
  for (std::uint32_t i = 0; i < count; ++i) {
    symbols.push_back({units[i].id, units[i].end, i == 0 ? kNone : i - 1, i + 1 == count ? kNone : i + 1});
  }
  const auto later = [](const auto& a, const auto& b) {
    return a.rank != b.rank ? a.rank > b.rank : a.position > b.position;
  };
  const auto offer = [&](std::uint32_t position) {
    const auto& left = symbols[position];
    const std::int32_t right = symbols[left.next].id;
    const PairTable::Entry& entry = pairs_.find(left.id, right);
    if (entry.merged < 0) return;
    heap.push_back({entry.rank, position, left.id, right, entry.merged});
  };
  const auto offer_late = [&](std::uint32_t position) {
    const std::size_t before = heap.size();
    offer(position);
    if (heap.size() > before) std::push_heap(heap.begin(), heap.end(), later);
  };
  for (std::uint32_t i = 0; i + 1 < count; ++i) offer(i);
  std::make_heap(heap.begin(), heap.end(), later);
  while (!heap.empty()) {
    std::pop_heap(heap.begin(), heap.end(), later);
    const auto best = heap.back();
    heap.pop_back();
    auto& left = symbols[best.position];
    if (left.id != best.left || left.next == kNone || symbols[left.next].id != best.right) continue;
    auto& right = symbols[left.next];
    left.id = best.merged;
    left.end = right.end;
    left.next = right.next;
    right.id = -1;  // gone
    if (left.next != kNone) symbols[left.next].previous = best.position;
    if (left.previous != kNone) offer_late(left.previous);
    if (left.next != kNone) offer_late(best.position);
  }
  units.clear();
  for (std::uint32_t i = 0; i != kNone; i = symbols[i].next) units.push_back({symbols[i].id, symbols[i].end});
}

bool BytePairModel::holds_every_byte() const {
  return std::all_of(byte_ids_.begin(), byte_ids_.end(), [](std::int32_t id) { return id >= 0; });
}

bool BytePairModel::every_token_merges(const Vocabulary& vocabulary) const {
  BytePairScratch scratch;
  for (std::int32_t id = 0; id < vocabulary.size(); ++id) {
    if (!vocabulary.is_plain(id) || vocabulary.is_literal(id)) continue;
    std::string bytes(vocabulary.text(id));
    if (options_.byte_level) bytes = from_byte_level(bytes).value_or("");
    if (bytes.empty()) continue;  // outside the alphabet: no pre-token can be this token
    scratch.units_.clear();
    if (make_units(vocabulary, bytes, scratch.units_) > 0) return false;
    merge_long(scratch);
    if (scratch.units_.size() != 1 || scratch.units_[0].id != id) return false;
  }
  return true;
}

}  // namespace rpt::text

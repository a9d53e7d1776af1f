// SPDX-License-Identifier: MIT
#pragma once
#include <bit>
#include <cstdint>
#include <cstring>
#include <limits>
#include <string_view>
#include <vector>

namespace rpt::text {

/// Open-addressing tables for vocabularies. Opening a model inserts 128,000 strings and 280,000 pairs; node-based maps
/// take half a second for that, these some 50 ms.

/// Both halves of the product folded: every input bit reaches every output bit.
inline std::uint64_t mix_hash(std::uint64_t a, std::uint64_t b) {
  __extension__ typedef unsigned __int128 Wide;
  const Wide product = static_cast<Wide>(a) * b;
  return static_cast<std::uint64_t>(product) ^ static_cast<std::uint64_t>(product >> 64);
}

inline std::uint64_t hash_bytes(std::string_view bytes) {
  std::uint64_t h = 0x9E3779B97F4A7C15ULL ^ bytes.size();
  const char* p = bytes.data();
  std::size_t left = bytes.size();
  std::uint64_t word;
  for (; left >= 8; p += 8, left -= 8) {
    std::memcpy(&word, p, 8);
    h = mix_hash(h ^ word, 0xD6E8FEB86659FD93ULL);
  }
  word = 0;
  if (left > 0) std::memcpy(&word, p, left);
  return mix_hash(h ^ word, 0xA0761D6478BD642FULL);
}

/// From strings, which stay with the caller, to their index in the caller's list.
class StringTable {
 public:
  /// Room for `count` strings, at most 2^30.
  explicit StringTable(std::size_t count = 0) : slots_(std::bit_ceil(2 * count + 2)) {}

  /// Enters keys[index]; the index of an equal key that is there already, or -1.
  std::int32_t insert(const std::vector<std::string_view>& keys, std::int32_t index) {
    Slot& slot = slots_[locate(keys, keys[static_cast<std::size_t>(index)])];
    if (slot.index >= 0) return slot.index;
    slot = {tag(hash_bytes(keys[static_cast<std::size_t>(index)])), index};
    return -1;
  }

  /// The index of `key`, or -1.
  std::int32_t find(const std::vector<std::string_view>& keys, std::string_view key) const {
    return slots_[locate(keys, key)].index;
  }

 private:
  struct Slot {
    std::uint32_t tag = 0;
    std::int32_t index = -1;
  };
  static std::uint32_t tag(std::uint64_t hash) { return static_cast<std::uint32_t>(hash >> 32); }

  /// The slot that holds `key`, or the free one where it belongs.
  std::size_t locate(const std::vector<std::string_view>& keys, std::string_view key) const {
    const std::uint64_t hash = hash_bytes(key);
    const std::size_t mask = slots_.size() - 1;
    std::size_t i = static_cast<std::size_t>(hash) & mask;
    while (slots_[i].index >= 0 &&
           (slots_[i].tag != tag(hash) || keys[static_cast<std::size_t>(slots_[i].index)] != key)) {
      i = (i + 1) & mask;
    }
    return i;
  }

  std::vector<Slot> slots_;
};

/// From a pair of token ids to the rank of their merge and the id it makes.
class PairTable {
 public:
  struct Entry {
    std::uint64_t key = kFree;
    std::uint32_t rank = std::numeric_limits<std::uint32_t>::max();
    std::int32_t merged = -1;
  };

  /// Room for `count` pairs, at most 2^30, before the table has to grow.
  explicit PairTable(std::size_t count = 0) : slots_(std::bit_ceil(count + count / 2 + 4)) {}

  /// False where the pair is there already.
  bool insert(std::int32_t left, std::int32_t right, std::uint32_t rank, std::int32_t merged) {
    Entry& slot = slots_[locate(key_of(left, right))];
    if (slot.key != kFree) return false;
    slot = {key_of(left, right), rank, merged};
    if (++used_ > slots_.size() / 4 * 3) grow();
    return true;
  }

  /// The entry of a pair; one with merged < 0 where the two do not merge.
  const Entry& find(std::int32_t left, std::int32_t right) const { return slots_[locate(key_of(left, right))]; }

 private:
  static constexpr std::uint64_t kFree = ~std::uint64_t{0};  // no pair of ids ≥ 0
  static std::uint64_t key_of(std::int32_t left, std::int32_t right) {
    return (static_cast<std::uint64_t>(static_cast<std::uint32_t>(left)) << 32) | static_cast<std::uint32_t>(right);
  }
  std::size_t locate(std::uint64_t key) const {
    const std::size_t mask = slots_.size() - 1;
    std::size_t i = static_cast<std::size_t>(mix_hash(key ^ 0x9E3779B97F4A7C15ULL, 0xD6E8FEB86659FD93ULL)) & mask;
    while (slots_[i].key != kFree && slots_[i].key != key) i = (i + 1) & mask;
    return i;
  }

  void grow() {
    std::vector<Entry> old(2 * slots_.size());
    old.swap(slots_);
    for (const Entry& entry : old) {
      if (entry.key != kFree) slots_[locate(entry.key)] = entry;
    }
  }

  std::vector<Entry> slots_;
  std::size_t used_ = 0;
};

}  // namespace rpt::text

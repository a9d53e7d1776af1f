// SPDX-License-Identifier: MIT
#pragma once
#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <cstring>
#include <limits>
#include <span>
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

template <typename Word>
std::uint64_t load_word(const char* p) {
  Word word;
  std::memcpy(&word, p, sizeof(word));
  return word;
}

inline std::uint64_t hash_bytes(std::string_view bytes) {
  const std::size_t size = bytes.size();
  const char* const p = bytes.data();
  std::uint64_t h = 0x9E3779B97F4A7C15ULL ^ size;
  std::uint64_t last = 0;  // the last bytes, up to 8; where loads overlap, size tells texts apart
  if (size >= 8) {
    for (std::size_t i = 0; i + 8 < size; i += 8)
      h = mix_hash(h ^ load_word<std::uint64_t>(p + i), 0xD6E8FEB86659FD93ULL);
    last = load_word<std::uint64_t>(p + size - 8);
  } else if (size >= 4) {
    last = load_word<std::uint32_t>(p) << 32 | load_word<std::uint32_t>(p + size - 4);
  } else if (size > 0) {
    last = load_word<std::uint8_t>(p) << 16 | load_word<std::uint8_t>(p + size / 2) << 8 |
           load_word<std::uint8_t>(p + size - 1);
  }
  return mix_hash(h ^ last, 0xA0761D6478BD642FULL);
}

/// From strings, which stay with the caller, to their index in the caller's list.
class StringTable {
 public:
  /// Room for `count` strings, at most 2^30.
  explicit StringTable(std::size_t count = 0) : slots_(std::bit_ceil(2 * count + 2)) {}

  /// Enters keys[index]; the index of an equal key that is there already, or -1.
  std::int32_t insert(const std::vector<std::string_view>& keys, std::int32_t index) {
    const std::string_view key = keys[static_cast<std::size_t>(index)];
    const std::uint64_t hash = hash_bytes(key);
    Slot& slot = slots_[locate(keys, key, hash)];
    if (slot.index >= 0) return slot.index;
    slot = {tag(hash), index};
    return -1;
  }

  /// The index of `key`, or -1.
  std::int32_t find(const std::vector<std::string_view>& keys, std::string_view key) const {
    return slots_[locate(keys, key, hash_bytes(key))].index;
  }

  /// find for each of `wanted`, together: the three places in memory that a look-up depends on are fetched for many of
  /// them before they are needed. Opening a model makes 840,000 look-ups in 5 MB; so they take half the time.
  void find_many(const std::vector<std::string_view>& keys, std::span<const std::string_view> wanted,
                 std::span<std::int32_t> found) const {
    constexpr std::size_t kBlock = 64;
    std::array<std::uint64_t, kBlock> hashes;
    for (std::size_t begin = 0; begin < wanted.size(); begin += kBlock) {
      const std::size_t count = std::min(kBlock, wanted.size() - begin);
      for (std::size_t i = 0; i < count; ++i) {
        hashes[i] = hash_bytes(wanted[begin + i]);
        __builtin_prefetch(&home(hashes[i]));
      }
      for (std::size_t i = 0; i < count; ++i) {
        if (home(hashes[i]).index >= 0) __builtin_prefetch(&keys[static_cast<std::size_t>(home(hashes[i]).index)]);
      }
      for (std::size_t i = 0; i < count; ++i) {
        if (home(hashes[i]).index >= 0)
          __builtin_prefetch(keys[static_cast<std::size_t>(home(hashes[i]).index)].data());
      }
      for (std::size_t i = 0; i < count; ++i) {
        found[begin + i] = slots_[locate(keys, wanted[begin + i], hashes[i])].index;
      }
    }
  }

 private:
  struct Slot {
    std::uint32_t tag = 0;
    std::int32_t index = -1;
  };
  const Slot& home(std::uint64_t hash) const { return slots_[static_cast<std::size_t>(hash) & (slots_.size() - 1)]; }
  static std::uint32_t tag(std::uint64_t hash) { return static_cast<std::uint32_t>(hash >> 32); }

  /// The slot that holds `key`, or the free one where it belongs.
  std::size_t locate(const std::vector<std::string_view>& keys, std::string_view key, std::uint64_t hash) const {
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

  /// Announces that a pair will be inserted soon.
  void prefetch(std::int32_t left, std::int32_t right) const {
    __builtin_prefetch(&slots_[home(key_of(left, right))], 1);
  }

  /// The entry of a pair; one with merged < 0 where the two do not merge.
  const Entry& find(std::int32_t left, std::int32_t right) const { return slots_[locate(key_of(left, right))]; }

 private:
  static constexpr std::uint64_t kFree = ~std::uint64_t{0};  // no pair of ids ≥ 0
  static std::uint64_t key_of(std::int32_t left, std::int32_t right) {
    return (static_cast<std::uint64_t>(static_cast<std::uint32_t>(left)) << 32) | static_cast<std::uint32_t>(right);
  }
  std::size_t home(std::uint64_t key) const {
    return static_cast<std::size_t>(mix_hash(key ^ 0x9E3779B97F4A7C15ULL, 0xD6E8FEB86659FD93ULL)) & (slots_.size() - 1);
  }
  std::size_t locate(std::uint64_t key) const {
    const std::size_t mask = slots_.size() - 1;
    std::size_t i = home(key);
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

// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <vector>

#include "rpt/core/aligned_buffer.h"
#include "rpt/model/config.h"

namespace rpt::model {

/// Keys and values of one sequence, f16, for every layer and key/value head: [L][G][S][D], so that the positions of a
/// head stand together. Holds at most `capacity` positions.
class KvCache {
 public:
  /// Sizes: capacity S, 1 to the model's context. Cost: 4 · L · G · D · S bytes. Throws ConfigError for another
  /// capacity.
  KvCache(const Config& config, std::int64_t capacity);

  std::int64_t capacity() const { return capacity_; }
  /// Positions filled so far.
  std::int64_t size() const { return size_; }
  /// Forgets all positions from `size` on; with 0, everything.
  void truncate(std::int64_t size);
  /// Counts `count` more positions as filled, after every layer has written them.
  void advance(std::int64_t count);

  /// First element of position 0 of a head; position j stands j · head_size elements further.
  std::uint16_t* keys(std::int64_t layer, std::int64_t head) { return keys_.data() + at(layer, head); }
  std::uint16_t* values(std::int64_t layer, std::int64_t head) { return values_.data() + at(layer, head); }

 private:
  std::int64_t at(std::int64_t layer, std::int64_t head) const {
    return (layer * kv_heads_ + head) * capacity_ * head_size_;
  }
  std::int64_t kv_heads_;
  std::int64_t head_size_;
  std::int64_t capacity_;
  std::int64_t size_ = 0;
  core::AlignedBuffer<std::uint16_t> keys_;
  core::AlignedBuffer<std::uint16_t> values_;
};

}  // namespace rpt::model

// SPDX-License-Identifier: MIT
#include "rpt/model/kv_cache.h"

#include "rpt/core/error.h"

namespace rpt::model {

KvCache::KvCache(const Config& config, std::int64_t capacity)
    : kv_heads_(config.kv_heads), head_size_(config.head_size), capacity_(capacity) {
  if (capacity < 1 || capacity > config.context) {
    throw ConfigError(
        fmt::format("a cache of {} positions for a model with a context of {}", capacity, config.context));
  }
  const auto count = static_cast<std::size_t>(config.layers * config.kv_size() * capacity);
  keys_.resize(count);
  values_.resize(count);
}

void KvCache::truncate(std::int64_t size) {
  RPT_CHECK(size >= 0 && size <= size_, "{} of {} positions", size, size_);
  size_ = size;
}

void KvCache::advance(std::int64_t count) {
  RPT_CHECK(count >= 0 && count <= capacity_ - size_, "{} + {} of {} positions", size_, count, capacity_);
  size_ += count;
}

}  // namespace rpt::model

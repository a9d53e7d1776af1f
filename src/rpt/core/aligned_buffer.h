// SPDX-License-Identifier: MIT
#pragma once
#include <cstddef>
#include <cstring>
#include <limits>
#include <memory>
#include <new>
#include <span>
#include <type_traits>
#include <utility>

#include "rpt/core/error.h"
#include "rpt/core/memory.h"

namespace rpt::core {

/// An owning array of plain values, aligned to 64 bytes and zeroed. Moves, does not copy.
template <typename T>
class AlignedBuffer {
  static_assert(std::is_trivially_copyable_v<T>);

 public:
  static constexpr std::size_t kAlignment = 64;  ///< bytes

  AlignedBuffer() = default;
  explicit AlignedBuffer(std::size_t count) { resize(count); }
  AlignedBuffer(AlignedBuffer&& other) noexcept : data_(std::move(other.data_)), size_(std::exchange(other.size_, 0)) {}
  AlignedBuffer& operator=(AlignedBuffer&& other) noexcept {
    data_ = std::move(other.data_);
    size_ = std::exchange(other.size_, 0);
    return *this;
  }

  /// Makes room for `count` zeroed values; what was there is lost (also where std::bad_alloc is thrown).
  void resize(std::size_t count) {
    RPT_CHECK(count <= std::numeric_limits<std::size_t>::max() / sizeof(T) - kAlignment, "{} values", count);
    data_.reset();  // first, so that old and new need no room side by side
    size_ = 0;
    if (count == 0) return;
    data_.reset(static_cast<T*>(::operator new (count * sizeof(T), std::align_val_t{kAlignment})));
    size_ = count;
    advise_huge_pages(data_.get(), count * sizeof(T));
    std::memset(static_cast<void*>(data_.get()), 0, count * sizeof(T));
  }

  /// Grows to at least `count` values (contents lost when it grows); never shrinks. For scratch space.
  void reserve_scratch(std::size_t count) {
    if (count > size_) resize(count);
  }

  T* data() { return data_.get(); }
  const T* data() const { return data_.get(); }
  std::size_t size() const { return size_; }
  T& operator[](std::size_t i) { return data_.get()[i]; }
  const T& operator[](std::size_t i) const { return data_.get()[i]; }
  std::span<T> span() { return {data(), size_}; }
  std::span<const T> span() const { return {data(), size_}; }

 private:
  struct Release {
    void operator()(T* p) const { ::operator delete (p, std::align_val_t{kAlignment}); }
  };
  std::unique_ptr<T, Release> data_;
  std::size_t size_ = 0;
};

}  // namespace rpt::core

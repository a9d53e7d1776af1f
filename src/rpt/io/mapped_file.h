// SPDX-License-Identifier: MIT
#pragma once
#include <cstddef>
#include <filesystem>
#include <span>
#include <utility>

namespace rpt::io {

/// A whole regular file as read-only memory. Pages are read when they are touched, so opening costs nothing per byte.
/// The mapping is of the file, not a copy of it: a file that another process cuts short while it is mapped kills the
/// reader (SIGBUS) at the first touch of a page that is gone, and one that is overwritten in place changes under it.
/// Files that are replaced by rename, as all writers here do, are safe.
class MappedFile {
 public:
  /// Nothing mapped; bytes() is empty.
  MappedFile() = default;
  /// Throws IoError for a file that is missing, unreadable or no regular file. An empty file gives empty bytes.
  explicit MappedFile(std::filesystem::path path);
  ~MappedFile();
  MappedFile(MappedFile&& other) noexcept { swap(other); }
  MappedFile& operator=(MappedFile&& other) noexcept {
    MappedFile(std::move(other)).swap(*this);
    return *this;
  }
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  const std::filesystem::path& path() const { return path_; }
  /// The file's bytes; they stay where they are when the MappedFile is moved.
  std::span<const std::byte> bytes() const { return {data_, size_}; }

  /// Hints about the access to come: front to back, at random (no read-ahead), or all of it soon. They change speed
  /// only.
  void advise_sequential() const;
  void advise_random() const;
  void advise_willneed() const;

 private:
  void swap(MappedFile& other) noexcept {
    path_.swap(other.path_);
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
  }
  void advise(int advice) const;

  std::filesystem::path path_;
  const std::byte* data_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace rpt::io

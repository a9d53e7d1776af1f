// SPDX-License-Identifier: MIT
#pragma once
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>

namespace rpt::core {

/// A file that appears whole or not at all: bytes go to a temporary name beside the target, commit() syncs and renames.
/// Without commit() the destructor removes the temporary file and the target is as it was.
class AtomicFile {
 public:
  /// Throws IoError when the temporary file cannot be made.
  explicit AtomicFile(std::filesystem::path target);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  /// Appends bytes. Throws IoError (disk full, …).
  void write(const void* data, std::size_t size);
  void write(std::string_view text) { write(text.data(), text.size()); }
  /// Appends `count` zero bytes.
  void write_zeros(std::size_t count);
  /// Bytes written so far.
  std::uint64_t position() const { return position_; }
  /// Overwrites bytes that were written before, at `offset` from the start. Throws IoError.
  void overwrite(std::uint64_t offset, const void* data, std::size_t size);
  /// Pushes everything written so far to the temporary file, so that it can be opened by that name.
  void flush();
  /// The temporary name, readable after flush().
  const std::filesystem::path& temporary_path() const { return temporary_; }
  /// Syncs, renames to the target, syncs the folder. Throws IoError. Call once.
  void commit();

 private:
  void write_all(const void* data, std::size_t size);
  std::filesystem::path target_;
  std::filesystem::path temporary_;
  int fd_ = -1;
  std::uint64_t position_ = 0;
  std::string buffer_;
};

/// Writes a whole small file atomically. Throws IoError.
void write_file_atomic(const std::filesystem::path& path, std::string_view content);

/// Reads a whole file. Throws IoError; `limit` bounds the size in bytes (ConfigError beyond it).
std::string read_file(const std::filesystem::path& path, std::uint64_t limit = std::uint64_t{1} << 32);

/// A folder that appears whole or not at all: fill path(), then commit() renames it to the target. Refuses (IoError) a
/// target that exists and is not empty, unless `replace`, which swaps the old folder out and removes it.
class AtomicDirectory {
 public:
  explicit AtomicDirectory(std::filesystem::path target, bool replace = false);
  ~AtomicDirectory();
  AtomicDirectory(const AtomicDirectory&) = delete;
  AtomicDirectory& operator=(const AtomicDirectory&) = delete;
  const std::filesystem::path& path() const { return temporary_; }
  void commit();

 private:
  std::filesystem::path target_;
  std::filesystem::path temporary_;
  bool replace_;
  bool committed_ = false;
};

}  // namespace rpt::core

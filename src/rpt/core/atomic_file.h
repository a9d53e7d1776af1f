// SPDX-License-Identifier: MIT
#pragma once
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace rpt::core {

/// A file that appears whole or not at all: bytes go to a temporary name beside the target
/// (`<target>.tmp.<process>.<n>`), commit() syncs and renames. Without commit() the destructor removes the temporary
/// file and the target is as it was. A target that is a symbolic link is followed. For one thread.
class AtomicFile {
 public:
  /// Throws IoError when the target exists and is no regular file, or when the temporary file cannot be made.
  explicit AtomicFile(std::filesystem::path target);
  ~AtomicFile() { discard(); }
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  /// Appends bytes. Throws IoError (disk full, …); the file is then given up and takes no further calls.
  void write(const void* data, std::size_t size);
  void write(std::string_view text) { write(text.data(), text.size()); }
  /// Appends `count` zero bytes. Throws as write.
  void write_zeros(std::uint64_t count);
  /// Bytes written so far.
  std::uint64_t position() const { return position_; }
  /// Overwrites bytes that were written before, at `offset` from the start. Throws as write.
  void overwrite(std::uint64_t offset, const void* data, std::size_t size);
  /// Pushes everything written so far to the temporary file, so that it can be opened by that name. Throws as write.
  void flush();
  /// The temporary name, readable after flush().
  const std::filesystem::path& temporary_path() const { return temporary_; }
  /// Syncs, renames to the target, syncs the folder. Throws IoError. Call once.
  void commit();

 private:
  void write_all(const void* data, std::size_t size, std::uint64_t offset);
  void discard() noexcept;
  [[noreturn]] void fail(const char* what, int error);

  std::filesystem::path target_;
  std::filesystem::path temporary_;
  int fd_ = -1;  ///< the temporary file exists while this is open
  std::uint64_t position_ = 0;
  std::string buffer_;  ///< the last bytes before position_, not yet in the file
};

/// Writes a whole small file atomically. Throws IoError.
void write_file_atomic(const std::filesystem::path& path, std::string_view content);

/// Reads a whole file. Throws IoError; `limit` bounds the size in bytes (ConfigError beyond it).
std::string read_file(const std::filesystem::path& path, std::uint64_t limit = std::uint64_t{1} << 32);

/// A folder that appears whole or not at all: fill path(), then commit() syncs it and renames it to the target. Without
/// commit() the destructor removes what was filled in. Refuses (IoError) a target that is no folder, or that is not
/// empty unless `replace`, which swaps the old folder out and removes it. A target that is a symbolic link is followed.
class AtomicDirectory {
 public:
  /// Throws IoError as above, or when the temporary folder cannot be made.
  explicit AtomicDirectory(std::filesystem::path target, bool replace = false);
  ~AtomicDirectory();
  AtomicDirectory(const AtomicDirectory&) = delete;
  AtomicDirectory& operator=(const AtomicDirectory&) = delete;
  /// The temporary folder.
  const std::filesystem::path& path() const { return temporary_; }
  /// Throws IoError; the target is then as it was, unless all that failed was syncing its folder or removing what it
  /// replaced. Call once.
  void commit();

 private:
  void check_target() const;
  void replace_target();

  std::filesystem::path target_;
  std::filesystem::path temporary_;
  bool replace_;
  bool committed_ = false;
};

/// Names of what stands in a folder; none where it is no folder. Throws: OutputError where it cannot be listed.
std::vector<std::string> names_in(const std::filesystem::path& folder);

/// The first entry of a folder, by name, that is no file of one of these names: what others have put there, and would
/// lose where the folder is replaced. Throws: OutputError where it cannot be listed.
std::optional<std::filesystem::path> find_foreign(const std::filesystem::path& folder,
                                                  const std::vector<std::string>& names);

}  // namespace rpt::core

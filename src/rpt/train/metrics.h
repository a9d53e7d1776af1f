// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <string_view>

namespace rpt::train {

/// Lines appended to metrics.jsonl, for one process at a time: as long as it lives it is the lock of a run's folder.
class Metrics {
 public:
  /// Opens the file, which a run goes on with that had written `keep_bytes` when its checkpoint was saved: what came
  /// behind is cut off. Where less is left than that (the machine stopped before all was on disk, and may
  /// have left zeros), its whole lines stay and `warn` is told. Throws: ConfigError where another process writes to it,
  /// or where no line ends at `keep_bytes`, so that it is another file; OutputError.
  Metrics(const std::filesystem::path& path, std::uint64_t keep_bytes,
          const std::function<void(const std::string&)>& warn);
  ~Metrics();
  Metrics(const Metrics&) = delete;
  Metrics& operator=(const Metrics&) = delete;

  /// Appends a line, given without its end. Throws: OutputError.
  void add(std::string_view line);
  /// Brings all lines to the disk. Throws: OutputError.
  void sync() const;
  /// Bytes of the file.
  std::uint64_t bytes() const { return bytes_; }

 private:
  void open(std::uint64_t keep_bytes, const std::function<void(const std::string&)>& warn);
  void read(std::uint64_t begin, std::span<char> bytes) const;
  /// Bytes of the whole lines within the first `end`.
  std::uint64_t whole_lines(std::uint64_t end) const;
  [[noreturn]] void fail() const;

  std::filesystem::path path_;
  int fd_ = -1;
  std::uint64_t bytes_ = 0;
};

}  // namespace rpt::train

// SPDX-License-Identifier: MIT
#pragma once
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>

#include "rpt/core/atomic_file.h"

namespace rpt::evaluate {

/// Writes the logits of scored tokens to a file that appears whole or not at all. Everything little endian:
///
///   8 bytes  "RPTLOGIT"
///   u32      version, 1
///   u32      V, the size of the vocabulary
///   u64      n, the number of scored tokens
///   n ×      i32 target, f32 [V] logits
class LogitsWriter {
 public:
  /// Throws: ConfigError for a vocabulary that is not 1 … 2^31 − 1; IoError.
  LogitsWriter(const std::filesystem::path& path, std::int64_t vocabulary, std::uint64_t count);
  /// The next token. Throws: ShapeError for a row of another length; IoError.
  void add(std::int32_t target, std::span<const float> logits);
  /// Makes the file appear; all tokens must have been added. Throws: IoError.
  void commit();

 private:
  core::AtomicFile file_;
  std::size_t vocabulary_;
  std::uint64_t left_;
};

/// Bytes that such a file has, or nothing where that does not fit.
std::optional<std::uint64_t> saved_logits_bytes(std::int64_t vocabulary, std::uint64_t count);

}  // namespace rpt::evaluate

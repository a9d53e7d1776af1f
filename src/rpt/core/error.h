// SPDX-License-Identifier: MIT
#pragma once
#include <fmt/format.h>

#include <cstdint>
#include <stdexcept>
#include <string>

namespace rpt {

/// Base of every error that input or environment can cause. The message is one line.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// Bytes that are not what their format promises: `file: at offset N (what): expected E, found F`.
class FormatError : public Error {
 public:
  /// `place` names the part of the file ("tensor blk.0.attn_q.weight", "key general.alignment"); `offset` is in bytes
  /// from the start of the file.
  FormatError(const std::string& file, std::uint64_t offset, const std::string& place, const std::string& expected,
              const std::string& found)
      : Error(fmt::format("{}: at offset {} ({}): expected {}, found {}", file, offset, place, expected, found)),
        offset_(offset) {}

  /// Byte offset of the fault.
  std::uint64_t offset() const { return offset_; }

 private:
  std::uint64_t offset_;
};

/// Tensors or token lists whose sizes do not fit together.
class ShapeError : public Error {
 public:
  using Error::Error;
};

/// A configuration, option or model property that cannot be honoured.
class ConfigError : public Error {
 public:
  using Error::Error;
};

/// The operating system refused: open, read, map, write, rename.
class IoError : public Error {
 public:
  using Error::Error;
};

/// An output that cannot be written: no such folder, no permission, no space. Exit code 4.
class OutputError : public IoError {
 public:
  using IoError::IoError;
};

/// The environment lacks something that was asked for (an instruction set, memory). Exit code 4.
class EnvironmentError : public Error {
 public:
  using Error::Error;
};

/// A check or comparison that was asked for has failed. Exit code 1.
class CheckError : public Error {
 public:
  using Error::Error;
};

/// An activation that is infinite or NaN.
class NumericError : public Error {
 public:
  /// `row` is the row of the batch in which it stands.
  NumericError(const std::string& message, std::int64_t row) : Error(message), row_(row) {}
  std::int64_t row() const { return row_; }

 private:
  std::int64_t row_;
};

/// A broken promise inside the program; thrown by RPT_CHECK only.
class LogicError : public std::logic_error {
 public:
  using std::logic_error::logic_error;
};

namespace core {
[[noreturn]] inline void check_failed(const char* file, int line, const char* condition, const std::string& message) {
  throw LogicError(
      fmt::format("{}:{}: check failed: {}{}{}", file, line, condition, message.empty() ? "" : ": ", message));
}
}  // namespace core
}  // namespace rpt

/// Programmer errors only: throws LogicError with the condition and a fmt-formatted message (give the shapes).
#define RPT_CHECK(condition, ...)                                                               \
  do {                                                                                          \
    if (!(condition)) {                                                                         \
      ::rpt::core::check_failed(__FILE__, __LINE__, #condition, ::fmt::format("" __VA_ARGS__)); \
    }                                                                                           \
  } while (false)

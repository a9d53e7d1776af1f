// SPDX-License-Identifier: MIT
#pragma once
#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>

#include "rpt/core/error.h"

namespace rpt::io {

static_assert(std::endian::native == std::endian::little,
              "the formats of this room are little endian and read in place");

/// Text from a file as it may stand in an error message: one line, at most 80 bytes, anything but printable ASCII
/// escaped as \xNN.
std::string printable(std::string_view text);

/// A value of plain type T from bytes at any address.
template <typename T>
T load(const std::byte* from) {
  static_assert(std::is_trivially_copyable_v<T>);
  T value;
  std::memcpy(&value, from, sizeof(T));
  return value;
}

/// Reads little-endian values one after another from borrowed bytes and never beyond their end. Every function that
/// takes `place` names with it the part of the file in errors ("key general.name"); all of them throw FormatError where
/// the bytes are too short.
class ByteReader {
 public:
  /// `bytes` and the text of `file` must outlive the reader; `base_offset` is where `bytes` begins in the file.
  ByteReader(std::span<const std::byte> bytes, std::string_view file, std::uint64_t base_offset = 0)
      : bytes_(bytes), file_(file), base_(base_offset) {}

  /// Offset in the file of the next byte.
  std::uint64_t offset() const { return base_ + position_; }
  std::uint64_t remaining() const { return bytes_.size() - position_; }

  std::uint8_t u8(std::string_view place) { return read<std::uint8_t>(place); }
  std::uint16_t u16(std::string_view place) { return read<std::uint16_t>(place); }
  std::uint32_t u32(std::string_view place) { return read<std::uint32_t>(place); }
  std::uint64_t u64(std::string_view place) { return read<std::uint64_t>(place); }
  std::int8_t i8(std::string_view place) { return read<std::int8_t>(place); }
  std::int16_t i16(std::string_view place) { return read<std::int16_t>(place); }
  std::int32_t i32(std::string_view place) { return read<std::int32_t>(place); }
  std::int64_t i64(std::string_view place) { return read<std::int64_t>(place); }
  float f32(std::string_view place) { return read<float>(place); }
  double f64(std::string_view place) { return read<double>(place); }

  /// The next `count` bytes, in place.
  std::span<const std::byte> bytes(std::uint64_t count, std::string_view place) {
    if (count > remaining()) fail_short(place, count);
    const auto result = bytes_.subspan(position_, static_cast<std::size_t>(count));
    position_ += static_cast<std::size_t>(count);
    return result;
  }

  /// A string written as u64 length and its bytes, in place. Throws FormatError also for more than `limit` bytes.
  std::string_view string(std::string_view place, std::uint64_t limit = std::numeric_limits<std::uint64_t>::max()) {
    const std::uint64_t start = offset();
    const auto length = u64(place);
    if (length > limit)
      fail_at(start, place, fmt::format("a string of at most {} bytes", limit), describe_bytes(length));
    const auto text = bytes(length, place);
    return {reinterpret_cast<const char*>(text.data()), text.size()};
  }

  /// Throws FormatError at the next byte.
  [[noreturn]] void fail(std::string_view place, const std::string& expected, const std::string& found) const {
    fail_at(offset(), place, expected, found);
  }
  /// Throws FormatError at a given offset in the file.
  [[noreturn]] void fail_at(std::uint64_t at, std::string_view place, const std::string& expected,
                            const std::string& found) const;

 private:
  template <typename T>
  T read(std::string_view place) {
    if (sizeof(T) > remaining()) fail_short(place, sizeof(T));
    const T value = load<T>(bytes_.data() + position_);
    position_ += sizeof(T);
    return value;
  }
  static std::string describe_bytes(std::uint64_t count) { return fmt::format("{} bytes", count); }
  [[noreturn]] void fail_short(std::string_view place, std::uint64_t wanted) const;

  std::span<const std::byte> bytes_;
  std::string_view file_;
  std::uint64_t base_;
  std::size_t position_ = 0;
};

}  // namespace rpt::io

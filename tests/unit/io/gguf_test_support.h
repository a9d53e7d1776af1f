// SPDX-License-Identifier: MIT
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "tests/unit/io/io_test_support.h"

namespace rpt::test {

/// A GGUF file assembled by hand from parts that a test may damage one by one.
struct HandMadeGguf {
  struct Record {
    std::string name;
    std::vector<std::uint64_t> ne;
    std::uint32_t type = 0;
    std::uint64_t offset = 0;
  };
  std::string magic = "GGUF";
  std::uint32_t version = 3;
  std::uint64_t tensor_count = 2;
  std::uint64_t key_count = 2;
  std::vector<Bytes> keys = {text_key("general.architecture", "test"), u32_key("test.block_count", 7)};
  std::vector<Record> records = {{"a", {8, 3}, 0, 0}, {"b", {128}, 36, 96}};
  std::uint32_t alignment = 32;
  std::size_t data_bytes = 96 + 64;

  static Bytes text_key(std::string_view key, std::string_view value) { return Bytes().str(key).u32(8).str(value); }
  static Bytes u32_key(std::string_view key, std::uint32_t value) { return Bytes().str(key).u32(4).u32(value); }

  /// Everything up to the padding before the data.
  std::string head() const {
    Bytes b;
    b.raw(magic).u32(version).u64(tensor_count).u64(key_count);
    for (const auto& key : keys) b.raw(key.data);
    for (const auto& record : records) {
      b.str(record.name).u32(static_cast<std::uint32_t>(record.ne.size()));
      for (const auto extent : record.ne) b.u64(extent);
      b.u32(record.type).u64(record.offset);
    }
    return b.data;
  }
  /// The whole file; data bytes count 0, 1, 2, … mod 251.
  std::string file() const {
    Bytes b;
    b.raw(head()).pad(alignment);
    for (std::size_t i = 0; i < data_bytes; ++i) b.u8(static_cast<std::uint8_t>(i % 251));
    return b.data;
  }
};

}  // namespace rpt::test

// SPDX-License-Identifier: MIT
#pragma once
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "rpt/io/byte_reader.h"
#include "rpt/io/gguf_types.h"
#include "rpt/io/mapped_file.h"
#include "rpt/tensor/dtype.h"

namespace rpt::io {

/// One key and its value, in place. Values are decoded by the getters of GgufFile.
struct GgufEntry {
  std::string_view key;
  GgufValueType type = GgufValueType::u8;
  GgufValueType element_type = GgufValueType::u8;  ///< of an array; otherwise the same as type
  std::uint64_t count = 1;                         ///< elements of an array; otherwise 1
  std::uint64_t offset = 0;                        ///< of the first byte of `data` in the file
  /// The bare value: of a string its text, of an array its elements.
  std::span<const std::byte> data;
};

/// One tensor of a GGUF file. ne[0] counts the contiguous (input) dimension, so a matrix is [rows, columns] = [ne1·…,
/// ne0].
struct GgufTensor {
  std::string name;
  tensor::DType type = tensor::DType::f32;
  std::vector<std::int64_t> ne;     ///< 1 to 4 extents, contiguous first, each at least 1
  std::uint64_t offset = 0;         ///< bytes from the start of the file
  std::span<const std::byte> data;  ///< in place; aligned to GgufFile::alignment() in a mapped file

  std::int64_t columns() const { return ne[0]; }
  /// Product of all extents but the first; 1 for a vector.
  std::int64_t rows() const;
  std::int64_t elements() const { return rows() * columns(); }
};

/// A GGUF file, version 2 or 3, little endian. Opening reads keys and tensor records and checks every promise of the
/// format; tensor data are not touched, and strings and arrays stay where they are until they are asked for.
///
/// Getters come in pairs: get_X throws FormatError where the key is missing, find_X gives nothing then; both throw
/// FormatError (key, wanted and found type) where the value is of another type or does not fit. Source:
/// https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
class GgufFile {
 public:
  /// Maps a file. Throws IoError, FormatError.
  static GgufFile open(const std::filesystem::path& path);
  /// Maps a file and reads its keys only: tensors() stays empty, and what they are does not matter. Throws as open.
  static GgufFile open_keys(const std::filesystem::path& path);
  /// Maps a file that may have been cut short: tensors of which bytes are missing have no data, and missing_bytes()
  /// says how many the file lacks. Keys and records must be whole. Throws as open for every other fault.
  static GgufFile open_cut(const std::filesystem::path& path);
  /// Reads bytes that stand in memory and must outlive the result; `name` stands for the file in errors. Throws
  /// FormatError.
  static GgufFile parse(std::span<const std::byte> bytes, std::string name);

  /// The file's name as it stands in errors.
  const std::string& name() const { return name_; }
  std::uint32_t version() const { return version_; }
  /// Tensor data begin at multiples of this many bytes.
  std::uint32_t alignment() const { return alignment_; }
  /// All keys with their values, in file order.
  const std::vector<GgufEntry>& entries() const { return entries_; }
  /// All tensors, in file order.
  const std::vector<GgufTensor>& tensors() const { return tensors_; }
  /// The entry of a key, or nullptr.
  const GgufEntry* find(std::string_view key) const;
  bool contains(std::string_view key) const { return find(key) != nullptr; }
  /// The tensor of that name, or nullptr.
  const GgufTensor* find_tensor(std::string_view tensor) const;
  /// Bytes between the end of the file and the end of its last tensor; 0 unless open_cut() found it cut short.
  std::uint64_t missing_bytes() const { return missing_bytes_; }
  /// The mapping behind open(), to give hints about access; empty after parse().
  const MappedFile& mapping() const { return mapping_; }

  /// Integers: any integer type of the file is taken where the value fits.
  std::uint32_t get_u32(std::string_view key) const { return require(key, find_u32(key)); }
  std::uint64_t get_u64(std::string_view key) const { return require(key, find_u64(key)); }
  std::int64_t get_i64(std::string_view key) const { return require(key, find_i64(key)); }
  std::optional<std::uint32_t> find_u32(std::string_view key) const;
  std::optional<std::uint64_t> find_u64(std::string_view key) const;
  std::optional<std::int64_t> find_i64(std::string_view key) const;

  /// Only f32 is taken.
  float get_f32(std::string_view key) const { return require(key, find_f32(key)); }
  std::optional<float> find_f32(std::string_view key) const;

  bool get_bool(std::string_view key) const { return require(key, find_bool(key)); }
  std::optional<bool> find_bool(std::string_view key) const;

  /// The text, in place.
  std::string_view get_string(std::string_view key) const { return require(key, find_string(key)); }
  std::optional<std::string_view> find_string(std::string_view key) const;

  /// The texts of an array, each in place. Cost: one walk over the array's bytes, 16 bytes of memory an element.
  std::vector<std::string_view> get_strings(std::string_view key) const { return require(key, find_strings(key)); }
  std::optional<std::vector<std::string_view>> find_strings(std::string_view key) const;

  /// An array of any integer type whose values all fit.
  std::vector<std::int32_t> get_i32s(std::string_view key) const { return require(key, find_i32s(key)); }
  std::optional<std::vector<std::int32_t>> find_i32s(std::string_view key) const;

  std::vector<float> get_f32s(std::string_view key) const { return require(key, find_f32s(key)); }
  std::optional<std::vector<float>> find_f32s(std::string_view key) const;

  /// Throws FormatError about a key's value, for readers that find it senseless ("a multiple of 64", "100").
  [[noreturn]] void fail_key(std::string_view key, const std::string& expected, const std::string& found) const;
  /// Throws FormatError about a tensor.
  [[noreturn]] void fail_tensor(std::string_view tensor, const std::string& expected, const std::string& found) const;

 private:
  template <typename T>
  T require(std::string_view key, std::optional<T> value) const {
    if (!value) fail_key(key, "a value", "no such key");
    return *std::move(value);
  }
  /// How much of the file must be there.
  enum class Extent : std::uint8_t { whole, cut, keys };
  void read(std::span<const std::byte> bytes, Extent extent = Extent::whole);
  void read_header(ByteReader& reader);
  void read_entries(ByteReader& reader, std::uint64_t count);
  static GgufEntry read_entry(ByteReader& reader);
  void read_alignment();
  void read_tensors(ByteReader& reader, std::uint64_t count);
  void place_tensors(std::span<const std::byte> bytes, std::uint64_t records_end, bool may_be_cut);

  std::string name_;
  MappedFile mapping_;
  std::uint32_t version_ = 0;
  std::uint64_t missing_bytes_ = 0;
  std::uint32_t alignment_ = kGgufDefaultAlignment;
  std::vector<GgufEntry> entries_;
  std::vector<GgufTensor> tensors_;
  std::vector<std::size_t> entries_by_key_;   // indices, sorted by key
  std::vector<std::size_t> tensors_by_name_;  // indices, sorted by name
};

}  // namespace rpt::io

// SPDX-License-Identifier: MIT
#pragma once
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

#include "rpt/core/atomic_file.h"
#include "rpt/io/gguf_types.h"
#include "rpt/tensor/dtype.h"

namespace rpt::io {

/// Writes a GGUF file, version 3, as a stream: set keys and declare tensors, then give the tensors' bytes in the
/// declared order, then commit(). The file appears whole or not at all, and is the same for the same calls. A key or
/// name given twice and calls out of order are programmer errors (LogicError).
///
///     GgufWriter writer(path);
///     writer.set_string("general.architecture", "bitnet-b1.58");
///     writer.declare("output_norm.weight", DType::f32, {2560});
///     writer.begin_tensor("output_norm.weight");
///     writer.write(bytes);  // as often as needed
///     writer.commit();
class GgufWriter {
 public:
  /// An alignment other than 32 is recorded as key general.alignment. Throws IoError.
  explicit GgufWriter(const std::filesystem::path& target, std::uint32_t alignment = kGgufDefaultAlignment);

  /// Keys, in the order in which they shall stand in the file; all before the first begin_tensor().
  void set_u8(std::string_view key, std::uint8_t value) { set_value(key, GgufValueType::u8, value); }
  void set_i8(std::string_view key, std::int8_t value) { set_value(key, GgufValueType::i8, value); }
  void set_u16(std::string_view key, std::uint16_t value) { set_value(key, GgufValueType::u16, value); }
  void set_i16(std::string_view key, std::int16_t value) { set_value(key, GgufValueType::i16, value); }
  void set_u32(std::string_view key, std::uint32_t value) { set_value(key, GgufValueType::u32, value); }
  void set_i32(std::string_view key, std::int32_t value) { set_value(key, GgufValueType::i32, value); }
  void set_u64(std::string_view key, std::uint64_t value) { set_value(key, GgufValueType::u64, value); }
  void set_i64(std::string_view key, std::int64_t value) { set_value(key, GgufValueType::i64, value); }
  void set_f32(std::string_view key, float value) { set_value(key, GgufValueType::f32, value); }
  void set_f64(std::string_view key, double value) { set_value(key, GgufValueType::f64, value); }
  void set_bool(std::string_view key, bool value);
  void set_string(std::string_view key, std::string_view value);
  void set_strings(std::string_view key, std::span<const std::string> values);
  void set_strings(std::string_view key, std::span<const std::string_view> values);
  void set_f32s(std::string_view key, std::span<const float> values);
  void set_i32s(std::string_view key, std::span<const std::int32_t> values);
  void set_u32s(std::string_view key, std::span<const std::uint32_t> values);

  /// Adds a tensor behind those declared before; `ne` is contiguous extent first (a matrix [rows, columns] is {columns,
  /// rows}), 1 to 4 extents. Throws ConfigError for a dtype that GGUF has not, ShapeError where ne[0] is no multiple of
  /// the type's block or an extent is below 1.
  void declare(const std::string& name, tensor::DType type, std::vector<std::int64_t> ne);
  /// Begins the next tensor's data; `name` must be the next one declared. The first call writes keys and records.
  void begin_tensor(std::string_view name);
  /// Appends to the tensor begun last. An i2_s tensor ends with its scale, n/4 + 4 bytes: the 28 unused bytes behind it
  /// are written, as zeros, by the writer. Throws IoError.
  void write(std::span<const std::byte> bytes);
  void write(const void* data, std::size_t size) { write({static_cast<const std::byte*>(data), size}); }
  /// Checks that every byte declared was written and pushes all to the temporary file, whose name it returns: there the
  /// file can be read before commit() publishes it. Throws IoError.
  const std::filesystem::path& seal();
  /// Puts the file in place; seals it where that was not done. Throws IoError.
  void commit();

 private:
  struct Declared {
    std::string name;
    std::uint32_t ggml_type;
    std::vector<std::int64_t> ne;
    std::uint64_t offset;   // relative to the data's start
    std::uint64_t payload;  // bytes that write() takes
    std::uint64_t bytes;    // payload and, for i2_s, its zero tail
  };
  template <typename T>
  void set_value(std::string_view key, GgufValueType type, T value) {
    begin_key(key, type);
    append(value);
  }
  template <typename T>
  void append(T value) {
    keys_.append(reinterpret_cast<const char*>(&value), sizeof(T));
  }
  void append_string(std::string_view text);
  void begin_key(std::string_view key, GgufValueType type);
  void begin_array(std::string_view key, GgufValueType element, std::size_t count);
  template <typename Text>
  void set_texts(std::string_view key, std::span<const Text> values);
  template <typename T>
  void set_numbers(std::string_view key, GgufValueType element, std::span<const T> values);
  void write_records();
  void end_tensor();

  core::AtomicFile file_;
  std::uint32_t alignment_;
  std::string keys_;  // the key section, as it will stand in the file
  std::uint64_t key_count_ = 0;
  std::unordered_set<std::string> key_names_;
  std::vector<Declared> tensors_;
  std::unordered_set<std::string> tensor_names_;
  std::size_t next_ = 0;       // tensors begun
  std::uint64_t written_ = 0;  // of the payload of the tensor begun last
  bool streaming_ = false;     // keys and records are written
  bool sealed_ = false;
};

}  // namespace rpt::io

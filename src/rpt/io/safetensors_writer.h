// SPDX-License-Identifier: MIT
#pragma once
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

#include "rpt/core/atomic_file.h"
#include "rpt/tensor/dtype.h"

namespace rpt::io {

/// Writes a safetensors file as a stream: declare every tensor, then give their bytes in the declared order, then
/// commit(). The file appears whole or not at all, and is the same for the same calls.
///
///     SafetensorsWriter writer(path);
///     writer.declare("model.norm.weight", DType::bf16, {2560});
///     writer.begin_tensor("model.norm.weight");
///     writer.write(bytes);  // as often as needed
///     writer.commit();
class SafetensorsWriter {
 public:
  /// Throws IoError. The metadata begin as {"format": "pt"}, which transformers demands.
  explicit SafetensorsWriter(const std::filesystem::path& target);

  /// Adds or replaces a text below "__metadata__"; before the first begin_tensor().
  void set_metadata(const std::string& key, const std::string& value);
  /// Adds a tensor behind those declared before. Throws ConfigError for a dtype that the format has not, ShapeError
  /// where its data would not begin at a multiple of its element's size (declare wider types first).
  void declare(const std::string& name, tensor::DType type, std::vector<std::int64_t> shape);
  /// Begins the next tensor's data; `name` must be the next one declared. The first call writes the header
  /// (ConfigError where a name or metadata text is no UTF-8).
  void begin_tensor(std::string_view name);
  /// Appends to the tensor begun last. Throws IoError.
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
    tensor::DType type;
    std::vector<std::int64_t> shape;
    std::uint64_t begin;  // relative to the data's start
    std::uint64_t end;
  };
  void write_header();
  void check_tensor_complete() const;

  core::AtomicFile file_;
  std::map<std::string, std::string> metadata_{{"format", "pt"}};
  std::vector<Declared> tensors_;
  std::unordered_set<std::string> names_;
  std::size_t next_ = 0;          // tensors begun
  std::uint64_t data_start_ = 0;  // in the file; 0 until the header is written
};

}  // namespace rpt::io

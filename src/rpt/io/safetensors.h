// SPDX-License-Identifier: MIT
#pragma once
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "rpt/io/mapped_file.h"
#include "rpt/tensor/dtype.h"

namespace rpt::io {

/// One tensor of a safetensors file.
struct SafetensorsTensor {
  std::string name;
  tensor::DType type = tensor::DType::f32;  ///< f64, f32, f16, bf16, i64, i32, i8 or u8
  std::vector<std::int64_t> shape;          ///< outermost first; empty for a scalar
  std::uint64_t offset = 0;                 ///< bytes from the start of the file
  std::span<const std::byte> data;          ///< in place, row-major; see aligned()

  /// Product of the shape; 1 for a scalar.
  std::int64_t elements() const;
  /// True where data begins at a multiple of the element's size. The format does not promise it, and files of other
  /// writers exist that do not keep it: such data must be read through memcpy.
  bool aligned() const;
};

/// A safetensors file: u64 header length, JSON header, data. The header is read and every promise of the format checked
/// on opening: offsets inside the file, lengths equal to shape times element size, no overlap, no hole, no name twice.
/// Data pages are not touched. Source: https://github.com/huggingface/safetensors#format
class SafetensorsFile {
 public:
  /// Longest header accepted, in bytes; the format's own limit.
  static constexpr std::uint64_t kHeaderLimit = 100'000'000;
  /// Most dimensions accepted.
  static constexpr std::size_t kMaxRank = 8;

  /// Maps a file. Throws IoError, FormatError.
  static SafetensorsFile open(const std::filesystem::path& path);
  /// Reads bytes that stand in memory and must outlive the result; `name` stands for the file in errors. Throws
  /// FormatError.
  static SafetensorsFile parse(std::span<const std::byte> bytes, std::string name);

  /// The file's name as it stands in errors.
  const std::string& name() const { return name_; }
  /// All tensors in the order of their data.
  const std::vector<SafetensorsTensor>& tensors() const { return tensors_; }
  /// The tensor of that name, or nullptr.
  const SafetensorsTensor* find(std::string_view tensor) const;
  /// The texts below "__metadata__".
  const std::map<std::string, std::string>& metadata() const { return metadata_; }
  /// The mapping behind open(), to give hints about access; empty after parse().
  const MappedFile& mapping() const { return mapping_; }

 private:
  void read(std::span<const std::byte> bytes);

  std::string name_;
  MappedFile mapping_;
  std::vector<SafetensorsTensor> tensors_;
  std::vector<std::size_t> by_name_;  // indices into tensors_, sorted by name
  std::map<std::string, std::string> metadata_;
};

/// The weight_map of a model.safetensors.index.json: tensor name → file name. Throws FormatError for anything but one
/// JSON object with one "weight_map" of plain file names (no folders), each tensor once; other members are passed over.
std::map<std::string, std::string> parse_safetensors_index(std::span<const std::byte> bytes, const std::string& name);

/// A folder with model.safetensors, or with model.safetensors.index.json and the shards that it names.
class SafetensorsDirectory {
 public:
  /// Opens every file. Throws IoError for files that are missing or unreadable, FormatError where an index names a file
  /// outside the folder, or index and shards disagree about where a tensor is.
  static SafetensorsDirectory open(const std::filesystem::path& folder);

  const std::filesystem::path& folder() const { return folder_; }
  /// The files, ordered by name.
  const std::vector<SafetensorsFile>& files() const { return files_; }
  /// All tensors: file by file, in the order of their data. The pointers stay valid when the directory is moved.
  const std::vector<const SafetensorsTensor*>& tensors() const { return tensors_; }
  /// The tensor of that name, or nullptr.
  const SafetensorsTensor* find(std::string_view tensor) const;
  /// The file that holds a tensor, for errors about its contents; nullptr where no file does.
  const SafetensorsFile* file_of(std::string_view tensor) const;

 private:
  void open_shards(const std::filesystem::path& index_path);

  std::filesystem::path folder_;
  std::vector<SafetensorsFile> files_;
  std::vector<const SafetensorsTensor*> tensors_;
};

}  // namespace rpt::io

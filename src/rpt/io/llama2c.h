// SPDX-License-Identifier: MIT
#pragma once
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "rpt/io/mapped_file.h"

namespace rpt::io {

/// The kinds of tensors of a llama2.c checkpoint, by GGUF's names.
enum class Llama2cPart : std::uint8_t {
  token_embd,
  attn_norm,
  attn_q,  ///< rows in rope pairs, as those of attn_k
  attn_k,
  attn_v,
  attn_output,
  ffn_norm,
  ffn_gate,
  ffn_down,
  ffn_up,
  output_norm,
  output,  ///< absent where the classifier is shared
};

/// What the header says. Every number is at least 1; heads divide hidden.
struct Llama2cShape {
  std::int64_t hidden = 0;
  std::int64_t feed_forward = 0;
  std::int64_t layers = 0;
  std::int64_t heads = 0;
  std::int64_t kv_heads = 0;
  std::int64_t vocabulary = 0;
  std::int64_t context = 0;
  bool shared_classifier = true;  ///< logits are made with the embedding
};

/// float32 values [rows, columns] of one tensor, in place; a vector has one row.
struct Llama2cTensor {
  std::uint64_t offset = 0;  ///< bytes from the start of the file
  std::span<const std::byte> data;
  std::int64_t rows = 0;
  std::int64_t columns = 0;
};

/// A checkpoint of llama2.c, little endian: legacy (seven int32, a negative vocabulary saying that the classifier is
/// not shared, then float32 tensors with two tables of rope behind output_norm) or version 1 (a header of 256 bytes,
/// then float32 tensors in another order). Opening checks that the file is exactly as long as its header promises.
/// Source: https://github.com/karpathy/llama2.c/blob/master/export.py (legacy_export, version1_export)
class Llama2cFile {
 public:
  /// Maps a file. Throws: IoError, FormatError.
  static Llama2cFile open(const std::filesystem::path& path);
  /// Reads bytes that stand in memory and must outlive the result; `name` stands for the file in errors. Throws:
  /// FormatError.
  static Llama2cFile parse(std::span<const std::byte> bytes, std::string name);

  /// The file's name as it stands in errors.
  const std::string& name() const { return name_; }
  const Llama2cShape& shape() const { return shape_; }
  /// 0 for legacy, 1.
  std::uint32_t version() const { return version_; }
  /// A tensor of layer `layer` (0 for those of no layer). The part must be present (LogicError).
  Llama2cTensor tensor(Llama2cPart part, std::int64_t layer = 0) const;

 private:
  struct Placed {
    Llama2cPart part;
    std::int64_t count = 0;  ///< tensors of this kind, one after another
    std::int64_t rows = 0;
    std::int64_t columns = 0;
    std::uint64_t offset = 0;
  };
  void read(std::span<const std::byte> bytes);
  void read_shape(std::span<const std::byte> bytes);
  void place(std::uint64_t header_bytes);

  std::string name_;
  MappedFile mapping_;
  std::span<const std::byte> bytes_;
  Llama2cShape shape_;
  std::uint32_t version_ = 0;
  std::vector<Placed> placed_;
};

/// Whether a file is to be read as a llama2.c checkpoint: it begins with the magic of version 1, or it is named *.bin
/// (legacy files have no magic) and does not begin with GGUF's. Throws: IoError.
bool is_llama2c(const std::filesystem::path& path);

}  // namespace rpt::io

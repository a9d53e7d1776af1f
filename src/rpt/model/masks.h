// SPDX-License-Identifier: MIT
#pragma once
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "rpt/model/config.h"

namespace rpt::model {

/// Which weights of a linear layer stay.
struct LinearMask {
  std::string name;  ///< as visit_weights() names it, "blk.0.attn_q"
  std::int64_t rows = 0;
  std::int64_t columns = 0;
  std::vector<std::uint8_t> keep;  ///< [rows, columns] row-major; 1 stays, 0 is pruned

  std::uint8_t* row(std::int64_t n) { return keep.data() + n * columns; }
  const std::uint8_t* row(std::int64_t n) const { return keep.data() + n * columns; }
  std::uint64_t pruned() const;
  bool operator==(const LinearMask&) const = default;
};

/// The masks of all linear layers of a model, in the order of visit_weights().
struct Masks {
  std::vector<LinearMask> linears;

  /// The mask of that name, or nullptr.
  const LinearMask* find(std::string_view name) const;
  std::uint64_t pruned() const;
  bool operator==(const Masks&) const = default;
};

/// Masks that keep everything.
Masks full_masks(const Config& config);

/// Throws: ConfigError unless there is one mask of the right shape for every linear layer, in order.
void require_masks_of(const Masks& masks, const Config& config);

/// A mask file is a safetensors file: for every linear layer one u8 tensor [rows, columns] by its name, 1 stays and 0
/// is pruned, nothing else; metadata "format": "rpt-mask-1". It appears whole or not at all.
/// Throws: IoError.
void write_masks(const std::filesystem::path& path, const Masks& masks);

/// Reads a mask file of a model of this shape. Throws: IoError; FormatError for another format, a tensor that is
/// missing, unknown or of another type or shape, a value other than 0 and 1.
Masks read_masks(const std::filesystem::path& path, const Config& config);

/// The same from bytes in memory; `name` stands for the file in errors. Throws: FormatError.
Masks parse_masks(std::span<const std::byte> bytes, const std::string& name, const Config& config);

/// SHA-256 over names, shapes and values.
std::string sha256_of(const Masks& masks);

}  // namespace rpt::model

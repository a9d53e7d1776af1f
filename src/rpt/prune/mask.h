// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "rpt/model/model.h"

namespace rpt::prune {

/// Which weights of a linear layer stay.
struct LinearMask {
  std::string name;  ///< GGUF's, without ".weight"
  std::int64_t rows = 0;
  std::int64_t columns = 0;
  std::vector<std::uint8_t> keep;  ///< [N, K] row-major; 1 stays, 0 is pruned

  std::uint8_t* row(std::int64_t n) { return keep.data() + n * columns; }
  const std::uint8_t* row(std::int64_t n) const { return keep.data() + n * columns; }
  std::uint64_t pruned() const;
  bool operator==(const LinearMask&) const = default;
};

/// The masks of all linear layers of a model, in the order of model::visit_weights.
struct Masks {
  std::vector<LinearMask> linears;

  std::uint64_t pruned() const;
  bool operator==(const Masks&) const = default;
};

/// Masks that keep everything.
Masks full_masks(const model::Config& config);

/// Throws: ConfigError unless there is one mask of the right shape for every linear layer, in order.
void require_masks_of(const Masks& masks, const model::Config& config);

/// A mask file is a safetensors file: for every linear layer one u8 tensor [N, K] by GGUF's name without ".weight", 1
/// stays and 0 is pruned, nothing else; metadata "format": "rpt-mask-1". It appears whole or not at all.
/// Throws: IoError.
void write_masks(const std::filesystem::path& path, const Masks& masks);

/// Reads a mask file of a model of this shape. Throws: IoError; FormatError for another format, a tensor that is
/// missing, unknown or of another type or shape, a value other than 0 and 1.
Masks read_masks(const std::filesystem::path& path, const model::Config& config);

}  // namespace rpt::prune

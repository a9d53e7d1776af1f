// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "rpt/model/config.h"

namespace rpt::model {

/// Which weights of a linear [rows, columns] stay.
struct Mask {
  std::int64_t rows = 0;
  std::int64_t columns = 0;
  std::vector<std::uint8_t> keep;  ///< [rows · columns], 1 keeps, 0 prunes
};

/// Masks by the names of visit_weights(), "blk.0.attn_q". A linear without one keeps all its weights.
using Masks = std::map<std::string, Mask>;

/// Checks that all masks belong to linears of a model of this shape. Throws: ConfigError naming `origin` where there
/// are none, where a name is no linear's or where a shape or size is not the linear's.
void validate(const Masks& masks, const Config& config, const std::string& origin);

/// Reads the masks of a safetensors file, one u8 tensor [rows, columns] a linear, as save_masks() writes them. Throws:
/// IoError; FormatError for a file that is no safetensors, another type, rank or value; ConfigError as validate().
Masks load_masks(const std::filesystem::path& path, const Config& config);

/// Writes them. The file appears whole or not at all. Throws: IoError.
void save_masks(const std::filesystem::path& path, const Masks& masks);

/// SHA-256 over names, shapes and bytes.
std::string sha256_of(const Masks& masks);

}  // namespace rpt::model

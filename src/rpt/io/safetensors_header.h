// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "rpt/tensor/dtype.h"

namespace rpt::io {

/// The JSON header begins behind its u64 length.
inline constexpr std::uint64_t kSafetensorsHeaderStart = 8;

/// One tensor as the header describes it, unchecked but for the kinds of its values.
struct SafetensorsRecord {
  std::string name;
  std::string dtype;
  std::vector<std::int64_t> shape;
  std::uint64_t begin = 0;  ///< relative to the first byte of data
  std::uint64_t end = 0;
};

struct SafetensorsHeader {
  std::vector<SafetensorsRecord> records;  ///< in the order of the text; a name may occur twice
  std::map<std::string, std::string> metadata;
};

/// Reads a header's text; `file` stands for the file in errors. Throws FormatError for anything but {name: {"dtype":
/// text, "shape": [non-negative …], "data_offsets": [begin, end]}, …, "__metadata__": {text: text}}.
SafetensorsHeader parse_safetensors_header(std::string_view text, const std::string& file);

/// "BF16" → bf16; nothing for a dtype that is not supported.
std::optional<tensor::DType> dtype_of_safetensors(std::string_view dtype);

/// bf16 → "BF16"; nothing for a dtype that the format has not.
std::optional<std::string_view> safetensors_dtype(tensor::DType type);

}  // namespace rpt::io

// SPDX-License-Identifier: MIT
#pragma once
#include <string>
#include <string_view>

#include "tests/unit/io/io_test_support.h"

namespace rpt::test {

/// A safetensors file of a header's text and `data_bytes` bytes 0, 1, 2, … mod 251.
inline std::string hand_made_safetensors(std::string_view header, std::size_t data_bytes) {
  Bytes b;
  b.str(header);
  for (std::size_t i = 0; i < data_bytes; ++i) b.u8(static_cast<std::uint8_t>(i % 251));
  return b.data;
}

}  // namespace rpt::test

// SPDX-License-Identifier: MIT
#include <cstdint>
#include <span>

#include "rpt/core/error.h"
#include "rpt/io/llama2c.h"

/// Any bytes as a llama2.c checkpoint: refused with an rpt::Error, or every tensor lies within the bytes.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using rpt::io::Llama2cPart;
  const auto bytes = std::as_bytes(std::span(data, size));
  try {
    const auto file = rpt::io::Llama2cFile::parse(bytes, "fuzz");
    for (auto part = Llama2cPart::token_embd; part <= Llama2cPart::output;
         part = static_cast<Llama2cPart>(static_cast<int>(part) + 1)) {
      if (part == Llama2cPart::output && file.shape().shared_classifier) continue;
      const bool single = part == Llama2cPart::token_embd || part >= Llama2cPart::output_norm;
      for (const std::int64_t layer : {std::int64_t{0}, single ? 0 : file.shape().layers - 1}) {
        const auto tensor = file.tensor(part, layer);
        RPT_CHECK(tensor.data.size() == static_cast<std::size_t>(tensor.rows * tensor.columns) * 4, "size");
        RPT_CHECK(tensor.data.data() == bytes.data() + tensor.offset, "data not at the offset");
        RPT_CHECK(tensor.offset + tensor.data.size() <= bytes.size(), "data outside of the file");
      }
    }
  } catch (const rpt::Error&) {
  }
  return 0;
}

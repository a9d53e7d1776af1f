// SPDX-License-Identifier: MIT
// tiktoken's ranks: any bytes give a vocabulary that encodes and decodes, or one rpt::Error.
#include <cstdint>
#include <string_view>

#include "tests/fuzz/use_tokenizer.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  try {
    rpt::test::use_tokenizer(rpt::text::Tokenizer::from_tiktoken(text, {"<|begin|>", "<|end|>"}, "fuzz"));
  } catch (const rpt::Error&) {
  }
  return 0;
}

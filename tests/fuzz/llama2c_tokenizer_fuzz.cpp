// SPDX-License-Identifier: MIT
// A damaged tokenizer.bin may be refused with an rpt::Error, and nothing else may happen. What is accepted must encode,
// decode and write itself.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "tests/fuzz/use_tokenizer.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  try {
    rpt::test::use_tokenizer(rpt::text::Tokenizer::from_llama2c(bytes, "fuzz"));
  } catch (const rpt::Error&) {
  }
  return 0;
}

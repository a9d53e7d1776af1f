// SPDX-License-Identifier: MIT
// A damaged tokenizer.json may be refused with an rpt::Error, and nothing else may happen. What is accepted must
// encode, decode and write itself.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "tests/fuzz/use_tokenizer.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view json(reinterpret_cast<const char*>(data), size);
  try {
    rpt::test::use_tokenizer(rpt::text::Tokenizer::from_tokenizer_json(json, "fuzz"));
  } catch (const rpt::Error&) {
  }
  return 0;
}

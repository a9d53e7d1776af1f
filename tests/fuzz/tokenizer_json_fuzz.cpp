// SPDX-License-Identifier: MIT
// A damaged tokenizer.json may be refused with an rpt::Error, and nothing else may happen. What is accepted must
// encode, decode and write itself.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "rpt/core/error.h"
#include "rpt/text/tokenizer.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view json(reinterpret_cast<const char*>(data), size);
  try {
    const rpt::text::Tokenizer tokenizer = rpt::text::Tokenizer::from_tokenizer_json(json, "fuzz");
    const std::string text = "Hello, world's 12345 <s> ab\u00e9\u6f22\xff  \n\tx" + std::string(70, 'a');
    for (const bool special : {false, true}) {
      const rpt::text::EncodedText encoded = tokenizer.encode_with_offsets(text, {.special = special});
      RPT_CHECK(encoded.ids.size() == encoded.ends.size());
      for (std::size_t i = 0; i < encoded.ends.size(); ++i) {
        RPT_CHECK(encoded.ends[i] <= text.size() && (i == 0 || encoded.ends[i - 1] <= encoded.ends[i]));
      }
      (void)tokenizer.decode(encoded.ids);
    }
    for (std::int32_t id = 0; id < tokenizer.vocab_size(); ++id) (void)tokenizer.find(tokenizer.piece(id));
    (void)tokenizer.gguf_pre();
    (void)tokenizer.merges();
    (void)tokenizer.to_tokenizer_json();
  } catch (const rpt::Error&) {
  }
  return 0;
}

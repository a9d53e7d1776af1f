// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <string>

#include "rpt/core/error.h"
#include "rpt/text/tokenizer.h"

namespace rpt::test {

/// Does everything with a tokenizer that was accepted. It may throw an rpt::Error.
inline void use_tokenizer(const text::Tokenizer& tokenizer) {
  const std::string text = "Hello, world's 12345 <s> ab\u00e9\u6f22\xff  \n\tx" + std::string(70, 'a');
  for (const bool special : {false, true}) {
    const text::EncodedText encoded = tokenizer.encode_with_offsets(text, {.special = special});
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
}

}  // namespace rpt::test

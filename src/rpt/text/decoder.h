// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "rpt/text/vocabulary.h"

namespace rpt::text {

/// One decoder of tokenizer.json.
struct DecoderStep {
  enum class Kind { byte_level, replace, byte_fallback, fuse, strip };
  Kind kind;
  std::string from{};               ///< replace: this very text; strip: one character
  std::string to{};                 ///< replace
  std::size_t start = 0, stop = 0;  ///< strip: how many to take away at each end, at most
};

/// Token ids → bytes: the steps before `fuse` act on each token, those behind it on the whole text. Literal tokens
/// (special and added ones) are left as they are written. Decoding throws ConfigError where replacements make a text
/// more than 64 times (and 64 KiB) longer.
class Decoder {
 public:
  Decoder() = default;
  /// `prefix_behind`: the types of the tokens behind which encoding puts a space that is no part of the text, as it
  /// then does at the start; empty: nowhere.
  explicit Decoder(std::vector<DecoderStep> steps, std::vector<TokenType> prefix_behind = {});

  /// The bytes of one token, wherever it stands.
  std::string piece(const Vocabulary& vocabulary, std::int32_t id) const;
  /// The bytes of all, which must be ids of the vocabulary; spaces that were put in front are taken away.
  std::string decode(const Vocabulary& vocabulary, std::span<const std::int32_t> ids) const;

 private:
  std::vector<DecoderStep> token_steps_, text_steps_;
  std::vector<TokenType> prefix_behind_;
};

}  // namespace rpt::text

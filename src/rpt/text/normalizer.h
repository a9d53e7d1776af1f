// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace rpt::text {

/// One normaliser of tokenizer.json.
struct NormalizerStep {
  enum class Kind { prepend, replace };
  Kind kind;
  std::string from;  ///< replace: this very text
  std::string to;    ///< what is put in
};

/// Text after normalising, with the way back.
struct NormalizedText {
  std::string text;
  /// For each byte of `text` the end, in the original, of what it stands for; never decreasing.
  std::vector<std::uint64_t> ends;
};

/// Rewrites a text, not empty, by the steps in order. Throws ConfigError where it grows more than 64 times (and 64
/// KiB): steps that feed each other could fill any memory.
NormalizedText normalize(const std::vector<NormalizerStep>& steps, std::string_view text);

}  // namespace rpt::text

// SPDX-License-Identifier: MIT
#pragma once
#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace rpt::text {

/// A pre-tokenizer's expression, written for Oniguruma (as in tokenizer.json), in the syntax of PCRE2. What the two
/// understand differently is rewritten or refused: `\s` becomes the class of Unicode's White_Space, `\w` Alphabetic,
/// marks, decimal digits and connectors, scripts are matched by their own name (`\p{sc:Han}`); set operations,
/// possessive intervals, `\h`, `\R`, options other than a leading or grouped `i`, and verbs throw ConfigError with
/// `place`.
std::string translate_expression(std::string_view expression, const std::string& place);

/// What matching needs besides the pattern: one per thread, for any number of patterns.
class MatchScratch {
 public:
  MatchScratch();
  ~MatchScratch();
  MatchScratch(MatchScratch&&) noexcept;
  MatchScratch& operator=(MatchScratch&&) noexcept;

 private:
  friend class Pattern;
  struct Buffers;
  std::unique_ptr<Buffers> buffers_;
};

/// A compiled expression with Unicode classes. Immutable: many threads may match at once, each with its scratch.
class Pattern {
 public:
  struct Match {
    std::size_t begin, end;
  };

  /// No pattern.
  Pattern() = default;
  /// Translates and compiles. Throws ConfigError, with `place`, for what is refused or malformed.
  Pattern(std::string_view expression, const std::string& place);

  /// The first match in `subject`, which must be UTF-8, that begins at `from` or later. Throws ConfigError where
  /// matching needs more steps or memory than allowed (10 million steps and 64 per byte; 64 MiB, without JIT compiler
  /// 256): never a wrong answer. The expressions of known tokenizers repeat single characters only, which takes no
  /// memory.
  std::optional<Match> find(std::string_view subject, std::size_t from, MatchScratch& scratch) const;

  bool empty() const { return compiled_ == nullptr; }

  /// The Unicode version of the character classes ("14.0.0").
  static std::string unicode_version();

 private:
  struct Compiled;
  std::shared_ptr<const Compiled> compiled_;
};

}  // namespace rpt::text

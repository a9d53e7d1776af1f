// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "rpt/text/pattern.h"

namespace rpt::text {

/// What becomes of the matches of a Split.
enum class SplitBehavior { removed, isolated, merged_with_previous, merged_with_next, contiguous };

/// One pre-tokenizer of tokenizer.json. Fields that its kind does not have keep their defaults.
struct PreTokenizerStep {
  enum class Kind { split, byte_level, digits, punctuation, whitespace, whitespace_split };
  Kind kind = Kind::split;
  std::string pattern{};                             ///< split: an expression, or the very text
  bool is_expression = true;                         ///< split
  SplitBehavior behavior = SplitBehavior::isolated;  ///< split, punctuation
  bool invert = false;                               ///< split: the gaps are the matches
  bool add_prefix_space = false;                     ///< byte_level
  bool use_regex = true;                             ///< byte_level: split by GPT-2's expression first
  bool individual_digits = false;                    ///< digits
  bool operator==(const PreTokenizerStep&) const = default;
};

/// GPT-2's expression, which ByteLevel carries, and Llama 3's.
extern const std::string_view kGpt2Expression;
extern const std::string_view kLlama3Expression;

/// A pre-tokenizer that GGUF knows by name.
struct NamedPreTokenizer {
  std::string_view name;
  std::vector<PreTokenizerStep> steps;
  bool ignore_merges;  ///< whole pre-tokens are looked up before merging
  bool adds_bos;       ///< where the file has no add_bos_token
};

/// The definition of a name or alias, or nothing.
const NamedPreTokenizer* find_pre_tokenizer(std::string_view name);
/// All of them.
const std::vector<NamedPreTokenizer>& named_pre_tokenizers();

/// A piece of text and where its first byte stands. Where a space was put in front, that is one less than the place of
/// the text behind it, so that ends are always right (unsigned arithmetic wraps for 0 − 1).
struct TextSpan {
  std::string_view text;
  std::uint64_t base = 0;
};

/// Splits text as a list of steps says. Immutable.
class PreTokenizer {
 public:
  using Sink = std::function<void(const TextSpan&)>;

  PreTokenizer() = default;
  /// Compiles the steps. Throws ConfigError with `place`.
  PreTokenizer(std::vector<PreTokenizerStep> steps, const std::string& place);

  /// Gives the pieces of `span` (UTF-8) to `sink`, in order, none empty. `begins_text` lets ByteLevel put its space in
  /// front. Pieces are bytes also behind ByteLevel; steps behind it see the byte-to-unicode form, as they do in the
  /// original. Throws ConfigError as Pattern::find.
  void split(const TextSpan& span, bool begins_text, MatchScratch& scratch, const Sink& sink) const;

  /// The same for the whole of a text that need not be UTF-8: each longest run of invalid bytes is a piece by itself.
  void split_bytes(std::string_view text, MatchScratch& scratch, const Sink& sink) const;

  /// True where the pieces are to be looked up in byte-to-unicode form.
  bool is_byte_level() const { return byte_level_; }
  const std::vector<PreTokenizerStep>& steps() const { return steps_; }

 private:
  struct Stage {
    Pattern pattern{};  ///< empty: nothing is split
    SplitBehavior behavior = SplitBehavior::isolated;
    bool invert = false;
    bool on_byte_level_form = false;  ///< stands behind a ByteLevel
    bool add_prefix_space = false;
  };
  struct Run;
  void add_stage(const PreTokenizerStep& step, const std::string& place);

  std::vector<PreTokenizerStep> steps_;
  std::vector<Stage> stages_;
  bool byte_level_ = false;
};

}  // namespace rpt::text

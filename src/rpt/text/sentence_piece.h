// SPDX-License-Identifier: MIT
#pragma once
#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "rpt/text/tokenizer.h"
#include "rpt/text/vocabulary.h"

namespace rpt::text {

struct TokenizerState;

/// The sign that stands for a space in pieces, U+2581.
inline constexpr std::string_view kSpaceSign = "\u2581";

/// Where a text may be cut without changing its pieces: between a character and a space where no piece holds the two
/// side by side, for then no merge reaches over that place. Of Llama 2's pieces only the runs of spaces hold any.
class WordBorders {
 public:
  WordBorders() = default;
  explicit WordBorders(const Vocabulary& vocabulary);

  /// The first border of `text` behind `from`, or its end.
  std::size_t next(std::string_view text, std::size_t from) const;

 private:
  bool joins_a_space(std::string_view text) const;

  bool cuts_ = false;               ///< without a piece for the space, unknown characters could join over it
  std::array<bool, 128> ascii_{};   ///< characters that stand before a space in some piece
  std::vector<char32_t> beyond_{};  ///< the others of them, sorted
};

/// What makes a tokenizer a SentencePiece one.
struct SentencePiece {
  SentencePieceRules rules;
  WordBorders borders;
};

/// The parts of a SentencePiece vocabulary whose pieces are merged by score.
struct SentencePieceParts {
  std::string file;                      ///< named in errors
  std::vector<std::string_view> pieces;  ///< [V], spaces as kSpaceSign
  std::vector<TokenType> types;          ///< [V]
  SentencePieceRules rules;
  bool byte_fallback = true;
  /// User-defined pieces are part of the text around them, as SentencePiece has it, and no space is put behind them.
  /// Otherwise they end a text, as llama.cpp and Hugging Face have it.
  bool user_defined_inside_text = false;
  std::shared_ptr<const void> keep_alive;  ///< owns what the views point into
};

/// Makes the tokenizer, but for its special ids. Throws FormatError for a vocabulary that contradicts itself: besides
/// what Vocabulary refuses, scores that are missing or not finite, pieces above 512 bytes, byte fallback with neither
/// all 256 bytes nor an unknown piece.
/// Cost: for each piece as many look-ups as it has characters.
std::shared_ptr<TokenizerState> make_sentence_piece(SentencePieceParts parts);

/// Appends the text with every space as kSpaceSign.
void append_with_space_signs(std::string& out, std::string_view text);

}  // namespace rpt::text

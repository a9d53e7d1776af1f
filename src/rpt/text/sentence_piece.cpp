// SPDX-License-Identifier: MIT
#include "rpt/text/sentence_piece.h"

#include <algorithm>
#include <cmath>

#include "rpt/core/error.h"
#include "rpt/text/tokenizer_state.h"
#include "rpt/text/utf8.h"

namespace rpt::text {

namespace {

constexpr char32_t kSpaceCodePoint = U'\u2581';
constexpr std::size_t kMaxPieceBytes = 512;  // the look-ups for a piece grow with the square of its length

/// A way to put a piece together from two.
struct Split {
  std::int32_t left, right, merged;
  std::uint32_t left_size, right_size;  // in characters
};

std::size_t count_characters(std::string_view text) {
  return static_cast<std::size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }));
}

/// Fills a model with the splits of all normal pieces into two that are pieces or single characters.
class SplitFinder {
 public:
  SplitFinder(const Vocabulary& vocabulary, const std::vector<float>& scores, const std::string& file)
      : vocabulary_(vocabulary), scores_(scores), file_(file) {}

  BytePairModel run(const BytePairOptions& options) {
    BytePairModel model(vocabulary_, options, static_cast<std::size_t>(vocabulary_.size()));
    for (std::int32_t id = 0; id < vocabulary_.size(); ++id) {
      if (vocabulary_.type(id) == TokenType::normal) split(id, model);
    }
    // In the order of Hugging Face's conversion, which tokenizer.json can say; only the scores matter to us.
    std::stable_sort(splits_.begin(), splits_.end(), [this](const Split& a, const Split& b) {
      if (score(a) != score(b)) return score(a) > score(b);
      return a.left_size != b.left_size ? a.left_size > b.left_size : a.right_size > b.right_size;
    });
    std::uint32_t rank = 0;
    for (std::size_t i = 0; i < splits_.size(); ++i) {
      if (i > 0 && score(splits_[i]) != score(splits_[i - 1])) ++rank;
      model.add_merge(splits_[i].left, splits_[i].right, rank, splits_[i].merged);
    }
    return model;
  }

 private:
  float score(const Split& split) const { return scores_[static_cast<std::size_t>(split.merged)]; }

  /// The normal piece or single character that this is, or -1.
  std::int32_t symbol(std::string_view text, std::size_t characters, BytePairModel& model) const {
    const std::int32_t id = vocabulary_.find(text);
    if (id >= 0 && vocabulary_.type(id) == TokenType::normal) return id;
    return characters == 1 ? model.stand_in(text) : -1;
  }

  void split(std::int32_t id, BytePairModel& model) {
    const std::string_view piece = vocabulary_.text(id);
    if (piece.size() > kMaxPieceBytes) {
      throw FormatError(file_, 0, fmt::format("piece {}", id), fmt::format("at most {} bytes", kMaxPieceBytes),
                        fmt::format("{}", piece.size()));
    }
    const std::size_t characters = count_characters(piece);
    const std::size_t first = splits_.size();
    for (std::size_t at = decode_utf8(piece).size, before = 1; at < piece.size();
         at += decode_utf8(piece.substr(at)).size, ++before) {
      const std::int32_t left = symbol(piece.substr(0, at), before, model);
      if (left < 0) continue;
      const std::int32_t right = symbol(piece.substr(at), characters - before, model);
      if (right < 0) continue;
      if (splits_.size() == kMaxMerges) {
        throw FormatError(file_, 0, "pieces", fmt::format("at most {} ways to merge them", kMaxMerges), "more");
      }
      splits_.push_back(
          {left, right, id, static_cast<std::uint32_t>(before), static_cast<std::uint32_t>(characters - before)});
    }
    std::sort(splits_.begin() + static_cast<std::ptrdiff_t>(first), splits_.end(),
              [](const Split& a, const Split& b) { return a.left != b.left ? a.left < b.left : a.right < b.right; });
  }

  const Vocabulary& vocabulary_;
  const std::vector<float>& scores_;
  const std::string& file_;
  std::vector<Split> splits_;
};

void check_scores(const SentencePieceParts& parts) {
  const std::vector<float>& scores = parts.rules.scores;
  if (scores.size() != parts.pieces.size()) {
    throw FormatError(parts.file, 0, "scores of the vocabulary", fmt::format("{}", parts.pieces.size()),
                      fmt::format("{}", scores.size()));
  }
  const auto bad = std::find_if(scores.begin(), scores.end(), [](float score) { return !std::isfinite(score); });
  if (bad != scores.end()) {
    throw FormatError(parts.file, 0, fmt::format("score of piece {}", bad - scores.begin()), "a finite number",
                      fmt::format("{}", *bad));
  }
}

/// The unknown piece, or -1.
std::int32_t unknown_of(const Vocabulary& vocabulary, const std::string& file) {
  std::int32_t found = -1;
  for (std::int32_t id = 0; id < vocabulary.size(); ++id) {
    if (vocabulary.type(id) != TokenType::unknown) continue;
    if (found >= 0) throw FormatError(file, 0, "vocabulary", "one unknown piece", fmt::format("{} and {}", found, id));
    found = id;
  }
  return found;
}

/// The tokens behind which a text begins anew. The unknown piece is one of them where only its own text makes it.
std::vector<TokenType> prefix_behind(const SentencePieceParts& parts, const BytePairModel& model) {
  if (!parts.rules.space_prefix) return {};
  std::vector<TokenType> types = {TokenType::control};
  if (!parts.user_defined_inside_text) types.push_back(TokenType::user_defined);
  if (model.options().byte_fallback && model.holds_every_byte()) types.push_back(TokenType::unknown);
  return types;
}

/// User-defined tokens, or the others that are found in the text itself.
AddedTokens some_added_tokens(const Vocabulary& vocabulary, bool user_defined) {
  const AddedTokens all = added_tokens_of(vocabulary);
  std::vector<AddedToken> some;
  for (const AddedToken& token : all.tokens()) {
    if (token.only_if_asked != user_defined) some.push_back(token);
  }
  return AddedTokens(std::move(some));
}

}  // namespace

void append_with_space_signs(std::string& out, std::string_view text) {
  for (const char c : text) {
    if (c == ' ') {
      out += kSpaceSign;
    } else {
      out += c;
    }
  }
}

WordBorders::WordBorders(const Vocabulary& vocabulary) {
  const std::int32_t space = vocabulary.find(kSpaceSign);
  cuts_ = space >= 0 && vocabulary.type(space) == TokenType::normal;
  for (std::int32_t id = 0; id < vocabulary.size(); ++id) {
    if (vocabulary.type(id) != TokenType::normal) continue;
    char32_t previous = 0;
    std::uint32_t size = 0;
    const std::string_view piece = vocabulary.text(id);
    for (std::size_t at = 0; at < piece.size(); at += size) {
      const Utf8Char c = decode_utf8(piece.substr(at));
      size = c.size;
      if (at > 0 && c.code_point == kSpaceCodePoint) {
        if (previous < ascii_.size()) {
          ascii_[previous] = true;
        } else {
          beyond_.push_back(previous);
        }
      }
      previous = c.code_point;
    }
  }
  std::sort(beyond_.begin(), beyond_.end());
  beyond_.erase(std::unique(beyond_.begin(), beyond_.end()), beyond_.end());
}

/// Whether the last character of `text`, not empty, stands before a space in some piece.
bool WordBorders::joins_a_space(std::string_view text) const {
  if (text.back() == ' ') return std::binary_search(beyond_.begin(), beyond_.end(), kSpaceCodePoint);
  const auto last = static_cast<unsigned char>(text.back());
  if (last < ascii_.size()) return ascii_[last];
  if (beyond_.empty()) return false;
  std::size_t begin = text.size() - 1;
  while (begin > 0 && text.size() - begin < 4 && (static_cast<unsigned char>(text[begin]) & 0xC0) == 0x80) --begin;
  const Utf8Char c = decode_utf8(text.substr(begin));
  // Bytes that are no character stand in no piece.
  return c.valid && begin + c.size == text.size() && std::binary_search(beyond_.begin(), beyond_.end(), c.code_point);
}

std::size_t WordBorders::next(std::string_view text, std::size_t from) const {
  if (!cuts_) return text.size();
  for (std::size_t at = text.find(' ', from + 1); at != std::string_view::npos; at = text.find(' ', at + 1)) {
    if (!joins_a_space(text.substr(0, at))) return at;
  }
  return text.size();
}

std::shared_ptr<TokenizerState> make_sentence_piece(SentencePieceParts parts) {
  check_scores(parts);
  auto state = std::make_shared<TokenizerState>();
  state->vocabulary =
      Vocabulary(std::move(parts.pieces), std::move(parts.types), std::move(parts.keep_alive), parts.file);
  const Vocabulary& vocabulary = state->vocabulary;
  const BytePairOptions options{
      .byte_fallback = parts.byte_fallback, .fuse_unknown = true, .unknown_id = unknown_of(vocabulary, parts.file)};
  state->model = SplitFinder(vocabulary, parts.rules.scores, parts.file).run(options);
  if (options.unknown_id < 0 && !(options.byte_fallback && state->model.holds_every_byte())) {
    throw FormatError(parts.file, 0, "vocabulary", "an unknown piece or all 256 bytes", "neither");
  }
  if (parts.user_defined_inside_text) {
    state->raw_added = some_added_tokens(vocabulary, false);
    state->normalized_added = some_added_tokens(vocabulary, true);
  } else {
    state->raw_added = added_tokens_of(vocabulary);
  }
  using Kind = DecoderStep::Kind;
  state->decoder =
      Decoder({{.kind = Kind::replace, .from = std::string(kSpaceSign), .to = " "}, {.kind = Kind::byte_fallback}},
              prefix_behind(parts, state->model));
  state->sentence_piece = SentencePiece{std::move(parts.rules), WordBorders(vocabulary)};
  return state;
}

}  // namespace rpt::text

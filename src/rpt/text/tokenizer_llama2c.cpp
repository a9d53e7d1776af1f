// SPDX-License-Identifier: MIT
#include <array>
#include <bit>

#include "rpt/core/error.h"
#include "rpt/text/tokenizer_state.h"
#include "rpt/text/utf8.h"

namespace rpt::text {

namespace {

/// The file: u32 size of the longest piece, then of each piece f32 score, u32 size, bytes; spaces stand as such.
class Llama2cReader {
 public:
  Llama2cReader(std::string_view bytes, const std::string& file) : bytes_(bytes), file_(file) {}

  std::shared_ptr<TokenizerState> run() {
    const std::uint32_t longest = u32("size of the longest piece");
    while (at_ < bytes_.size()) read_piece(longest);
    expect_first_pieces();
    SentencePieceParts parts{.file = file_, .types = std::move(types_), .keep_alive = texts_};
    parts.pieces.assign(texts_->begin(), texts_->end());
    parts.rules.scores = std::move(scores_);
    auto state = make_sentence_piece(std::move(parts));
    state->special.bos = 1;
    state->special.adds_bos = true;
    state->special.ends = {2};
    return state;
  }

 private:
  [[noreturn]] void fail(std::size_t offset, const std::string& place, const std::string& expected,
                         const std::string& found) const {
    throw FormatError(file_, offset, place, expected, found);
  }

  std::string_view take(std::size_t size, const std::string& place) {
    if (size > bytes_.size() - at_) {
      fail(at_, place, fmt::format("{} bytes", size), fmt::format("{} up to the end", bytes_.size() - at_));
    }
    at_ += size;
    return bytes_.substr(at_ - size, size);
  }

  std::uint32_t u32(const std::string& place) {
    std::uint32_t value = 0;
    unsigned shift = 0;
    for (const char byte : take(4, place)) {
      value |= static_cast<std::uint32_t>(static_cast<unsigned char>(byte)) << shift;
      shift += 8;
    }
    return value;
  }

  void read_piece(std::uint32_t longest) {
    const std::size_t begin = at_, index = texts_->size();
    const std::string place = fmt::format("piece {}", index);
    if (index == kMaxTokens) fail(begin, place, fmt::format("at most {} pieces", kMaxTokens), "more");
    scores_.push_back(std::bit_cast<float>(u32(place)));
    const std::uint32_t size = u32(place);
    if (size > longest) fail(begin, place, fmt::format("at most {} bytes", longest), fmt::format("{}", size));
    std::string_view text = take(size, place);
    // llama2.c writes BOS and EOS between two line feeds.
    if (index < 3 && text.size() > 2 && text.starts_with('\n') && text.ends_with('\n')) {
      text = text.substr(1, text.size() - 2);
    }
    append_with_space_signs(texts_->emplace_back(), text);
    types_.push_back(type_of(index, texts_->back()));
  }

  static TokenType type_of(std::size_t index, std::string_view text) {
    if (index == 0) return TokenType::unknown;
    if (index < 3) return TokenType::control;
    const auto is_digit = [](char c) { return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'F'); };
    const bool byte =
        text.size() == 6 && text.starts_with("<0x") && text[5] == '>' && is_digit(text[3]) && is_digit(text[4]);
    return byte ? TokenType::byte : TokenType::normal;
  }

  void expect_first_pieces() const {
    constexpr std::array<std::string_view, 3> kFirst = {"<unk>", "<s>", "</s>"};
    for (std::size_t i = 0; i < kFirst.size(); ++i) {
      const std::string found = i < texts_->size() ? fmt::format("'{}'", for_message((*texts_)[i])) : "the end";
      if (i >= texts_->size() || (*texts_)[i] != kFirst[i]) {
        fail(4, fmt::format("piece {}", i), std::string(kFirst[i]), found);
      }
    }
  }

  std::string_view bytes_;
  const std::string& file_;
  std::size_t at_ = 0;
  std::shared_ptr<std::vector<std::string>> texts_ = std::make_shared<std::vector<std::string>>();
  std::vector<float> scores_;
  std::vector<TokenType> types_;
};

}  // namespace

Tokenizer Tokenizer::from_llama2c(std::string_view bytes, const std::string& file_name) {
  return Tokenizer(Llama2cReader(bytes, file_name).run());
}

}  // namespace rpt::text

// SPDX-License-Identifier: MIT
#include <algorithm>
#include <charconv>

#include "rpt/core/error.h"
#include "rpt/text/byte_level.h"
#include "rpt/text/tokenizer_state.h"
#include "rpt/text/utf8.h"

namespace rpt::text {

namespace {

constexpr std::size_t kLlama3Ranks = 128'000;

/// The value of a base64 digit, or -1.
int base64_value(char c) {
  if (c >= 'A' && c <= 'Z') return c - 'A';
  if (c >= 'a' && c <= 'z') return c - 'a' + 26;
  if (c >= '0' && c <= '9') return c - '0' + 52;
  return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/// The bytes of a padded base64 text (RFC 4648), or nothing where it is malformed.
std::optional<std::string> from_base64(std::string_view text) {
  if (text.empty() || text.size() % 4 != 0) return std::nullopt;
  const std::size_t padding = text.ends_with("==") ? 2 : text.ends_with('=') ? 1 : 0;
  text.remove_suffix(padding);
  std::string bytes;
  std::uint32_t bits = 0;
  int count = 0;
  for (const char c : text) {
    const int value = base64_value(c);
    if (value < 0) return std::nullopt;
    bits = (bits << 6) | static_cast<std::uint32_t>(value);
    count += 6;
    if (count >= 8) {
      count -= 8;
      bytes += static_cast<char>(static_cast<std::uint8_t>(bits >> count));
    }
  }
  const bool rest_is_zero = (bits & ((1u << count) - 1)) == 0;
  return rest_is_zero ? std::optional(bytes) : std::nullopt;
}

/// The texts of a vocabulary, one after the other. Views are taken when all are there.
class TokenArena {
 public:
  std::string& begin_token() {
    starts_.push_back(text_->size());
    return *text_;
  }
  std::size_t size() const { return starts_.size(); }
  std::vector<std::string_view> views() const {
    std::vector<std::string_view> out;
    for (std::size_t i = 0; i < starts_.size(); ++i) {
      const std::size_t end = i + 1 < starts_.size() ? starts_[i + 1] : text_->size();
      out.push_back(std::string_view(*text_).substr(starts_[i], end - starts_[i]));
    }
    return out;
  }
  std::shared_ptr<const void> owner() const { return text_; }

 private:
  std::shared_ptr<std::string> text_ = std::make_shared<std::string>();
  std::vector<std::size_t> starts_;
};

/// Reads the lines `base64 rank` into byte-to-unicode texts.
void read_ranks(std::string_view text, const std::string& file, TokenArena& arena) {
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    const std::string_view line = text.substr(at, end - at);
    const auto fail = [&](const std::string& expected) {
      throw FormatError(file, at, fmt::format("rank {}", arena.size()), expected,
                        fmt::format("'{}'", for_message(line)));
    };
    const std::size_t space = std::min(line.find(' '), line.size());
    const std::optional<std::string> bytes = from_base64(line.substr(0, space));
    if (!bytes || bytes->empty()) fail("base64");
    std::size_t rank = 0;
    const char* const first = line.data() + std::min(space + 1, line.size());
    const char* const last = line.data() + line.size();
    const auto [stop, error] = std::from_chars(first, last, rank);
    if (error != std::errc() || stop != last || rank != arena.size()) fail(fmt::format("the rank {}", arena.size()));
    append_byte_level(arena.begin_token(), *bytes);
    at = end + 1;
  }
}

/// tiktoken joins two neighbours when their bytes together are a token, the lowest rank first. So each split of a token
/// into two tokens is a merge, with the token's own rank.
void derive_merges(const Vocabulary& vocabulary, std::int32_t ranks, BytePairModel& model) {
  std::vector<std::pair<std::int32_t, std::int32_t>> splits;
  for (std::int32_t id = 0; id < ranks; ++id) {
    const std::string_view token = vocabulary.text(id);
    splits.clear();
    for (std::size_t i = 1; i < token.size(); ++i) {
      if ((static_cast<unsigned char>(token[i]) & 0xC0) == 0x80) continue;  // inside a character
      const std::int32_t left = vocabulary.find(token.substr(0, i)), right = vocabulary.find(token.substr(i));
      if (left < 0 || right < 0 || left >= ranks || right >= ranks) continue;
      splits.emplace_back(left, right);
    }
    std::sort(splits.begin(), splits.end());
    for (const auto& [left, right] : splits) model.add_merge(left, right, static_cast<std::uint32_t>(id), id);
  }
}

}  // namespace

Tokenizer Tokenizer::from_tiktoken(std::string_view text, std::vector<std::string> special_tokens,
                                   const std::string& file_name) {
  TokenArena arena;
  read_ranks(text, file_name, arena);
  const std::size_t ranks = arena.size();
  if (special_tokens.empty()) {
    if (ranks != kLlama3Ranks) {
      throw ConfigError(
          fmt::format("{}: the special tokens of a vocabulary of {} ranks are not known", file_name, ranks));
    }
    special_tokens = llama3_special_tokens();
  }
  for (const std::string& token : special_tokens) arena.begin_token() += token;
  std::vector<TokenType> types(arena.size(), TokenType::normal);
  std::fill(types.begin() + static_cast<std::ptrdiff_t>(ranks), types.end(), TokenType::control);

  auto state = std::make_shared<TokenizerState>();
  state->vocabulary = Vocabulary(arena.views(), std::move(types), arena.owner(), file_name);
  state->model = BytePairModel(state->vocabulary, {.byte_level = true, .ignore_merges = true}, 2 * ranks);
  derive_merges(state->vocabulary, static_cast<std::int32_t>(ranks), state->model);
  state->raw_added = added_tokens_of(state->vocabulary);
  state->pre_tokenizer = PreTokenizer(find_pre_tokenizer("llama-bpe")->steps, file_name);
  state->decoder = Decoder({{.kind = DecoderStep::Kind::byte_level}});
  find_special_ids_by_name(state->vocabulary, state->special);
  state->special.adds_bos = state->special.bos && state->vocabulary.text(*state->special.bos) == "<|begin_of_text|>";
  return Tokenizer(std::move(state));
}

}  // namespace rpt::text

// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "rpt/text/hash_tables.h"
#include "rpt/text/tokenizer.h"

namespace rpt::text {

/// Most tokens that a vocabulary may have, and most merges; far above any known one, far below what ids can hold.
inline constexpr std::size_t kMaxTokens = std::size_t{1} << 24;
inline constexpr std::size_t kMaxMerges = std::size_t{1} << 26;

/// The tokens of a vocabulary as they are written, by id, and the way back.
class Vocabulary {
 public:
  Vocabulary() = default;
  /// `types` has one entry per token. Throws FormatError for too many tokens, an empty one, one that is no UTF-8, or
  /// two alike.
  Vocabulary(std::vector<std::string_view> tokens, std::vector<TokenType> types, std::shared_ptr<const void> keep_alive,
             const std::string& file);

  std::int32_t size() const { return static_cast<std::int32_t>(tokens_.size()); }
  bool holds(std::int64_t id) const { return id >= 0 && id < static_cast<std::int64_t>(tokens_.size()); }
  std::string_view text(std::int32_t id) const { return tokens_[static_cast<std::size_t>(id)]; }
  TokenType type(std::int32_t id) const { return types_[static_cast<std::size_t>(id)]; }
  /// Tokens whose text is written as it is, not in byte-to-unicode form.
  bool is_literal(std::int32_t id) const {
    const TokenType t = type(id);
    return t == TokenType::control || t == TokenType::user_defined || t == TokenType::unknown;
  }
  /// Tokens that may come out of merging and look-ups: all but those that must be asked for, and unused ones.
  bool is_plain(std::int32_t id) const {
    const TokenType t = type(id);
    return t == TokenType::normal || t == TokenType::byte || t == TokenType::user_defined;
  }
  /// The id of a token as it is written, or -1.
  std::int32_t find(std::string_view token) const { return table_.find(tokens_, token); }
  /// The same for many at once, quicker.
  void find_many(std::span<const std::string_view> tokens, std::span<std::int32_t> ids) const {
    table_.find_many(tokens_, tokens, ids);
  }

 private:
  std::vector<std::string_view> tokens_;
  std::vector<TokenType> types_;
  std::shared_ptr<const void> keep_alive_;
  StringTable table_;
};

}  // namespace rpt::text

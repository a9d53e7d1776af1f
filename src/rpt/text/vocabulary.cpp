// SPDX-License-Identifier: MIT
#include "rpt/text/vocabulary.h"

#include "rpt/core/error.h"
#include "rpt/text/utf8.h"

namespace rpt::text {

Vocabulary::Vocabulary(std::vector<std::string_view> tokens, std::vector<TokenType> types,
                       std::shared_ptr<const void> keep_alive, const std::string& file)
    : tokens_(std::move(tokens)), types_(std::move(types)), keep_alive_(std::move(keep_alive)) {
  RPT_CHECK(tokens_.size() == types_.size(), "{} tokens, {} types", tokens_.size(), types_.size());
  if (tokens_.size() > kMaxTokens) {
    throw FormatError(file, 0, "vocabulary", fmt::format("at most {} tokens", kMaxTokens),
                      fmt::format("{}", tokens_.size()));
  }
  table_ = StringTable(tokens_.size());
  for (std::size_t i = 0; i < tokens_.size(); ++i) {
    const auto fail = [&](const char* expected, const std::string& found) {
      throw FormatError(file, 0, fmt::format("token {}", i), expected, found);
    };
    if (tokens_[i].empty()) fail("a text", "none");
    if (!is_valid_utf8(tokens_[i])) fail("UTF-8", "other bytes");
    const std::int32_t before = table_.insert(tokens_, static_cast<std::int32_t>(i));
    if (before >= 0) fail("a token that was not there before", fmt::format("the text of token {}", before));
  }
}

}  // namespace rpt::text

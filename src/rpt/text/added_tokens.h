// SPDX-License-Identifier: MIT
#pragma once
#include <array>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

namespace rpt::text {

/// A token that is looked for in the text itself, before any splitting.
struct AddedToken {
  std::string_view text;
  std::int32_t id;
  bool only_if_asked;        ///< control and unknown tokens
  bool strip_left = false;   ///< swallows the white space before it
  bool strip_right = false;  ///< and behind it
};

/// A set of added tokens. Of those that begin at the first place where any begins, the longest is found.
class AddedTokens {
 public:
  struct Found {
    std::size_t begin, end;
    std::int32_t id;
  };

  AddedTokens() = default;
  /// The texts must outlive the set.
  explicit AddedTokens(std::vector<AddedToken> tokens);

  /// The first one at `from` or behind it, with the white space it swallows (none of it before `from`).
  std::optional<Found> find(std::string_view text, std::size_t from, bool special) const;
  /// The id of the token written exactly so, or -1.
  std::int32_t id_of(std::string_view text) const;

  const std::vector<AddedToken>& tokens() const { return tokens_; }

 private:
  const AddedToken* longest_at(std::string_view text, bool special) const;
  std::vector<AddedToken> tokens_;  ///< sorted by text
  std::array<bool, 256> begins_{};  ///< bytes with which some token begins
};

}  // namespace rpt::text

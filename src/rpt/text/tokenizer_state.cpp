// SPDX-License-Identifier: MIT
#include "rpt/text/tokenizer_state.h"

#include <algorithm>
#include <array>

#include "rpt/core/error.h"
#include "rpt/text/utf8.h"

namespace rpt::text {

namespace {

constexpr std::array<std::string_view, 5> kBosNames = {"<|begin_of_text|>", "<s>", "<bos>", "<|startoftext|>",
                                                       "<|endoftext|>"};
constexpr std::array<std::string_view, 11> kEndNames = {"<|end_of_text|>", "<|eot_id|>",    "<|eom_id|>", "<|endoftext|>",
                                                        "<|im_end|>",      "<|end|>",       "<|eos|>",    "<end_of_turn>",
                                                        "</s>",            "<eos>",         "<EOT>"};

std::optional<std::int32_t> control_token(const Vocabulary& vocabulary, std::string_view name) {
  const std::int32_t id = vocabulary.find(name);
  if (id < 0 || vocabulary.type(id) != TokenType::control) return std::nullopt;
  return id;
}

}  // namespace

AddedTokens added_tokens_of(const Vocabulary& vocabulary) {
  std::vector<AddedToken> added;
  for (std::int32_t id = 0; id < vocabulary.size(); ++id) {
    if (!vocabulary.is_literal(id)) continue;
    added.push_back({.text = vocabulary.text(id),
                     .id = id,
                     .only_if_asked = vocabulary.type(id) != TokenType::user_defined});
  }
  return AddedTokens(std::move(added));
}

void find_special_ids_by_name(const Vocabulary& vocabulary, SpecialIds& ids) {
  for (const std::string_view name : kBosNames) {
    if (!ids.bos) ids.bos = control_token(vocabulary, name);
  }
  std::vector<std::int32_t> named;
  for (const std::string_view name : kEndNames) {
    if (const auto id = control_token(vocabulary, name)) named.push_back(*id);
  }
  std::sort(named.begin(), named.end());
  for (const std::int32_t id : named) {
    if (std::find(ids.ends.begin(), ids.ends.end(), id) == ids.ends.end()) ids.ends.push_back(id);
  }
}

void MergeReader::fail(std::uint64_t offset, const std::string& expected, const std::string& found) const {
  throw FormatError(file_, offset, fmt::format("merge {}", rank_), expected, found);
}

std::int32_t MergeReader::plain_token(std::string_view text, std::uint64_t offset) const {
  const std::int32_t id = vocabulary_.find(text);
  if (id < 0) fail(offset, "tokens of the vocabulary", fmt::format("'{}'", for_message(text)));
  if (!vocabulary_.is_plain(id)) fail(offset, "plain tokens", fmt::format("the special token '{}'", for_message(text)));
  return id;
}

void MergeReader::add(std::string_view left, std::string_view right, std::uint64_t offset) {
  const std::int32_t left_id = plain_token(left, offset), right_id = plain_token(right, offset);
  joined_.assign(left);
  joined_ += right;
  if (!model_.add_merge(left_id, right_id, rank_, plain_token(joined_, offset))) {
    fail(offset, "a pair that was not there before", fmt::format("'{} {}' again", for_message(left), for_message(right)));
  }
  ++rank_;
}

void MergeReader::add(std::string_view merge, std::uint64_t offset) {
  const std::size_t space = merge.find(' ');
  if (space == std::string_view::npos || merge.find(' ', space + 1) != std::string_view::npos) {
    fail(offset, "two tokens and a space between them", fmt::format("'{}'", for_message(merge)));
  }
  add(merge.substr(0, space), merge.substr(space + 1), offset);
}

}  // namespace rpt::text

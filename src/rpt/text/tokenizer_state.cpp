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
constexpr std::array<std::string_view, 11> kEndNames = {
    "<|end_of_text|>", "<|eot_id|>",    "<|eom_id|>", "<|endoftext|>", "<|im_end|>", "<|end|>",
    "<|eos|>",         "<end_of_turn>", "</s>",       "<eos>",         "<EOT>"};

std::optional<std::int32_t> control_token(const Vocabulary& vocabulary, std::string_view name) {
  const std::int32_t id = vocabulary.find(name);
  if (id < 0 || vocabulary.type(id) != TokenType::control) return std::nullopt;
  return id;
}

}  // namespace

bool is_end_name(std::string_view text) {
  return std::find(kEndNames.begin(), kEndNames.end(), text) != kEndNames.end();
}

AddedTokens added_tokens_of(const Vocabulary& vocabulary) {
  std::vector<AddedToken> added;
  for (std::int32_t id = 0; id < vocabulary.size(); ++id) {
    if (!vocabulary.is_literal(id)) continue;
    added.push_back(
        {.text = vocabulary.text(id), .id = id, .only_if_asked = vocabulary.type(id) != TokenType::user_defined});
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

void MergeReader::fail(std::size_t rank, const std::string& expected, const std::string& found) const {
  throw FormatError(file_, 0, fmt::format("merge {}", rank), expected, found);
}

void MergeReader::check_plain(std::size_t rank, std::string_view text, std::int32_t id) const {
  if (id < 0) fail(rank, "tokens of the vocabulary", fmt::format("'{}'", for_message(text)));
  if (!vocabulary_.is_plain(id)) fail(rank, "plain tokens", fmt::format("the special token '{}'", for_message(text)));
}

void MergeReader::add(std::string_view left, std::string_view right) {
  block_.push_back({left, right});
  if (block_.size() == kBlock) finish();
}

void MergeReader::add(std::string_view merge) {
  const std::size_t space = merge.find(' ');
  if (space == std::string_view::npos || merge.find(' ', space + 1) != std::string_view::npos) {
    fail(rank_ + block_.size(), "two tokens and a space between them", fmt::format("'{}'", for_message(merge)));
  }
  add(merge.substr(0, space), merge.substr(space + 1));
}

void MergeReader::finish() {
  // All three texts of a merge: left, right, and the two joined.
  std::size_t size = 0;
  for (const Merge& merge : block_) size += merge.left.size() + merge.right.size();
  std::string joined;
  joined.reserve(size);  // so that the views stay good
  std::array<std::string_view, 3 * kBlock> texts;
  std::array<std::int32_t, 3 * kBlock> ids;
  for (std::size_t i = 0; i < block_.size(); ++i) {
    const std::size_t begin = joined.size();
    joined.append(block_[i].left).append(block_[i].right);
    texts[3 * i] = block_[i].left;
    texts[3 * i + 1] = block_[i].right;
    texts[3 * i + 2] = std::string_view(joined).substr(begin);
  }
  vocabulary_.find_many(std::span(texts).first(3 * block_.size()), ids);
  for (std::size_t i = 0; i < block_.size(); ++i) model_.prefetch_merge(ids[3 * i], ids[3 * i + 1]);
  for (std::size_t i = 0; i < block_.size(); ++i) {
    for (std::size_t j = 3 * i; j < 3 * i + 3; ++j) check_plain(rank_ + i, texts[j], ids[j]);
    if (!model_.add_merge(ids[3 * i], ids[3 * i + 1], static_cast<std::uint32_t>(rank_ + i), ids[3 * i + 2])) {
      fail(rank_ + i, "a pair that was not there before",
           fmt::format("'{} {}' again", for_message(texts[3 * i]), for_message(texts[3 * i + 1])));
    }
  }
  rank_ += block_.size();
  block_.clear();
}

}  // namespace rpt::text

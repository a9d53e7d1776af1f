// SPDX-License-Identifier: MIT
#include "rpt/train/hold_out.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "rpt/core/checked.h"
#include "rpt/core/error.h"
#include "rpt/core/random.h"
#include "rpt/train/permutation.h"

namespace rpt::train {
namespace {

/// Which documents have the same text: all those of one text have one number, counted from 0 in order of appearance.
struct TextNumbers {
  std::vector<std::size_t> of_document;
  std::size_t count = 0;
};

TextNumbers number_texts(const std::vector<Document>& documents) {
  TextNumbers numbers;
  std::unordered_map<std::string_view, std::size_t> known;
  for (const Document& document : documents) {
    numbers.of_document.push_back(known.try_emplace(document.text, known.size()).first->second);
  }
  numbers.count = known.size();
  return numbers;
}

/// The place nearest to `wanted` in [low, high] that is a break, the lower of two.
template <typename IsBreak>
std::optional<std::size_t> nearest_break(std::size_t low, std::size_t wanted, std::size_t high,
                                         const IsBreak& is_break) {
  for (std::size_t distance = 0; distance <= std::max(wanted - low, high - wanted); ++distance) {
    if (distance <= wanted - low && is_break(wanted - distance)) return wanted - distance;
    if (distance <= high - wanted && is_break(wanted + distance)) return wanted + distance;
  }
  return std::nullopt;
}

/// Where the held-out end of a text begins.
std::optional<std::size_t> tail_begin(std::string_view text, double share) {
  if (text.size() < 3) return std::nullopt;
  const double size = static_cast<double>(text.size());
  const auto place = [&](double shares) {
    return std::clamp(static_cast<std::size_t>(std::llround(size * std::max(1 - shares * share, 0.0))), std::size_t{2},
                      text.size() - 1);
  };
  const auto begins_line = [&](std::size_t at) { return text[at - 1] == '\n' && text[at] != '\n' && text[at] != '\r'; };
  const auto begins_paragraph = [&](std::size_t at) {
    return begins_line(at) && (text[at - 2] == '\n' || text.substr(0, at).ends_with("\r\n\r\n"));
  };
  // Byte-pair vocabularies count a space to the word behind it.
  const auto begins_word = [&](std::size_t at) { return text[at] == ' '; };

  const auto nearest = [&](const auto& is_break) { return nearest_break(place(2), place(1), place(0.5), is_break); };
  std::optional<std::size_t> at = nearest(begins_paragraph);
  if (!at) at = nearest(begins_line);
  if (!at) at = nearest(begins_word);
  return at;
}

HoldOutSplit hold_out_documents(std::vector<Document> documents, const TextNumbers& texts,
                                const HoldOutOptions& options) {
  const auto wanted = static_cast<std::size_t>(std::llround(options.share * static_cast<double>(texts.count)));
  core::Random random(options.seed);
  std::vector<std::uint32_t> chosen = random_permutation(core::narrow<std::uint32_t>(texts.count), random);
  chosen.resize(std::max<std::size_t>(wanted, 1));
  std::vector<bool> is_chosen(texts.count, false);
  for (const std::uint32_t text : chosen) is_chosen[text] = true;

  HoldOutSplit split;
  std::vector<bool> is_taken(texts.count, false);
  for (std::size_t i = 0; i < documents.size(); ++i) {
    const std::size_t text = texts.of_document[i];
    if (!is_chosen[text]) {
      split.train.push_back(std::move(documents[i]));
    } else if (!is_taken[text]) {
      is_taken[text] = true;
      split.held_out.push_back(std::move(documents[i]));
      split.held_out.back().repeat = 1;
    }
  }
  return split;
}

HoldOutSplit hold_out_tails(std::vector<Document> documents, const TextNumbers& texts, const HoldOutOptions& options) {
  HoldOutSplit split;
  std::vector<bool> is_taken(texts.count, false);
  for (std::size_t i = 0; i < documents.size(); ++i) {
    Document& document = documents[i];
    // Equal texts are cut at equal places.
    if (const std::optional<std::size_t> begin = tail_begin(document.text, options.share)) {
      const std::size_t text = texts.of_document[i];
      if (!is_taken[text]) {
        is_taken[text] = true;
        split.held_out.push_back(document);
        split.held_out.back().text.erase(0, *begin);
        split.held_out.back().repeat = 1;
      }
      document.text.resize(*begin);
      document.is_whole = false;
    }
    split.train.push_back(std::move(document));
  }
  return split;
}

}  // namespace

HoldOutSplit hold_out(std::vector<Document> documents, const HoldOutOptions& options) {
  if (!(options.share >= 0 && options.share <= 0.5)) {
    throw ConfigError(fmt::format("a held-out share of {}; 0 to 0.5 can be had", options.share));
  }
  if (options.share == 0) return {std::move(documents), {}};
  const TextNumbers texts = number_texts(documents);
  const bool conversations = std::any_of(documents.begin(), documents.end(), is_conversation);
  if (conversations && texts.count == 1) {
    throw ConfigError("nothing can be held out of a single conversation; a share of 0 trains on all");
  }
  HoldOutSplit split = conversations || texts.count >= kMinHoldOutTexts
                           ? hold_out_documents(std::move(documents), texts, options)
                           : hold_out_tails(std::move(documents), texts, options);
  if (split.held_out.empty()) {
    throw ConfigError("nothing can be held out: no document has a line break or a space near its end");
  }
  return split;
}

}  // namespace rpt::train

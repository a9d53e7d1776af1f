// SPDX-License-Identifier: MIT
#include "bench/kneser_ney.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <utility>

#include "rpt/core/error.h"

namespace rpt::bench {
namespace {

constexpr std::uint32_t kNone = std::numeric_limits<std::uint32_t>::max();

void check_tokens(std::span<const std::int32_t> tokens, std::int32_t bos, std::int32_t vocabulary) {
  if (tokens.empty() || tokens.front() != bos) throw ShapeError("n-grams: the tokens do not begin with BOS");
  if (tokens.size() >= kNone) throw ShapeError(fmt::format("n-grams of {} tokens cannot be counted", tokens.size()));
  const auto [low, high] = std::minmax_element(tokens.begin(), tokens.end());
  if (*low < 0 || *high >= vocabulary) {
    throw ShapeError(fmt::format("n-grams: tokens {} to {} for a vocabulary of {}", *low, *high, vocabulary));
  }
}

}  // namespace

Discounts modified_discounts(const std::array<std::uint64_t, 4>& n) {
  constexpr Discounts kOtherwise{0.5, 1.0, 1.5};
  if (std::find(n.begin(), n.end(), 0U) != n.end()) return kOtherwise;
  const auto number = [&](std::size_t i) { return static_cast<double>(n[i]); };
  const double y = number(0) / (number(0) + 2 * number(1));
  Discounts discounts{};
  for (std::size_t i = 0; i < discounts.size(); ++i) {
    const auto count = static_cast<double>(i + 1);
    discounts[i] = count - (count + 1) * y * number(i + 1) / number(i);
    if (discounts[i] <= 0 || discounts[i] > count) return kOtherwise;
  }
  return discounts;
}

/// Builds the levels one after the other. ngram_at[i] is the number of the n-gram of the last level that begins at
/// token i, kNone where there is none.
struct KneserNey::Counter {
  std::span<const std::int32_t> tokens;
  std::int32_t bos;
  KneserNey& model;
  std::vector<std::uint32_t> ngram_at = std::vector<std::uint32_t>(tokens.size(), 0);  // of level 0: the root

  /// Whether the n-gram at token i, of `length` tokens, goes on.
  bool goes_on(std::size_t i, std::size_t length) const {
    if (ngram_at[i] == kNone || i + length >= tokens.size()) return false;
    return length == 0 || tokens[i + length] != bos;
  }

  /// Adds the n-grams of length + 1 tokens with their numbers of occurrences.
  void add_level(std::size_t length) {
    std::vector<std::uint64_t> keys;
    for (std::size_t i = 0; i < tokens.size(); ++i) {
      if (goes_on(i, length)) {
        keys.push_back(std::uint64_t{ngram_at[i]} << 32 | static_cast<std::uint32_t>(tokens[i + length]));
      }
    }
    std::sort(keys.begin(), keys.end());
    Level& parents = model.levels_[length];
    Level level;
    parents.children.assign(parents.last.size() + 1, 0);
    for (std::size_t begin = 0, end = 0; begin < keys.size(); begin = end) {
      while (end < keys.size() && keys[end] == keys[begin]) ++end;
      level.last.push_back(static_cast<std::int32_t>(keys[begin] & 0xffffffffU));
      level.count.push_back(static_cast<std::uint32_t>(end - begin));
      ++parents.children[(keys[begin] >> 32) + 1];
    }
    for (std::size_t i = 1; i < parents.children.size(); ++i) parents.children[i] += parents.children[i - 1];
    model.levels_.push_back(std::move(level));
  }

  /// Turns to the level that was added last; n-grams of the one before it, of `length` tokens, then count the different
  /// tokens before them, where there may be any.
  void descend(std::size_t length) {
    std::vector<std::uint32_t> next(tokens.size(), kNone);
    for (std::size_t i = 0; i < tokens.size(); ++i) {
      if (goes_on(i, length)) next[i] = *model.child(length + 1, ngram_at[i], tokens[i + length]);
    }
    if (length > 0) count_preceding(length, next);
    ngram_at = std::move(next);
  }

  void count_preceding(std::size_t length, std::span<const std::uint32_t> next) {
    std::vector<std::uint32_t>& count = model.levels_[length].count;
    std::vector<std::uint32_t> preceding(count.size(), 0);
    std::vector<bool> seen(model.levels_[length + 1].last.size());
    for (std::size_t i = 0; i < tokens.size(); ++i) {
      if (next[i] != kNone && !seen[next[i]]) {
        seen[next[i]] = true;
        ++preceding[ngram_at[i + 1]];
      }
      // BOS itself is predicted by nobody.
      if (length > 1 && tokens[i] == bos && ngram_at[i] != kNone) preceding[ngram_at[i]] = count[ngram_at[i]];
    }
    count = std::move(preceding);
  }
};

KneserNey::KneserNey(std::span<const std::int32_t> tokens, std::int32_t bos, std::int32_t vocabulary, int order)
    : vocabulary_(vocabulary) {
  if (order < kMinOrder || order > kMaxOrder) {
    throw ConfigError(fmt::format("n-grams of {} tokens; {} to {} can be had", order, kMinOrder, kMaxOrder));
  }
  check_tokens(tokens, bos, vocabulary);
  levels_.push_back({.last = {-1}, .count = {0}});
  Counter counter{tokens, bos, *this};
  for (std::size_t length = 0; length < static_cast<std::size_t>(order); ++length) {
    counter.add_level(length);
    counter.descend(length);
  }
  estimate();
}

/// Computes what depends on the counts: discounts, and what each context leaves to the shorter one.
void KneserNey::estimate() {
  for (std::size_t length = 1; length < levels_.size(); ++length) {
    Level& level = levels_[length];
    std::array<std::uint64_t, 4> n{};
    for (const std::uint32_t count : level.count) {
      if (count >= 1 && count <= n.size()) ++n[count - 1];
    }
    level.discounts = modified_discounts(n);
    Level& contexts = levels_[length - 1];
    contexts.following.resize(contexts.last.size());
    contexts.backoff.resize(contexts.last.size());
    for (std::size_t h = 0; h < contexts.last.size(); ++h) {
      std::uint32_t following = 0;
      double taken = 0;
      for (std::size_t i = contexts.children[h]; i < contexts.children[h + 1]; ++i) {
        following += level.count[i];
        taken += level.count[i] - discounted(level, i);
      }
      contexts.following[h] = following;
      contexts.backoff[h] = following == 0 ? 1 : taken / following;
    }
  }
}

const KneserNey::Level& KneserNey::level(int length) const {
  RPT_CHECK(length >= 1 && length <= order(), "length {}, order {}", length, order());
  return levels_[static_cast<std::size_t>(length)];
}

/// max(a − D(a), 0); no discount is above its count.
double KneserNey::discounted(const Level& level, std::size_t ngram) {
  const std::uint32_t count = level.count[ngram];
  if (count == 0) return 0;
  return count - level.discounts[std::min<std::uint32_t>(count, 3) - 1];
}

std::optional<std::uint32_t> KneserNey::child(std::size_t length, std::uint32_t parent, std::int32_t token) const {
  const std::vector<std::uint32_t>& children = levels_[length - 1].children;
  const std::vector<std::int32_t>& last = levels_[length].last;
  const auto begin = last.begin() + children[parent];
  const auto end = last.begin() + children[parent + 1];
  const auto found = std::lower_bound(begin, end, token);
  if (found == end || *found != token) return std::nullopt;
  return static_cast<std::uint32_t>(found - last.begin());
}

std::optional<std::uint32_t> KneserNey::find(std::span<const std::int32_t> ngram) const {
  std::optional<std::uint32_t> number = 0;
  for (std::size_t i = 0; i < ngram.size() && number; ++i) number = child(i + 1, *number, ngram[i]);
  return number;
}

double KneserNey::probability(std::span<const std::int32_t> context, std::int32_t token) const {
  if (token < 0 || token >= vocabulary_) {
    throw ShapeError(fmt::format("token {} for a vocabulary of {}", token, vocabulary_));
  }
  double p = 1.0 / vocabulary_;
  const std::size_t longest = std::min(context.size(), levels_.size() - 2);
  for (std::size_t length = 0; length <= longest; ++length) {
    // What was seen after a context was seen after its end as well, so no longer one was seen either.
    const std::optional<std::uint32_t> h = find(context.last(length));
    if (!h || levels_[length].following[*h] == 0) break;
    const std::optional<std::uint32_t> ngram = child(length + 1, *h, token);
    const double kept = ngram ? discounted(levels_[length + 1], *ngram) : 0;
    p = kept / levels_[length].following[*h] + levels_[length].backoff[*h] * p;
  }
  return p;
}

void KneserNeyScorer::score(std::span<const evaluate::Window> windows, std::span<double> nll,
                            core::ProgressSink& progress) {
  std::size_t targets = 0;
  for (const evaluate::Window& window : windows) {
    RPT_CHECK(window.tokens.size() == window.targets.size(), "{} tokens, {} targets", window.tokens.size(),
              window.targets.size());
    targets += static_cast<std::size_t>(
        std::count_if(window.targets.begin(), window.targets.end(), [](std::int32_t t) { return t >= 0; }));
  }
  if (nll.size() != targets) throw ShapeError(fmt::format("{} targets, room for {} results", targets, nll.size()));

  progress.begin(windows.size(), "windows", "scoring");
  std::size_t at = 0;
  for (const evaluate::Window& window : windows) {
    for (std::size_t i = 0; i < window.targets.size(); ++i) {
      if (window.targets[i] < 0) continue;
      nll[at++] = -std::log(model_.probability(std::span(window.tokens).first(i + 1), window.targets[i]));
    }
    progress.advance(1);
  }
  progress.finish();
}

}  // namespace rpt::bench

// SPDX-License-Identifier: MIT
#include "rpt/prune/select.h"

#include <charconv>
#include <cmath>
#include <numeric>
#include <regex>

#include "rpt/core/error.h"
#include "rpt/prune/names.h"
#include "rpt/prune/rank.h"
#include "rpt/ternary/latent_rows.h"

namespace rpt::prune {
namespace {

constexpr Names<Scope, 3> kScopes{{{Scope::global, "global"}, {Scope::tensor, "tensor"}, {Scope::row, "row"}}};
constexpr std::string_view kUnstructured = "unstructured";
constexpr std::int64_t kLongestGroup = 1024;

std::regex expression(const std::string& text, const char* option) {
  try {
    return std::regex(text);
  } catch (const std::regex_error&) {
    throw ConfigError(fmt::format("{}: \"{}\" is no regular expression", option, text));
  }
}

/// How many weights of a layer are alive.
std::uint64_t count_alive(const Linear& linear, Dose dose) {
  std::vector<std::uint64_t> counts(static_cast<std::size_t>(linear.rows()));
  ternary::for_row_ranges(linear.rows(), linear.columns(), [&](std::int64_t begin, std::int64_t end) {
    std::vector<std::uint8_t> live(static_cast<std::size_t>(linear.columns()));
    for (std::int64_t n = begin; n < end; ++n) {
      live_weights(linear, dose, n, live);
      counts[static_cast<std::size_t>(n)] = std::accumulate(live.begin(), live.end(), std::uint64_t{0});
    }
  });
  return std::accumulate(counts.begin(), counts.end(), std::uint64_t{0});
}

/// How many weights a share of all is.
std::uint64_t weights_to_go(double sparsity, std::uint64_t all) {
  return static_cast<std::uint64_t>(std::floor(sparsity * static_cast<double>(all) + 0.5));
}

/// A model whose weights are to go, its state before any of them went, and where the result is written.
class Candidates {
 public:
  Candidates(const model::Model& model, const Saliency& saliency, Dose dose, const Progress* progress)
      : saliency_(saliency), dose_(dose), now_(linear_layers(model)), base_(now_) {
    if (progress == nullptr) {
      masks_ = model::full_masks(model.config);
      return;
    }
    RPT_CHECK(progress->base != nullptr && progress->masks != nullptr, "a level without base or masks");
    model::require_masks_of(*progress->masks, model.config);
    base_ = linear_layers(*progress->base);
    masks_ = *progress->masks;
    for (std::size_t i = 0; i < std::max(now_.size(), base_.size()); ++i) {
      if (now_.size() != base_.size() || now_[i].rows() != base_[i].rows() || now_[i].columns() != base_[i].columns()) {
        throw ConfigError("the base and the model to prune have other shapes");
      }
    }
  }

  const std::vector<Linear>& linears() const { return now_; }
  model::Masks take() { return std::move(masks_); }

  /// Makes ready the scores of what is ranked next.
  void prepare(std::span<const std::size_t> linears) const { saliency_.prepare(linears); }

  /// A layer as ranking sees it: candidates are alive in the base and now.
  Ranked ranked(std::size_t i) {
    const Linear& linear = now_[i];
    Ranked matrix;
    matrix.rows = linear.rows();
    matrix.columns = linear.columns();
    matrix.keep = masks_.linears[i].keep.data();
    matrix.read = [this, i](std::int64_t n, std::span<double> scores, std::span<std::uint8_t> live) {
      if (!scores.empty()) saliency_.row(i, n, scores);
      live_weights(base_[i], dose_, n, live);
      if (base_[i].weight == now_[i].weight) return;
      std::vector<std::uint8_t> still(live.size());
      live_weights(now_[i], dose_, n, still);
      std::transform(live.begin(), live.end(), still.begin(), live.begin(), std::bit_and<>());
    };
    return matrix;
  }

  /// How many weights of a layer were alive in the base.
  std::uint64_t alive_in_base(std::size_t i) const { return count_alive(base_[i], dose_); }

 private:
  const Saliency& saliency_;
  Dose dose_;
  std::vector<Linear> now_;
  std::vector<Linear> base_;
  model::Masks masks_;
};

std::uint64_t sum(std::span<const std::uint64_t> counts) {
  return std::accumulate(counts.begin(), counts.end(), std::uint64_t{0});
}

/// How many weights must go beyond those that are dead already: none where a fine-tune has killed more than that.
std::uint64_t still_to_go(Candidates& candidates, const Selection& selection) {
  const std::uint64_t wanted = weights_to_go(selection.sparsity, ternary_weights(candidates.linears()));
  std::uint64_t dead = 0;
  for (std::size_t i = 0; i < candidates.linears().size(); ++i) {
    dead += candidates.alive_in_base(i) - sum(count_live(candidates.ranked(i)));
  }
  return wanted - std::min(dead, wanted);
}

/// Every row of the layers loses its share.
void drop_in_rows(Candidates& candidates, std::span<const std::size_t> targets, std::uint64_t count) {
  std::vector<std::uint64_t> live;
  for (const std::size_t i : targets) {
    const std::vector<std::uint64_t> here = count_live(candidates.ranked(i));
    live.insert(live.end(), here.begin(), here.end());
  }
  const std::vector<std::uint64_t> shares = apportion(count, live);
  std::size_t first = 0;
  for (const std::size_t i : targets) {
    candidates.prepare({&i, 1});
    const Ranked matrix = candidates.ranked(i);
    const auto rows = static_cast<std::size_t>(matrix.rows);
    drop_smallest_in_rows(matrix, std::span(shares).subspan(first, rows));
    first += rows;
  }
}

void drop_in_tensors(Candidates& candidates, std::span<const std::size_t> targets,
                     std::span<const std::uint64_t> shares) {
  for (std::size_t i = 0; i < targets.size(); ++i) {
    if (shares[i] == 0) continue;
    candidates.prepare({&targets[i], 1});
    const Ranked matrix = candidates.ranked(targets[i]);
    drop_smallest({&matrix, 1}, shares[i]);
  }
}

void drop_anywhere(Candidates& candidates, std::span<const std::size_t> targets, std::uint64_t count) {
  if (count == 0) return;
  candidates.prepare(targets);
  std::vector<Ranked> matrices;
  for (const std::size_t i : targets) matrices.push_back(candidates.ranked(i));
  drop_smallest(matrices, count);
}

void keep_pattern(Candidates& candidates, std::span<const std::size_t> targets, const Pattern& pattern) {
  for (const std::size_t i : targets) {
    candidates.prepare({&i, 1});
    keep_best_in_groups(candidates.ranked(i), pattern.keep, pattern.of);
  }
}

}  // namespace

std::string_view name(Scope scope) {
  return name_of(kScopes, scope);
}
Scope parse_scope(std::string_view text) {
  return parse_name(kScopes, text, "scope");
}

std::string name(const Pattern& pattern) {
  return pattern.unstructured() ? std::string(kUnstructured) : fmt::format("{}:{}", pattern.keep, pattern.of);
}

Pattern parse_pattern(std::string_view text) {
  if (text == kUnstructured) return {};
  Pattern pattern;
  const char* end = text.data() + text.size();
  const auto keep = std::from_chars(text.data(), end, pattern.keep);
  if (keep.ec == std::errc() && keep.ptr != end && *keep.ptr == ':') {
    const auto of = std::from_chars(keep.ptr + 1, end, pattern.of);
    const bool in_range = pattern.keep >= 1 && pattern.keep < pattern.of && pattern.of <= kLongestGroup;
    if (of.ec == std::errc() && of.ptr == end && in_range) return pattern;
  }
  throw ConfigError(
      fmt::format("the pattern \"{}\" is neither {} nor N:M with 1 ≤ N < M ≤ {}", text, kUnstructured, kLongestGroup));
}

void validate(const Selection& selection) {
  if (!(selection.sparsity >= 0 && selection.sparsity <= 1)) {
    throw ConfigError(fmt::format("sparsity is {}, expected 0 to 1", selection.sparsity));
  }
  if (!selection.pattern.unstructured()) {
    parse_pattern(name(selection.pattern));
    if (selection.sparsity != 0) throw ConfigError("a pattern N:M says by itself how many weights go: no sparsity");
    if (selection.scope != Scope::global) throw ConfigError("a pattern N:M looks at groups of inputs: no scope");
  }
  expression(selection.targets, "targets");
  expression(selection.protect, "protect");
}

std::vector<std::size_t> target_layers(std::span<const Linear> linears, const Selection& selection) {
  const std::regex targets = expression(selection.targets, "targets");
  const std::regex protect = expression(selection.protect, "protect");
  std::vector<std::size_t> chosen;
  for (const std::size_t i : by_name(linears)) {
    const std::string& name = linears[i].name;
    if (std::regex_match(name, targets) && !std::regex_match(name, protect)) chosen.push_back(i);
  }
  return chosen;
}

void require_alive(const model::Model& model, const Selection& selection, const std::string& source) {
  if (!selection.pattern.unstructured()) return;
  const std::vector<Linear> linears = linear_layers(model);
  std::uint64_t alive = 0;
  for (const std::size_t i : target_layers(linears, selection)) alive += count_alive(linears[i], selection.dose);
  const std::uint64_t all = ternary_weights(linears);
  if (weights_to_go(selection.sparsity, all) <= alive) return;
  constexpr double kShown = 1e4;  // rounded down, so that what is offered can be had
  const bool some = selection.targets != Selection().targets || !selection.protect.empty();
  throw ConfigError(fmt::format(
      "{}: a sparsity of {:g} is asked for, at most {:g} is possible: no more of all ternary weights have a {} other "
      "than 0{}",
      source, selection.sparsity, std::floor(kShown * static_cast<double>(alive) / static_cast<double>(all)) / kShown,
      selection.dose == Dose::codes ? "code" : "latent", some ? " in the layers that may lose any" : ""));
}

model::Masks select(const model::Model& model, const Saliency& saliency, const Selection& selection,
                    const Progress* progress) {
  validate(selection);
  Candidates candidates(model, saliency, selection.dose, progress);
  const std::vector<std::size_t> targets = target_layers(candidates.linears(), selection);
  if (!selection.pattern.unstructured()) {
    keep_pattern(candidates, targets, selection.pattern);
    return candidates.take();
  }
  const std::uint64_t count = still_to_go(candidates, selection);
  std::vector<std::uint64_t> live;
  for (const std::size_t i : targets) live.push_back(sum(count_live(candidates.ranked(i))));
  if (count > sum(live)) {
    throw ConfigError(fmt::format("{} more weights must go, and only {} are alive in the targets", count, sum(live)));
  }
  switch (selection.scope) {
    case Scope::global:
      drop_anywhere(candidates, targets, count);
      break;
    case Scope::tensor:
      drop_in_tensors(candidates, targets, apportion(count, live));
      break;
    case Scope::row:
      drop_in_rows(candidates, targets, count);
      break;
  }
  return candidates.take();
}

model::Masks select_matched(const model::Model& model, const Saliency& saliency, Dose dose, const model::Masks& like) {
  model::require_masks_of(like, model.config);
  Candidates candidates(model, saliency, dose, nullptr);
  for (std::size_t i = 0; i < candidates.linears().size(); ++i) {
    const Linear& linear = candidates.linears()[i];
    std::vector<std::uint8_t> live(static_cast<std::size_t>(linear.columns()));
    std::uint64_t count = 0;
    for (std::int64_t n = 0; n < linear.rows(); ++n) {
      live_weights(linear, dose, n, live);
      const std::uint8_t* keep = like.linears[i].row(n);
      for (std::size_t k = 0; k < live.size(); ++k) count += live[k] != 0 && keep[k] == 0 ? 1U : 0U;
    }
    candidates.prepare({&i, 1});
    const Ranked matrix = candidates.ranked(i);
    drop_smallest({&matrix, 1}, count);
  }
  return candidates.take();
}

model::Masks zero_code_masks(const model::Model& model) {
  model::Masks masks = model::full_masks(model.config);
  const std::vector<Linear> linears = linear_layers(model);
  for (std::size_t i = 0; i < linears.size(); ++i) {
    for (std::int64_t n = 0; n < linears[i].rows(); ++n) {
      live_weights(linears[i], Dose::codes, n,
                   {masks.linears[i].row(n), static_cast<std::size_t>(linears[i].columns())});
    }
  }
  return masks;
}

}  // namespace rpt::prune

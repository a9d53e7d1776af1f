// SPDX-License-Identifier: MIT
#include "rpt/train/window_sampler.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

#include "rpt/core/checked.h"
#include "rpt/core/error.h"
#include "rpt/text/utf8.h"
#include "rpt/train/permutation.h"

namespace rpt::train {
namespace {

constexpr std::array<std::pair<std::string_view, Sampling>, 4> kNames = {{{"epochs", Sampling::epochs},
                                                                          {"chunks", Sampling::chunks},
                                                                          {"anywhere", Sampling::anywhere},
                                                                          {"legacy", Sampling::legacy}}};

}  // namespace

std::string_view name(Sampling sampling) {
  for (const auto& [known, value] : kNames) {
    if (value == sampling) return known;
  }
  RPT_CHECK(false, "sampling {}", static_cast<int>(sampling));
}

Sampling parse_sampling(std::string_view sampling_name) {
  for (const auto& [known, value] : kNames) {
    if (known == sampling_name) return value;
  }
  throw ConfigError(
      fmt::format("unknown sampling '{}' (known: epochs, chunks, anywhere, legacy)", text::for_message(sampling_name)));
}

WindowSampler::WindowSampler(const TokenStream& stream, const SamplerOptions& options)
    : stream_(&stream),
      context_(static_cast<std::uint64_t>(options.context)),
      sampling_(options.sampling),
      random_(options.seed) {
  const std::size_t tokens = stream.tokens.size();
  RPT_CHECK(stream.is_target.size() == tokens, "{} marks of {} tokens", stream.is_target.size(), tokens);
  if (options.context < 1) throw ConfigError(fmt::format("windows of {} tokens", options.context));
  if (tokens <= context_) {
    throw ConfigError(
        fmt::format("the text has {} tokens; one window of {} takes one more than that to predict", tokens, context_));
  }
  state_.random = random_.state();
  if (sampling_ == Sampling::epochs) {
    begin_epoch();
  } else {
    windows_ = sampling_ == Sampling::anywhere ? tokens - context_ : (tokens - 1) / context_;
  }
}

void WindowSampler::begin_epoch() {
  core::Random random = core::Random(state_.random).split(state_.epoch);
  const std::uint64_t tokens = stream_->tokens.size();
  // In a short text the offset leaves room for one window.
  offset_ = random.below(std::min(context_, tokens - context_));
  windows_ = (tokens - 1 - offset_) / context_;
  order_ = random_permutation(core::narrow<std::uint32_t>(windows_), random);
}

std::uint64_t WindowSampler::next_start() {
  if (sampling_ == Sampling::epochs) {
    if (state_.position == windows_) {
      ++state_.epoch;
      state_.position = 0;
      begin_epoch();
    }
    return offset_ + order_[state_.position++] * context_;
  }
  const std::uint64_t window = random_.below(windows_);
  ++state_.position;
  state_.random = random_.state();
  return sampling_ == Sampling::anywhere ? window : window * context_;
}

void WindowSampler::append_window(Batch& batch, std::uint64_t start) const {
  for (std::uint64_t i = start; i < start + context_; ++i) {
    batch.tokens.push_back(stream_->tokens[i]);
    batch.targets.push_back(stream_->is_target[i + 1] != 0 ? stream_->tokens[i + 1] : -1);
  }
  if (sampling_ == Sampling::legacy) batch.targets.back() = -1;
}

Batch WindowSampler::next(std::int64_t rows) {
  RPT_CHECK(rows >= 1, "{} rows", rows);
  Batch batch;
  const std::size_t size = static_cast<std::size_t>(rows) * context_;
  batch.tokens.reserve(size);
  batch.targets.reserve(size);
  for (std::int64_t row = 0; row < rows; ++row) append_window(batch, next_start());
  return batch;
}

void WindowSampler::restore(const State& state) {
  WindowSampler restored = *this;
  restored.state_ = state;
  restored.random_ = core::Random(state.random);
  if (sampling_ == Sampling::epochs) restored.begin_epoch();
  const bool fits = sampling_ == Sampling::epochs ? state.position <= restored.windows_ : state.epoch == 0;
  if (!fits) {
    throw ConfigError(
        fmt::format("a sampler state at window {} of epoch {} cannot come from this text in windows of {}",
                    state.position, state.epoch, context_));
  }
  *this = std::move(restored);
}

}  // namespace rpt::train

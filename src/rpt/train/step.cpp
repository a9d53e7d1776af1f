// SPDX-License-Identifier: MIT
#include "rpt/train/step.h"

#include <algorithm>

#include "rpt/core/timer.h"
#include "rpt/tensor/product.h"

namespace rpt::train {

GradientStep::GradientStep(Parameters& parameters, std::int64_t context, const StepOptions& options)
    : parameters_(parameters),
      decoder_(parameters.model().config, parameters.model().weights),
      loss_(options.head),
      work_(options.backward),
      context_(context) {
  if (context < 1 || context > parameters.model().config.context) {
    throw ConfigError(
        fmt::format("training context {}: the model has 1 to {}", context, parameters.model().config.context));
  }
  if (options.head == model::BackwardType::int8 && options.backward != options.head) {
    throw ConfigError(fmt::format("a head in int8 beside a backward pass in {}", model::name(options.backward)));
  }
  if (options.head == model::BackwardType::int8 && parameters.model().config.vocabulary > tensor::kMostInt8Terms) {
    throw ConfigError(fmt::format("a head in int8 has at most {} rows, the model's has {}", tensor::kMostInt8Terms,
                                  parameters.model().config.vocabulary));
  }
  tape_.checkpoint_activations = options.checkpoint_activations;
}

std::int64_t rows_together(std::int64_t rows, std::int64_t length) {
  constexpr std::int64_t kTokens = 1024;
  const std::int64_t most = std::max<std::int64_t>(1, kTokens / length);
  const std::int64_t pieces = (rows + most - 1) / most;
  return (rows + pieces - 1) / pieces;
}

double GradientStep::add(const Batch& batch, std::int64_t rows, float weight) {
  const auto total = static_cast<std::int64_t>(batch.tokens.size());
  RPT_CHECK(rows > 0 && total % rows == 0 && total / rows <= context_, "{} tokens in {} rows", total, rows);
  const std::int64_t length = total / rows;
  const std::int64_t together = rows_together(rows, length);
  double sum = 0;
  for (std::int64_t row = 0; row < rows; row += together) {
    const std::int64_t piece = std::min(together, rows - row);
    const auto begin = static_cast<std::size_t>(row * length);
    const auto count = static_cast<std::size_t>(piece * length);
    sum += add_piece(std::span(batch.tokens).subspan(begin, count), std::span(batch.targets).subspan(begin, count),
                     piece, weight);
  }
  return sum;
}

double GradientStep::add_piece(std::span<const std::int32_t> tokens, std::span<const std::int32_t> targets,
                               std::int64_t rows, float weight) {
  const auto total = static_cast<std::int64_t>(tokens.size());
  const std::int64_t length = total / rows;
  while (std::cmp_less(caches_.size(), rows)) {
    caches_.push_back(std::make_unique<model::KvCache>(parameters_.model().config, context_));
  }
  std::vector<model::Segment> segments;
  for (std::int64_t r = 0; r < rows; ++r) {
    model::KvCache* cache = caches_[static_cast<std::size_t>(r)].get();
    cache->truncate(0);
    segments.push_back({tokens.subspan(static_cast<std::size_t>(r * length), static_cast<std::size_t>(length)), cache});
  }
  {
    const core::ScopedTimer timer(times_ != nullptr ? &times_->forward : nullptr);
    decoder_.forward(segments, hidden_, tape_, work_);
  }
  const model::Weights& weights = parameters_.model().weights;
  const model::Gradients& gradients = parameters_.gradients();
  dhidden_.reshape(total, hidden_.columns());
  double sum = 0;
  {
    const core::ScopedTimer timer(times_ != nullptr ? &times_->loss : nullptr);
    sum = loss_.add(weights.output(), hidden_.view(), targets, weight, work_, dhidden_.view(),
                    gradients.head ? *gradients.head : gradients.token_embd, work_.overwrites);
  }
  const core::ScopedTimer timer(times_ != nullptr ? &times_->backward : nullptr);
  decoder_.backward(tape_, dhidden_.view(), work_, gradients);
  work_.overwrites = false;
  return sum;
}

void GradientStep::begin_step(std::uint64_t seed, std::int64_t step) {
  work_.begin_step(seed, step);
  work_.overwrites = true;
  parameters_.zero_added_gradients();
}

void GradientStep::set_ternary_share(double share) {
  RPT_CHECK(share >= 0 && share <= 1, "{}", share);
  work_.ternary_share = static_cast<float>(share);
}

std::int64_t count_targets(const Batch& batch) {
  return std::count_if(batch.targets.begin(), batch.targets.end(), [](std::int32_t t) { return t >= 0; });
}

}  // namespace rpt::train

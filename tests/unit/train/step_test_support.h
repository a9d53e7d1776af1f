// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <memory>

#include "rpt/core/random.h"
#include "rpt/train/parameters.h"
#include "rpt/train/window_sampler.h"
#include "tests/tiny_model.h"

namespace rpt::test {

/// Parameters of a small random model of two blocks.
inline std::unique_ptr<train::Parameters> tiny_parameters(train::MasterType masters = train::MasterType::f32) {
  TinyShape shape;
  shape.hidden = 64;
  shape.feed_forward = 128;
  shape.heads = 2;
  shape.kv_heads = 1;
  shape.vocabulary = 96;
  return train::Parameters::of_model(TinyModel::make(shape), masters);
}

/// `rows` sequences of `length` random tokens; every token but a row's last one has a target.
inline train::Batch batch_of_noise(std::int64_t length, std::int64_t rows, std::int64_t vocabulary,
                                   std::uint64_t seed = 7) {
  core::Random random(seed);
  train::Batch batch;
  for (std::int64_t i = 0; i < rows * length; ++i) {
    batch.tokens.push_back(static_cast<std::int32_t>(random.below(static_cast<std::uint64_t>(vocabulary))));
  }
  for (std::int64_t i = 0; i < rows * length; ++i) {
    const bool last = (i + 1) % length == 0;
    batch.targets.push_back(last ? -1 : batch.tokens[static_cast<std::size_t>(i + 1)]);
  }
  return batch;
}

}  // namespace rpt::test

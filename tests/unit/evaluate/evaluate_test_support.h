// SPDX-License-Identifier: MIT
#pragma once
#include <gtest/gtest.h>

#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "rpt/core/random.h"
#include "rpt/evaluate/plan.h"
#include "rpt/evaluate/score.h"

namespace rpt::test {

/// A vocabulary whose tokens are the single bytes of a text.
inline text::EncodedText encode_bytes(std::string_view text) {
  text::EncodedText out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    out.ids.push_back(static_cast<unsigned char>(text[i]));
    out.ends.push_back(i + 1);
  }
  return out;
}

/// Byte tokens, BOS 256, end 257.
inline evaluate::TextModel byte_model(std::int64_t context, bool adds_bos) {
  return {.encode = encode_bytes, .adds_bos = adds_bos, .bos_id = 256, .eos_id = 257, .context = context};
}

/// A scorer whose NLL of a target is a function of the target and of how many tokens were read before it.
class FakeScorer final : public evaluate::TokenScorer {
 public:
  static double value(std::int32_t target, std::size_t read) {
    return 0.01 * target + 0.001 * static_cast<double>(read) + 0.1;
  }
  void score(std::span<const evaluate::Window> windows, std::span<double> nll, core::ProgressSink&) override {
    std::size_t at = 0;
    for (const evaluate::Window& w : windows) {
      for (std::size_t i = 0; i < w.targets.size(); ++i) {
        if (w.targets[i] >= 0) nll[at++] = value(w.targets[i], i + 1);
      }
    }
    EXPECT_EQ(at, nll.size());
  }
};

/// A small model with random weights that owns its bytes.
class RandomModel {
 public:
  explicit RandomModel(std::uint64_t seed, std::int64_t vocabulary = 96) : random_(seed) {
    config.hidden = 128;
    config.feed_forward = 256;
    config.layers = 2;
    config.heads = 4;
    config.kv_heads = 2;
    config.head_size = 32;
    config.vocabulary = vocabulary;
    config.context = 64;
    weights.token_embd = {{}, view(vocabulary, config.hidden)};
    for (std::int64_t i = 0; i < config.layers; ++i) {
      model::BlockWeights& b = weights.blocks.emplace_back();
      b.attn_norm = b.ffn_norm = norm(config.hidden);
      b.attn_sub_norm = norm(config.query_size());
      b.ffn_sub_norm = norm(config.feed_forward);
      b.attn_q = linear(config.query_size(), config.hidden);
      b.attn_k = linear(config.kv_size(), config.hidden);
      b.attn_v = linear(config.kv_size(), config.hidden);
      b.attn_output = linear(config.hidden, config.query_size());
      b.ffn_gate = linear(config.feed_forward, config.hidden);
      b.ffn_up = linear(config.feed_forward, config.hidden);
      b.ffn_down = linear(config.hidden, config.feed_forward);
    }
    weights.output_norm = norm(config.hidden);
  }

  model::Config config;
  model::Weights weights;

 private:
  tensor::StoredView view(std::int64_t rows, std::int64_t columns) {
    std::vector<float>& values = bytes_.emplace_back(static_cast<std::size_t>(rows * columns));
    for (float& v : values) v = static_cast<float>(0.3 * random_.normal());
    const auto bytes = std::as_bytes(std::span(values));
    return {bytes.data(), bytes.size(), tensor::DType::f32, rows, columns};
  }
  model::NormWeight norm(std::int64_t n) {
    return {.origin = {}, .gain = std::vector<float>(static_cast<std::size_t>(n), 1.0F)};
  }
  model::LinearWeight linear(std::int64_t rows, std::int64_t columns) {
    return {.weight = model::TernaryWeight::latent({}, view(rows, columns), false), .output_scale = std::nullopt};
  }

  core::Random random_;
  std::deque<std::vector<float>> bytes_;
};

/// A plan of windows with the given numbers of tokens, ids at random, every third target not scored; each window is a
/// document.
inline evaluate::ScoringPlan random_plan(const std::vector<std::int64_t>& sizes, std::int64_t vocabulary) {
  core::Random random(99);
  const auto draw = [&] { return static_cast<std::int32_t>(random.below(static_cast<std::uint64_t>(vocabulary))); };
  evaluate::ScoringPlan plan;
  for (const std::int64_t size : sizes) {
    evaluate::Window window;
    for (std::int64_t i = 0; i < size; ++i) {
      window.tokens.push_back(draw());
      window.targets.push_back(i % 3 == 2 ? -1 : draw());
      if (window.targets.back() < 0) continue;
      plan.scored.push_back({window.targets.back(), static_cast<std::int32_t>(plan.documents), 1});
    }
    plan.windows.push_back(std::move(window));
    ++plan.documents;
  }
  plan.bytes = plan.scored.size();
  return plan;
}

}  // namespace rpt::test

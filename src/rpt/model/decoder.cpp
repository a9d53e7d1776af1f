// SPDX-License-Identifier: MIT
#include "rpt/model/decoder.h"

#include <algorithm>
#include <cmath>

#include "rpt/core/parallel.h"
#include "rpt/core/trace.h"
#include "rpt/kernels/isa.h"

namespace rpt::model {
namespace {

/// Every token of every segment with its place, and the longest position. Throws ShapeError.
std::vector<std::int32_t> lay_out(std::span<const Segment> segments, const Config& config, std::vector<Row>& rows) {
  std::vector<std::int32_t> tokens;
  for (const Segment& s : segments) {
    RPT_CHECK(s.cache != nullptr);
    const auto count = static_cast<std::int64_t>(s.tokens.size());
    if (count > s.cache->capacity() - s.cache->size()) {
      throw ShapeError(fmt::format("{} tokens after {} do not fit a cache of {} positions", count, s.cache->size(),
                                   s.cache->capacity()));
    }
    std::int64_t position = s.cache->size();
    for (const std::int32_t token : s.tokens) {
      if (token < 0 || token >= config.vocabulary) {
        throw ShapeError(fmt::format("token {} of a vocabulary of {}", token, config.vocabulary));
      }
      tokens.push_back(token);
      rows.push_back({s.cache, position++});
    }
  }
  return tokens;
}

}  // namespace

Decoder::Decoder(const Config& config, const Weights& weights)
    : config_(config), weights_(weights), rope_(config.rope_theta, config.head_size) {
  for (std::int64_t i = 0; i < config.layers; ++i) {
    blocks_.emplace_back(config_, weights_.blocks[static_cast<std::size_t>(i)], i);
  }
}

void Decoder::forward(std::span<const std::int32_t> tokens, KvCache& cache, tensor::Tensor& hidden) {
  const Segment segment{tokens, &cache};
  forward({&segment, 1}, hidden);
}

void Decoder::forward(std::span<const Segment> segments, tensor::Tensor& hidden) {
  const core::ScopedTrace trace("model::Decoder::forward");
  std::vector<Row> rows;
  const std::vector<std::int32_t> tokens = lay_out(segments, config_, rows);
  std::int64_t positions = 0;
  for (const Row& row : rows) positions = std::max(positions, row.position + 1);
  rope_.reserve(positions);

  const auto total = static_cast<std::int64_t>(tokens.size());
  hidden.reshape(total, config_.hidden);
  work_.training = nullptr;
  for (std::int64_t begin = 0; begin < total; begin += kBlockRows) {
    const std::int64_t end = std::min(begin + kBlockRows, total);
    work_.rows.assign(rows.begin() + begin, rows.begin() + end);
    const auto ids = std::span(tokens).subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(end - begin));
    run_block(ids, hidden.view().slice(begin, end), nullptr);
  }
  for (const Segment& s : segments) s.cache->advance(static_cast<std::int64_t>(s.tokens.size()));
}

void Decoder::forward(std::span<const Segment> segments, tensor::Tensor& hidden, Tape& tape, BackwardWork& work) {
  tape.rows.clear();
  tape.sequences.clear();
  tape.tokens = lay_out(segments, config_, tape.rows);
  std::int64_t first = 0;
  for (const Segment& s : segments) {
    RPT_CHECK(s.cache->size() == 0, "a recorded forward begins at position 0, not {}", s.cache->size());
    const auto length = static_cast<std::int64_t>(s.tokens.size());
    tape.sequences.push_back({s.cache, first, length});
    first += length;
    rope_.reserve(length);
  }
  tape.blocks.resize(tape.checkpoint_activations ? 1 : blocks_.size());
  tape.streams.resize(tape.checkpoint_activations ? blocks_.size() : 0);
  hidden.reshape(first, config_.hidden);
  work_.rows = tape.rows;
  work_.training = &work;
  run_block(tape.tokens, hidden.view(), &tape);
  for (const Segment& s : segments) s.cache->advance(static_cast<std::int64_t>(s.tokens.size()));
}

void Decoder::backward(Tape& tape, tensor::MutableMatrix dhidden, BackwardWork& work, const Gradients& gradients) {
  tensor::rms_norm_backward(tape.last.view(), weights_.output_norm.gain, config_.norm_epsilon, dhidden, false, dhidden,
                            gradients.output_norm);
  for (std::size_t i = blocks_.size(); i-- > 0;) {
    BlockTape& block = tape.blocks[tape.checkpoint_activations ? 0 : i];
    if (tape.checkpoint_activations) {
      work_.rows = tape.rows;
      work_.training = &work;
      tensor::copy(tape.streams[i].view(), again_);
      blocks_[i].forward(again_.view(), work_, rope_, nullptr, &block);
    }
    blocks_[i].backward(dhidden, block, tape.sequences, rope_, work, gradients.blocks[i]);
  }
  // Tokens repeat: one thread adds their rows in text order.
  const auto add_row = kernels::active().add;
  for (std::int64_t t = 0; t < dhidden.rows; ++t) {
    add_row(gradients.token_embd.row(tape.tokens[static_cast<std::size_t>(t)]), dhidden.row(t), dhidden.columns);
  }
}

/// Rows of work_.rows through the whole stack; h [T, H] receives the normed hidden states.
void Decoder::run_block(std::span<const std::int32_t> tokens, tensor::MutableMatrix h, Tape* tape) {
  const tensor::StoredView& embedding = weights_.token_embd.values();
  core::parallel_for(h.rows, 16, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t t = begin; t < end; ++t) {
      tensor::read_row(embedding, tokens[static_cast<std::size_t>(t)], {h.row(t), static_cast<std::size_t>(h.columns)});
    }
  });
  if (observer_ != nullptr) observer_->activation("embedding", -1, h);
  const auto fail = [&](const std::string& what, std::int64_t row) {
    const auto i = static_cast<std::size_t>(row);
    throw NumericError(fmt::format("{} (token {} at position {})", what, tokens[i], work_.rows[i].position), row);
  };
  try {
    for (std::size_t i = 0; i < blocks_.size(); ++i) record_or_run(i, h, tape);
  } catch (const NumericError& e) {
    fail(e.what(), e.row());
  }
  if (tape != nullptr) tensor::copy(h, tape->last);
  std::int64_t bad = tensor::rms_norm(h, weights_.output_norm.gain, config_.norm_epsilon, h);
  if (bad < 0) bad = tensor::first_not_finite(h);
  if (bad >= 0) {
    fail(fmt::format("layer output_norm: the output of row {} holds an infinity or NaN", bad), bad);
  }
  if (observer_ != nullptr) observer_->activation("output_norm", -1, h);
}

void Decoder::record_or_run(std::size_t layer, tensor::MutableMatrix h, Tape* tape) {
  BlockTape* kept = nullptr;
  if (tape != nullptr && tape->checkpoint_activations) {
    tensor::copy(h, tape->streams[layer]);
    kept = &tape->blocks[0];  // not to be read: backward() records it again; but so there is one of them, not two
  } else if (tape != nullptr) {
    kept = &tape->blocks[layer];
  }
  blocks_[layer].forward(h, work_, rope_, observer_, kept);
}

void Decoder::logits(tensor::MatrixView hidden, tensor::MutableMatrix out) const {
  tensor::matmul_dense(weights_.output().values(), hidden, out);
}

std::int64_t Decoder::score_rows(std::int64_t vocabulary) {
  constexpr std::int64_t kMostLogits = std::int64_t{1} << 20;
  return std::clamp<std::int64_t>(kMostLogits / std::max<std::int64_t>(vocabulary, 1), 32, 128);
}

void Decoder::score(tensor::MatrixView hidden, std::span<const std::int32_t> targets, std::span<double> nll) {
  if (std::cmp_not_equal(targets.size(), hidden.rows) || targets.size() != nll.size()) {
    throw ShapeError(
        fmt::format("score: {} hidden states, {} targets, {} results", hidden.rows, targets.size(), nll.size()));
  }
  // Only rows with a target are multiplied by the head; they are brought together first.
  std::vector<std::int64_t> scored;
  for (std::int64_t t = 0; t < hidden.rows; ++t) {
    nll[static_cast<std::size_t>(t)] = 0;
    if (targets[static_cast<std::size_t>(t)] >= 0) scored.push_back(t);
  }
  const auto count = static_cast<std::int64_t>(scored.size());
  tensor::Tensor packed;
  const std::int64_t most = score_rows(config_.vocabulary);
  for (std::int64_t begin = 0; begin < count; begin += most) {
    const std::int64_t n = std::min(most, count - begin);
    packed.reshape(n, config_.hidden);
    for (std::int64_t i = 0; i < n; ++i) {
      std::copy_n(hidden.row(scored[static_cast<std::size_t>(begin + i)]), config_.hidden, packed.view().row(i));
    }
    logits_.reshape(n, config_.vocabulary);
    logits(packed.view(), logits_.view());
    core::parallel_for(n, 1, [&](std::int64_t first, std::int64_t last) {
      for (std::int64_t i = first; i < last; ++i) {
        const auto t = static_cast<std::size_t>(scored[static_cast<std::size_t>(begin + i)]);
        nll[t] = tensor::token_nll({logits_.view().row(i), static_cast<std::size_t>(config_.vocabulary)}, targets[t]);
      }
    });
  }
}

}  // namespace rpt::model

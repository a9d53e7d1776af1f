// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "rpt/model/config.h"
#include "rpt/model/layers.h"
#include "rpt/model/weights.h"

namespace rpt::model {

/// Tokens to append to one sequence.
struct Segment {
  std::span<const std::int32_t> tokens;
  KvCache* cache = nullptr;
};

/// The network: embedding, blocks, last norm, head. Reads config and weights, which must outlive it; not for use from
/// several threads at once (it keeps scratch space), but any number of decoders may share one Weights.
class Decoder {
 public:
  Decoder(const Config& config, const Weights& weights);

  /// Appends every segment's tokens to its cache and writes the normed hidden states [T, H] of all of them, segment
  /// after segment, T = Σ tokens. Rows are run in blocks of at most kBlockRows; how they are cut changes no bit.
  /// Throws: ShapeError for a token outside the vocabulary or a cache that is too small, NumericError naming layer and
  /// token for an activation that is not finite; FormatError where a weight turns out to be damaged at its first use.
  /// Caches keep their size when it throws.
  void forward(std::span<const Segment> segments, tensor::Tensor& hidden);

  /// The same for one sequence.
  void forward(std::span<const std::int32_t> tokens, KvCache& cache, tensor::Tensor& hidden);

  /// Logits [T, V] of hidden states [T, H].
  void logits(tensor::MatrixView hidden, tensor::MutableMatrix out) const;

  /// Negative log-likelihoods (nats) of targets[t] after hidden state t. A negative target is not scored and gets 0.
  /// Sizes: hidden [T, H], targets [T], nll [T].
  void score(tensor::MatrixView hidden, std::span<const std::int32_t> targets, std::span<double> nll);

  /// Shows activations to `observer` from now on; null turns that off.
  void set_observer(LayerObserver* observer) { observer_ = observer; }

  const Config& config() const { return config_; }
  const Block& block(std::int64_t layer) const { return blocks_[static_cast<std::size_t>(layer)]; }

  /// Most rows that run through the blocks together.
  static constexpr std::int64_t kBlockRows = 256;
  /// Most rows whose logits score() holds at once.
  static constexpr std::int64_t kScoreRows = 32;

 private:
  void run_block(std::span<const std::int32_t> tokens, tensor::MutableMatrix h);

  const Config& config_;
  const Weights& weights_;
  std::vector<Block> blocks_;
  RopeTable rope_;
  Workspace work_;
  tensor::Tensor logits_;
  LayerObserver* observer_ = nullptr;
};

}  // namespace rpt::model

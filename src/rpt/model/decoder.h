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

/// What a recorded forward leaves for its backward.
struct Tape {
  /// Keep only the residual stream before each block and run the blocks again in backward: about a fifth more time,
  /// memory of one block instead of all.
  bool checkpoint_activations = false;
  std::vector<std::int32_t> tokens;  ///< [T] of all sequences, one after another
  std::vector<Row> rows;             ///< [T]
  std::vector<Sequence> sequences;
  std::vector<BlockTape> blocks;        ///< [L], or one for all
  std::vector<tensor::Tensor> streams;  ///< [L] the stream [T, H] before each block, where activations are checkpointed
  tensor::Tensor last;                  ///< [T, H] the stream after the last block
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

  /// forward() of whole sequences, from empty caches, that records on `tape` what backward() needs. The same bits,
  /// unless `work` asks for a quantisation warm-up, which no other forward sees.
  void forward(std::span<const Segment> segments, tensor::Tensor& hidden, Tape& tape, BackwardWork& work);

  /// Adds the gradients of all weights but the head's to `gradients`, given those of the hidden states that the
  /// recorded forward gave, dhidden [T, H], which is overwritten. Throws: as forward where blocks are run again.
  void backward(Tape& tape, tensor::MutableMatrix dhidden, BackwardWork& work, const Gradients& gradients);

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
  /// Most rows whose logits score() holds at once: 4 MiB of them where that is 32 to 128 rows.
  static std::int64_t score_rows(std::int64_t vocabulary);

 private:
  void run_block(std::span<const std::int32_t> tokens, tensor::MutableMatrix h, Tape* tape);
  void record_or_run(std::size_t layer, tensor::MutableMatrix h, Tape* tape);

  const Config& config_;
  const Weights& weights_;
  std::vector<Block> blocks_;
  RopeTable rope_;
  Workspace work_;
  tensor::Tensor logits_;
  tensor::Tensor again_;  ///< the stream of a block that is run again in backward
  LayerObserver* observer_ = nullptr;
};

}  // namespace rpt::model

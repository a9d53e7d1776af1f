// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <string_view>
#include <vector>

#include "rpt/core/random.h"
#include "rpt/train/token_stream.h"

namespace rpt::train {

/// Where the windows of a stream of n tokens begin. A window that begins at s reads the tokens s … s + T − 1 and is to
/// predict those at s + 1 … s + T, so that s + T < n. "Chunks" begin at 0, T, 2T, …
enum class Sampling : std::uint8_t {
  /// Without replacement: windows side by side from an offset below T that each epoch draws anew, in an order that each
  /// epoch draws anew. An epoch leaves out the tokens before its offset and those behind its last whole window.
  epochs,
  chunks,    ///< with replacement, from the chunks
  anywhere,  ///< with replacement, from all places
  legacy,    ///< as chunks, but a window predicts only its own tokens: the last of its T targets is −1
};

/// The name in a configuration: "epochs", "chunks", "anywhere", "legacy".
std::string_view name(Sampling sampling);
/// The sampling of a name. Throws ConfigError.
Sampling parse_sampling(std::string_view sampling_name);

/// Windows to be trained on together: B rows of T tokens.
struct Batch {
  std::vector<std::int32_t> tokens;   ///< [B, T]
  std::vector<std::int32_t> targets;  ///< [B, T] the token that follows, −1 where it gives no loss
};

struct SamplerOptions {
  std::int64_t context = 128;  ///< T
  Sampling sampling = Sampling::epochs;
  std::uint64_t seed = 0;
};

/// Draws windows from a stream. The same stream, options and state give the same windows on every platform.
class WindowSampler {
 public:
  /// All that changes from batch to batch; store it to go on later.
  struct State {
    std::uint64_t epoch = 0;     ///< 0 in sampling with replacement
    std::uint64_t position = 0;  ///< windows taken in this epoch
    core::Random::State random;  ///< in sampling without replacement, what each epoch's generator is split from
    bool operator==(const State&) const = default;
  };

  /// `stream` must outlive the sampler. Throws ConfigError for a context below 1 and a stream without a window.
  WindowSampler(const TokenStream& stream, const SamplerOptions& options);
  WindowSampler(TokenStream&& stream, const SamplerOptions& options) = delete;

  /// The next `rows` windows, which may belong to two epochs or more.
  Batch next(std::int64_t rows);

  /// How many windows there are to draw from: those of this epoch, all chunks, or all places.
  std::uint64_t windows() const { return windows_; }

  const State& state() const { return state_; }
  /// Goes on where the sampler whose state this was would have. Throws ConfigError for a state that cannot come from
  /// this stream and these options; the sampler is then as it was. Cost: that of one epoch's permutation.
  void restore(const State& state);

 private:
  void begin_epoch();
  std::uint64_t next_start();
  void append_window(Batch& batch, std::uint64_t start) const;

  const TokenStream* stream_;
  std::uint64_t context_;
  Sampling sampling_;
  core::Random random_;
  std::uint64_t windows_ = 0;
  std::uint64_t offset_ = 0;          ///< epochs: where the first window begins
  std::vector<std::uint32_t> order_;  ///< epochs: the windows in the order in which they are taken
  State state_;
};

}  // namespace rpt::train

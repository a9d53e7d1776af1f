// SPDX-License-Identifier: MIT
#pragma once
#include <array>
#include <cstdint>

namespace rpt::core {

/// One block of Philox4x32-10: a bijection of the 128-bit counter, chosen by the 64-bit key.
/// Source: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
std::array<std::uint32_t, 4> philox4x32(std::array<std::uint32_t, 4> counter, std::array<std::uint32_t, 2> key);

/// Random numbers from a counter: word i of a generator is a fixed function of (seed, stream, i), so that any place of
/// the sequence is reached at once, generators split without talking to each other, and the state is three integers.
/// The numbers are the same on every platform. Formula: words 2j and 2j + 1 are the low and high halves of
/// philox4x32(counter = (j, stream), key = seed), all little end first.
class Random {
 public:
  /// Everything there is to a generator; store it to go on later.
  struct State {
    std::uint64_t seed = 0;
    std::uint64_t stream = 0;
    std::uint64_t position = 0;  ///< words taken so far
    bool operator==(const State&) const = default;
  };

  explicit Random(std::uint64_t seed, std::uint64_t stream = 0) : Random(State{seed, stream, 0}) {}
  explicit Random(const State& state);

  /// The generator number `index` of as many as are wanted: independent of this one, of its position and of its other
  /// children, and the same whenever and wherever it is split off.
  Random split(std::uint64_t index) const;

  /// 64 random bits.
  std::uint64_t next();
  /// Uniform in [0, 1), a multiple of 2^−53. Takes one word.
  double uniform();
  /// Uniform in 0 … n − 1, without bias; n at least 1. Takes one word, seldom more.
  std::uint64_t below(std::uint64_t n);
  /// Mean 0, variance 1 (Box–Muller with core/exact_math). Takes two words.
  double normal();

  const State& state() const { return state_; }
  /// Goes to word `position` of the sequence. Cost: constant.
  void seek(std::uint64_t position);

 private:
  void fill();
  State state_;
  std::array<std::uint64_t, 2> block_{};  ///< the words of the block that state_.position lies in
};

}  // namespace rpt::core

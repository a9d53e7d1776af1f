// SPDX-License-Identifier: MIT
#include "rpt/core/random.h"

#include <cmath>
#include <numbers>

#include "rpt/core/error.h"
#include "rpt/core/exact_math.h"

namespace rpt::core {
namespace {

std::uint32_t low(std::uint64_t x) {
  return static_cast<std::uint32_t>(x);
}
std::uint32_t high(std::uint64_t x) {
  return static_cast<std::uint32_t>(x >> 32);
}

std::array<std::uint64_t, 2> block_of(std::uint64_t index, std::uint64_t stream, std::uint64_t key) {
  const auto r = philox4x32({low(index), high(index), low(stream), high(stream)}, {low(key), high(key)});
  return {r[0] | static_cast<std::uint64_t>(r[1]) << 32, r[2] | static_cast<std::uint64_t>(r[3]) << 32};
}

// Children are named by blocks under another key than the numbers, so that no number tells a child's seed.
constexpr std::uint64_t kSplitKey = 0x5350'4c49'5421'6b65;

}  // namespace

std::array<std::uint32_t, 4> philox4x32(std::array<std::uint32_t, 4> counter, std::array<std::uint32_t, 2> key) {
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t p0 = std::uint64_t{0xD2511F53} * counter[0];
    const std::uint64_t p1 = std::uint64_t{0xCD9E8D57} * counter[2];
    counter = {high(p1) ^ counter[1] ^ key[0], low(p1), high(p0) ^ counter[3] ^ key[1], low(p0)};
    key[0] += 0x9E3779B9;
    key[1] += 0xBB67AE85;
  }
  return counter;
}

Random::Random(const State& state) : state_(state) {
  fill();
}

Random Random::split(std::uint64_t index) const {
  const auto [seed, stream] = block_of(index, state_.stream, state_.seed ^ kSplitKey);
  return Random(seed, stream);
}

void Random::fill() {
  block_ = block_of(state_.position / 2, state_.stream, state_.seed);
}

void Random::seek(std::uint64_t position) {
  state_.position = position;
  fill();
}

std::uint64_t Random::next() {
  const std::uint64_t word = block_[state_.position % 2];
  ++state_.position;
  if (state_.position % 2 == 0) fill();
  return word;
}

double Random::uniform() {
  return static_cast<double>(next() >> 11) * 0x1p-53;
}

std::uint64_t Random::below(std::uint64_t n) {
  RPT_CHECK(n > 0, "below 0");
  // The 2^64 mod n smallest words are drawn again, so that every remainder is left equally often.
  const std::uint64_t refused = (0 - n) % n;
  std::uint64_t word = next();
  while (word < refused) word = next();
  return word % n;
}

double Random::normal() {
  const double u = 1.0 - uniform();  // (0, 1]: the logarithm is finite
  const double angle = 2.0 * std::numbers::pi * uniform();
  return std::sqrt(-2.0 * exact_log(u)) * exact_cos(angle);
}

}  // namespace rpt::core

// SPDX-License-Identifier: MIT
#include "rpt/train/adamw.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <regex>

#include "rpt/core/float16.h"
#include "rpt/core/parallel.h"
#include "rpt/kernels/isa.h"

namespace rpt::train {
namespace {

/// Values that a thread takes at a time.
constexpr std::int64_t kPiece = 1 << 14;
/// Values that are widened at a time; they divide a piece and hold whole blocks of moments.
constexpr std::int64_t kChunk = 2048;
static_assert(kPiece % kChunk == 0 && kChunk % Moment::kBlock == 0);

/// What a step works on, widened.
struct Chunk {
  alignas(64) std::array<float, kChunk> weight;
  alignas(64) std::array<float, kChunk> m;
  alignas(64) std::array<float, kChunk> v;
};

void require(bool holds, const char* option, double value, const char* expected) {
  if (!holds) throw ConfigError(fmt::format("{} is {}, expected {}", option, value, expected));
}

void validate(const AdamwOptions& o) {
  require(o.lr > 0 && std::isfinite(o.lr), "lr", o.lr, "a positive number");
  require(o.beta1 >= 0 && o.beta1 < 1, "beta1", o.beta1, "0 to below 1");
  require(o.beta2 >= 0 && o.beta2 < 1, "beta2", o.beta2, "0 to below 1");
  require(o.eps > 0 && std::isfinite(o.eps), "eps", o.eps, "a positive number");
  require(o.weight_decay >= 0 && std::isfinite(o.weight_decay), "weight_decay", o.weight_decay, "0 or more");
  require(o.clip >= 0 && std::isfinite(o.clip), "clip", o.clip, "0 or more");
}

/// sqrt of the sum of squares(begin, count) over pieces of n values.
template <typename Squares>
double norm_by_pieces(std::int64_t n, std::int64_t piece, Squares&& squares) {
  std::vector<double> pieces(static_cast<std::size_t>((n + piece - 1) / piece));
  core::parallel_for(n, piece, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; i += piece) {  // one range may be several pieces
      pieces[static_cast<std::size_t>(i / piece)] = squares(i, std::min(piece, end - i));
    }
  });
  double sum = 0;
  for (const double p : pieces) sum += p;
  return std::sqrt(sum);
}

void widen(std::span<const std::uint16_t> x, float* y) {
  for (std::size_t i = 0; i < x.size(); ++i) y[i] = core::bf16_to_float(x[i]);
}

/// Rounds a chunk of moved weights that begins at place `begin` of its tensor.
void round_weights(MasterType type, std::span<const float> weights, std::int64_t begin, const RoundingBits& bits,
                   std::uint16_t* rounded) {
  if (type == MasterType::bf16_nearest) {
    kernels::active().scale_to_bf16(weights.data(), std::ssize(weights), 1.0F, rounded);
    return;
  }
  std::array<std::uint16_t, kChunk> random;
  const std::span drawn(random.data(), weights.size());
  bits.draw(begin, drawn);
  round_to_bf16(weights, drawn, rounded);
}

/// The norm of a parameter's masters.
double norm_of_masters(const Parameter& p) {
  if (p.has_master()) return norm(p.master.span());
  return norm_by_pieces(p.size(), kChunk, [&](std::int64_t begin, std::int64_t count) {
    std::array<float, kChunk> values;
    widen(p.rounded.span().subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(count)), values.data());
    return kernels::active().sum_squares(values.data(), count);
  });
}

}  // namespace

double norm(std::span<const float> x) {
  return norm_by_pieces(static_cast<std::int64_t>(x.size()), kPiece, [&](std::int64_t begin, std::int64_t count) {
    return kernels::active().sum_squares(x.data() + begin, count);
  });
}

Adamw::Adamw(Parameters& parameters, AdamwOptions options, std::uint64_t seed)
    : parameters_(parameters), options_(std::move(options)), rounding_key_(RoundingBits::key_of(seed)) {
  validate(options_);
  for (const Parameter& p : parameters_.all()) {
    ParameterGroup chosen;
    for (const ParameterGroup& group : options_.groups) {
      try {
        if (!std::regex_match(p.name, std::regex(group.pattern))) continue;
      } catch (const std::regex_error&) {
        throw ConfigError(fmt::format("group \"{}\" is no regular expression", group.pattern));
      }
      chosen = group;
      break;
    }
    if (p.kind == ParameterKind::norm) chosen.decay_factor = 0;  // a gain has nothing to decay to
    group_of_.push_back(chosen);
    m_.emplace_back(options_.state, Moment::Sign::both, p.size());
    v_.emplace_back(options_.state, Moment::Sign::positive, p.size());
  }
}

void Adamw::reset() {
  steps_ = 0;
  for (Moment& moment : m_) moment.clear();
  for (Moment& moment : v_) moment.clear();
}

void Adamw::move(std::size_t i, std::int64_t begin, std::int64_t end, kernels::AdamwStep a) {
  const auto kernel = kernels::active().adamw;
  Parameter& p = parameters_.all()[i];
  if (p.has_master() && options_.state == StateType::f32) {
    a.weight = p.master.data() + begin;
    a.gradient = p.gradient.data() + begin;
    a.m = m_[i].floats() + begin;
    a.v = v_[i].floats() + begin;
    a.n = end - begin;
    kernel(a);
    return;
  }
  const auto number = static_cast<std::uint32_t>(i) * 3;
  const RoundingBits of_weight(rounding_key_, steps_, number);
  const RoundingBits of_m(rounding_key_, steps_, number + 1);
  const RoundingBits of_v(rounding_key_, steps_, number + 2);
  Chunk chunk;
  for (; begin < end; begin += kChunk) {
    const auto count = static_cast<std::size_t>(std::min(kChunk, end - begin));
    const std::span m(chunk.m.data(), count);
    const std::span v(chunk.v.data(), count);
    m_[i].read(begin, m);
    v_[i].read(begin, v);
    if (!p.has_master()) widen({p.rounded.data() + begin, count}, chunk.weight.data());
    a.weight = p.has_master() ? p.master.data() + begin : chunk.weight.data();
    a.gradient = p.gradient.data() + begin;
    a.m = m.data();
    a.v = v.data();
    a.n = static_cast<std::int64_t>(count);
    kernel(a);
    m_[i].write(begin, m, of_m);
    v_[i].write(begin, v, of_v);
    if (!p.has_master()) {
      round_weights(parameters_.masters(), {chunk.weight.data(), count}, begin, of_weight, p.rounded.data() + begin);
    }
  }
}

StepNorms Adamw::step(double rate_factor, double decay_factor) {
  parameters_.finish_gradients();
  std::vector<Parameter>& all = parameters_.all();
  std::vector<double> norms;
  std::vector<double> sizes;  // rms of each tensor, 1 where rates are absolute
  StepNorms result;
  double squares = 0;
  for (const Parameter& p : all) {
    norms.push_back(norm(p.gradient.span()));
    if (!std::isfinite(norms.back())) {
      throw NumericError(fmt::format("the gradient of {} is not finite", p.name), 0);
    }
    const double rms = options_.relative ? norm_of_masters(p) / std::sqrt(static_cast<double>(p.size())) : 1;
    sizes.push_back(rms > 0 ? rms : 1);
    squares += norms.back() * norms.back();
    result.largest = std::max(result.largest, norms.back());
  }
  result.gradient = std::sqrt(squares);
  ++steps_;
  const double bias1 = 1 - std::pow(options_.beta1, static_cast<double>(steps_));
  const double bias2 = 1 - std::pow(options_.beta2, static_cast<double>(steps_));
  for (std::size_t i = 0; i < all.size(); ++i) {
    const double measured = options_.clipping == Clipping::global ? result.gradient : norms[i] * sizes[i];
    const bool clips = options_.clip > 0 && measured + 1e-6 > options_.clip;  // 1e-6 as in PyTorch's clip_grad_norm_
    const double lr = options_.lr * rate_factor * group_of_[i].lr_factor;
    kernels::AdamwStep a;
    a.clip = static_cast<float>(clips ? options_.clip / (measured + 1e-6) : 1.0);
    a.beta1 = static_cast<float>(options_.beta1);
    a.beta2 = static_cast<float>(options_.beta2);
    a.keep = static_cast<float>(1 - lr * options_.weight_decay * decay_factor * group_of_[i].decay_factor);
    a.rate = static_cast<float>(lr * sizes[i] / bias1);
    a.root = static_cast<float>(1 / std::sqrt(bias2));
    a.eps = static_cast<float>(options_.eps / sizes[i]);
    core::parallel_for(all[i].size(), kPiece, [&](std::int64_t begin, std::int64_t end) { move(i, begin, end, a); });
  }
  parameters_.moved(steps_);
  return result;
}

}  // namespace rpt::train

// SPDX-License-Identifier: MIT
#include "rpt/train/adamw.h"

#include <algorithm>
#include <cmath>
#include <regex>

#include "rpt/core/parallel.h"
#include "rpt/kernels/isa.h"

namespace rpt::train {
namespace {

/// Values that a thread takes at a time.
constexpr std::int64_t kPiece = 1 << 14;

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

}  // namespace

double norm(std::span<const float> x) {
  const auto n = static_cast<std::int64_t>(x.size());
  std::vector<double> pieces(static_cast<std::size_t>((n + kPiece - 1) / kPiece));
  const auto kernel = kernels::active().sum_squares;
  core::parallel_for(n, kPiece, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; i += kPiece) {  // one range may be several pieces
      pieces[static_cast<std::size_t>(i / kPiece)] = kernel(x.data() + i, std::min(kPiece, end - i));
    }
  });
  double sum = 0;
  for (const double p : pieces) sum += p;
  return std::sqrt(sum);
}

Adamw::Adamw(Parameters& parameters, AdamwOptions options) : parameters_(parameters), options_(std::move(options)) {
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
    m_.emplace_back(static_cast<std::size_t>(p.size()));
    v_.emplace_back(static_cast<std::size_t>(p.size()));
  }
}

void Adamw::reset() {
  steps_ = 0;
  for (auto* moments : {&m_, &v_}) {
    for (auto& buffer : *moments) std::fill_n(buffer.data(), buffer.size(), 0.0F);
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
      throw NumericError(fmt::format("step {}: the gradient of {} is not finite", steps_ + 1, p.name), 0);
    }
    const double rms = options_.relative ? norm(p.master.span()) / std::sqrt(static_cast<double>(p.size())) : 1;
    sizes.push_back(rms > 0 ? rms : 1);
    squares += norms.back() * norms.back();
    result.largest = std::max(result.largest, norms.back());
  }
  result.gradient = std::sqrt(squares);
  ++steps_;
  const double bias1 = 1 - std::pow(options_.beta1, static_cast<double>(steps_));
  const double bias2 = 1 - std::pow(options_.beta2, static_cast<double>(steps_));
  const auto kernel = kernels::active().adamw;
  for (std::size_t i = 0; i < all.size(); ++i) {
    Parameter& p = all[i];
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
    core::parallel_for(p.size(), kPiece, [&](std::int64_t begin, std::int64_t end) {
      kernels::AdamwStep piece = a;
      piece.weight = p.master.data() + begin;
      piece.gradient = p.gradient.data() + begin;
      piece.m = m_[i].data() + begin;
      piece.v = v_[i].data() + begin;
      piece.n = end - begin;
      kernel(piece);
    });
  }
  parameters_.moved(steps_);
  return result;
}

}  // namespace rpt::train

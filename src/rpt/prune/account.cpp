// SPDX-License-Identifier: MIT
#include "rpt/prune/account.h"

#include <algorithm>
#include <mutex>
#include <utility>

#include "rpt/core/error.h"
#include "rpt/model/gauge_groups.h"
#include "rpt/ternary/latent_rows.h"
#include "rpt/ternary/layouts.h"

namespace rpt::prune {
namespace {

/// A row of a layer: its codes, and where its latents are 0.
struct Row {
  std::vector<std::int8_t> codes;
  std::vector<std::uint8_t> zero;

  void read(const model::TernaryWeight& weight, std::int64_t n) {
    codes.resize(static_cast<std::size_t>(weight.columns()));
    zero.resize(codes.size());
    ternary::unpack_row(weight.codes(), n, codes);
    if (const auto latents = weight.latents()) {
      const float* w = ternary::LatentRows(*latents).widened(n);
      std::transform(w, w + weight.columns(), zero.begin(), [](float x) { return x == 0 ? 1 : 0; });
    } else {
      std::transform(codes.begin(), codes.end(), zero.begin(), [](std::int8_t c) { return c == 0 ? 1 : 0; });
    }
  }
};

/// Adds up what happened to one row.
void add_row(const Row& before, const Row& after, WeightAccount& sum) {
  sum.weights += before.codes.size();
  for (std::size_t k = 0; k < before.codes.size(); ++k) {
    const int from = before.codes[k];
    const int to = after.codes[k];
    const auto count = [](bool holds) { return holds ? std::uint64_t{1} : std::uint64_t{0}; };
    sum.latents_zero_before += before.zero[k];
    sum.latents_zeroed += count(before.zero[k] == 0 && after.zero[k] != 0);
    sum.codes_zero_before += count(from == 0);
    sum.codes_zero_after += count(to == 0);
    sum.codes_removed += count(from != 0 && to == 0);
    sum.codes_gained += count(from == 0 && to != 0);
    sum.codes_turned += count(from * to == -1);
  }
}

TensorAccount compare(std::string name, const model::TernaryWeight& before, const model::TernaryWeight& after) {
  if (before.rows() != after.rows() || before.columns() != after.columns()) {
    throw ConfigError(fmt::format("{} is [{}, {}] before and [{}, {}] after", name, before.rows(), before.columns(),
                                  after.rows(), after.columns()));
  }
  TensorAccount out;
  out.name = std::move(name);
  out.scale_before = before.codes().scale;
  out.scale_after = after.codes().scale;
  std::mutex mutex;
  ternary::for_row_ranges(before.rows(), before.columns(), [&](std::int64_t begin, std::int64_t end) {
    Row from, to;
    WeightAccount here;
    for (std::int64_t n = begin; n < end; ++n) {
      from.read(before, n);
      to.read(after, n);
      add_row(from, to, here);
    }
    const std::lock_guard lock(mutex);
    out += here;
  });
  return out;
}

}  // namespace

double WeightAccount::zero_share() const {
  return weights == 0 ? 0 : static_cast<double>(codes_zero_after) / static_cast<double>(weights);
}

double WeightAccount::dose() const {
  return weights == 0 ? 0 : static_cast<double>(codes_removed) / static_cast<double>(weights);
}

WeightAccount& WeightAccount::operator+=(const WeightAccount& other) {
  weights += other.weights;
  latents_zero_before += other.latents_zero_before;
  latents_zeroed += other.latents_zeroed;
  codes_zero_before += other.codes_zero_before;
  codes_zero_after += other.codes_zero_after;
  codes_removed += other.codes_removed;
  codes_gained += other.codes_gained;
  codes_turned += other.codes_turned;
  return *this;
}

Account account(const model::Model& before, const model::Model& after) {
  const auto& from = before.weights.blocks;
  const auto& to = after.weights.blocks;
  if (from.size() != to.size()) {
    throw ConfigError(fmt::format("{} blocks before and {} after", from.size(), to.size()));
  }
  Account out;
  for (std::size_t b = 0; b < from.size(); ++b) {
    for (const model::GaugeGroup& group : model::kGaugeGroups) {
      for (const model::GaugeLinear& linear : group.linears) {
        const model::LinearWeight& then = from[b].*linear.weight;
        const model::LinearWeight& now = to[b].*linear.weight;
        TensorAccount sum = compare(model::block_tensor_name(b, linear.name), then.weight, now.weight);
        sum.scale_before *= then.output_scale.value_or(1);
        sum.scale_after *= now.output_scale.value_or(1);
        out.total += sum;
        out.tensors.push_back(std::move(sum));
        if (!now.weight.latents()) out.of_latents = false;
      }
    }
  }
  return out;
}

}  // namespace rpt::prune

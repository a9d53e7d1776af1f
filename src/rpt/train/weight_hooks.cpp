// SPDX-License-Identifier: MIT
#include "rpt/train/weight_hooks.h"

#include <algorithm>
#include <array>
#include <bit>
#include <utility>

#include "rpt/core/error.h"
#include "rpt/core/float16.h"
#include "rpt/core/parallel.h"
#include "rpt/core/sha256.h"
#include "rpt/kernels/isa.h"

namespace rpt::train {
namespace {

/// Values that a thread takes at a time.
constexpr std::int64_t kPiece = 1 << 14;

constexpr std::array<std::pair<ReviveScope, std::string_view>, 3> kNames{
    {{ReviveScope::groups, "groups"}, {ReviveScope::row, "row"}, {ReviveScope::tensor, "tensor"}}};

/// values_i = 0 where keep_i is 0.
template <typename T>
void zero_pruned(std::span<const std::uint8_t> keep, std::span<T> values) {
  RPT_CHECK(keep.size() == values.size(), "{} and {}", keep.size(), values.size());
  core::parallel_for(static_cast<std::int64_t>(keep.size()), kPiece, [&](std::int64_t begin, std::int64_t end) {
    for (auto i = static_cast<std::size_t>(begin); std::cmp_less(i, end); ++i) {
      if (keep[i] == 0) values[i] = T{0};
    }
  });
}

/// |x| as an integer that rises with it; a NaN is the largest.
std::uint32_t magnitude(float x) {
  return std::bit_cast<std::uint32_t>(x) & 0x7fffffffU;
}

}  // namespace

MaskHook::MaskHook(model::Masks masks) : masks_(std::move(masks)), description_("mask " + model::sha256_of(masks_)) {}

void MaskHook::moved(const model::TrainedWeight& weight, std::int64_t steps) {
  if (steps != 0) return;
  const model::LinearMask* mask = masks_.find(weight.name);
  const bool fits =
      mask == nullptr ? !weight.linear : weight.linear && mask->rows == weight.rows && mask->columns == weight.columns;
  if (fits) return;
  const std::string of = mask == nullptr ? "missing" : fmt::format("[{}, {}]", mask->rows, mask->columns);
  throw ConfigError(
      fmt::format("the mask of {} is {}, the weight [{}, {}]", weight.name, of, weight.rows, weight.columns));
}

void MaskHook::published(const model::TrainedWeight& weight, std::span<std::uint16_t> values) const {
  if (const auto* mask = masks_.find(weight.name)) zero_pruned<std::uint16_t>(mask->keep, values);
}

void MaskHook::gradient(const model::TrainedWeight& weight, std::span<float> gradient) const {
  if (const auto* mask = masks_.find(weight.name)) zero_pruned<float>(mask->keep, gradient);
}

std::uint64_t MaskHook::held_bytes() const {
  std::uint64_t sum = 0;
  for (const model::LinearMask& mask : masks_.linears) sum += mask.keep.size();
  return sum;
}

FixedScaleHook::FixedScaleHook(model::Masks masks, Scales scales, FixedScaleReading reading)
    : MaskHook(std::move(masks)), scales_(std::move(scales)), reading_(reading) {
  std::string all;
  for (const auto& [name, s] : scales_) {
    all += fmt::format("{} {:08x} {:08x}\n", name, std::bit_cast<std::uint32_t>(s.inv),
                       std::bit_cast<std::uint32_t>(s.scale));
  }
  description_ =
      fmt::format("scales fixed{}, {}, {}", reading == FixedScaleReading::twice ? " and quantised again" : "",
                  core::sha256_hex(all), MaskHook::description());
}

void FixedScaleHook::moved(const model::TrainedWeight& weight, std::int64_t steps) {
  MaskHook::moved(weight, steps);
  if (steps == 0 && weight.linear && !scales_.contains(weight.name)) {
    throw ConfigError(fmt::format("no scale is given for {}", weight.name));
  }
  if (steps == 0 && weight.linear && weight.master.empty()) {
    throw ConfigError("fixed scales need float32 masters: the bfloat16 values are what is read, and no latents");
  }
}

void FixedScaleHook::published(const model::TrainedWeight& weight, std::span<std::uint16_t> values) const {
  MaskHook::published(weight, values);
  const auto found = scales_.find(weight.name);
  if (found == scales_.end()) return;
  const float inv = found->second.inv;
  const std::uint16_t plus = core::float_to_bf16(found->second.scale);
  const std::uint16_t minus = core::float_to_bf16(-found->second.scale);
  const auto find_codes = kernels::active().ternary_codes_bf16;
  core::parallel_for(std::ssize(values), kPiece, [&](std::int64_t begin, std::int64_t end) {
    static thread_local std::vector<std::int8_t> codes;
    codes.resize(static_cast<std::size_t>(end - begin));
    const auto part = values.subspan(static_cast<std::size_t>(begin), codes.size());
    find_codes(part.data(), std::ssize(part), inv, codes.data());
    for (std::size_t i = 0; i < part.size(); ++i) {
      part[i] = codes[i] == 0 ? std::uint16_t{0} : codes[i] > 0 ? plus : minus;
    }
  });
}

std::string_view name(ReviveScope scope) {
  for (const auto& [value, text] : kNames) {
    if (value == scope) return text;
  }
  return {};
}

ReviveScope parse_revive_scope(std::string_view text) {
  for (const auto& [value, known] : kNames) {
    if (known == text) return value;
  }
  throw ConfigError(fmt::format("unknown scope \"{}\"; there are groups, row, tensor", text));
}

ReviveHook::ReviveHook(const ReviveOptions& options) : options_(options) {
  const auto need = [](bool holds, const std::string& what) {
    if (!holds) throw ConfigError("revive: " + what);
  };
  need(options.every >= 1, fmt::format("every is {}, expected 1 or more", options.every));
  need(options.keep >= 0 && options.keep <= options.of && options.of >= 1 && options.of <= 1 << 20,
       fmt::format("{} of {} cannot be kept", options.keep, options.of));
  need(options.sparsity >= 0 && options.sparsity <= 1, fmt::format("sparsity {}, expected 0 to 1", options.sparsity));
}

std::string ReviveHook::description() const {
  const std::string what = options_.scope == ReviveScope::groups
                               ? fmt::format("{}:{}", options_.keep, options_.of)
                               : fmt::format("{} of a {} pruned", options_.sparsity, name(options_.scope));
  return fmt::format("revive {}, every {} steps", what, options_.every);
}

void ReviveHook::moved(const model::TrainedWeight& weight, std::int64_t steps) {
  if (!weight.linear || steps % options_.every != 0) return;
  if (weight.master.empty()) {
    throw ConfigError(fmt::format("{}: a mask that follows the masters needs them in float32", weight.name));
  }
  std::int64_t group = options_.of;
  if (options_.scope == ReviveScope::row) group = weight.columns;
  if (options_.scope == ReviveScope::tensor) group = weight.rows * weight.columns;
  std::int64_t keep = options_.keep;
  if (options_.scope != ReviveScope::groups) {
    keep = group - static_cast<std::int64_t>(options_.sparsity * static_cast<double>(group));
  } else if (weight.columns % group != 0) {
    throw ConfigError(
        fmt::format("{}: rows of {} do not divide into groups of {}", weight.name, weight.columns, group));
  }
  std::vector<std::uint8_t>& mask = masks_[std::string(weight.name)];
  mask.resize(weight.master.size());
  const std::int64_t groups = weight.rows * weight.columns / group;
  core::parallel_for(groups, std::max<std::int64_t>(kPiece / group, 1), [&](std::int64_t begin, std::int64_t end) {
    std::vector<std::uint32_t> scratch;
    const auto size = static_cast<std::size_t>(group);
    for (auto g = static_cast<std::size_t>(begin); std::cmp_less(g, end); ++g) {
      keep_largest(weight.master.subspan(g * size, size), keep, std::span(mask).subspan(g * size, size), scratch);
    }
  });
}

void ReviveHook::published(const model::TrainedWeight& weight, std::span<std::uint16_t> values) const {
  if (weight.linear) zero_pruned<std::uint16_t>(masks_.find(weight.name)->second, values);
}

std::span<std::uint8_t> ReviveHook::state(const model::TrainedWeight& weight) {
  const auto found = masks_.find(weight.name);
  return found == masks_.end() ? std::span<std::uint8_t>() : std::span(found->second);
}

std::uint64_t ReviveHook::held_bytes() const {
  std::uint64_t sum = 0;
  for (const auto& [name, mask] : masks_) sum += mask.size();
  return sum;
}

void keep_largest(std::span<const float> weights, std::int64_t keep, std::span<std::uint8_t> mask,
                  std::vector<std::uint32_t>& scratch) {
  RPT_CHECK(weights.size() == mask.size() && keep >= 0 && std::cmp_less_equal(keep, weights.size()), "{} of {}", keep,
            weights.size());
  std::fill(mask.begin(), mask.end(), std::uint8_t{0});
  if (keep == 0) return;
  scratch.resize(weights.size());
  std::transform(weights.begin(), weights.end(), scratch.begin(), magnitude);
  const auto smallest_kept = scratch.begin() + (keep - 1);
  std::nth_element(scratch.begin(), smallest_kept, scratch.end(), std::greater<>());
  const std::uint32_t threshold = *smallest_kept;
  // All above the threshold stay, and of those that equal it as many as there is room for.
  std::int64_t equals = keep - std::count_if(scratch.begin(), smallest_kept, [&](auto m) { return m > threshold; });
  for (std::size_t i = 0; i < weights.size(); ++i) {
    const std::uint32_t m = magnitude(weights[i]);
    if (m > threshold || (m == threshold && equals-- > 0)) mask[i] = 1;
  }
}

}  // namespace rpt::train

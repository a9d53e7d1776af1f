// SPDX-License-Identifier: MIT
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

#include "rpt/core/float16.h"
#include "rpt/core/parallel.h"
#include "rpt/kernels/isa.h"
#include "rpt/model/derive.h"
#include "rpt/model/gate.h"
#include "rpt/model/gauge.h"
#include "rpt/model/gauge_groups.h"
#include "rpt/model/rope.h"

namespace rpt::model {
namespace {

using tensor::DType;

/// The activation quantiser's floor.
constexpr float kFloor = 1e-5F;
/// The normal range of f16. Scales in it are exact in every form of a model, keys in it keep their rounding.
constexpr float kSmallest = 0x1p-14F;
constexpr float kLargest = 65504.0F;

/// x · 2^j in float; an overflow gives infinity, which no range holds.
float shifted(float x, int exponent) {
  return std::ldexp(x, exponent);
}

/// Watches what a forward quantises and caches.
class RangeObserver final : public LayerObserver {
 public:
  RangeObserver(const Config& config, std::vector<BlockRanges>& blocks)
      : config_(config), blocks_(blocks), rope_(config.rope_theta, config.head_size) {}

  /// The next sequence begins.
  void restart() { position_.assign(blocks_.size(), 0); }

  void activation(std::string_view name, std::int64_t layer, tensor::MatrixView values) override {
    if (layer < 0) return;
    const auto block = static_cast<std::size_t>(layer);
    for (const GaugeGroup& group : kGaugeGroups) {
      if (name == group.norm) see_rows(values, blocks_[block].*group.smallest_maximum);
    }
    if (name == "attn_k") {
      see_keys(values, position_[block], blocks_[block]);
      position_[block] += values.rows;
    }
  }

 private:
  static void see_rows(tensor::MatrixView x, float& smallest) {
    for (std::int64_t t = 0; t < x.rows; ++t) {
      float largest = 0;
      for (std::int64_t i = 0; i < x.columns; ++i) largest = std::max(largest, std::fabs(x.row(t)[i]));
      if (largest > 0) smallest = std::min(smallest, largest);
    }
  }

  void see_keys(tensor::MatrixView keys, std::int64_t position, BlockRanges& ranges) {
    const auto& table = kernels::active();
    const std::int64_t d = config_.head_size;
    rope_.reserve(position + keys.rows);
    std::vector<float> row(static_cast<std::size_t>(keys.columns));
    for (std::int64_t t = 0; t < keys.rows; ++t) {
      std::copy_n(keys.row(t), keys.columns, row.begin());
      for (std::int64_t head = 0; head < config_.kv_heads; ++head) {
        table.rope_halves(row.data() + head * d, rope_.cos(position + t), rope_.sin(position + t), d);
      }
      for (const float k : row) {
        if (k != 0) ranges.smallest_key = std::min(ranges.smallest_key, std::fabs(k));
        ranges.largest_key = std::max(ranges.largest_key, std::fabs(k));
      }
    }
  }

  const Config& config_;
  std::vector<BlockRanges>& blocks_;
  RopeTable rope_;
  std::vector<std::int64_t> position_;  ///< [L] of the next row
};

/// Stored floats by type: how bits widen and round.
struct Bf16 {
  using Bits = std::uint16_t;
  static float widen(Bits b) { return core::bf16_to_float(b); }
  static Bits round(float x) { return core::float_to_bf16(x); }
};
struct F16 {
  using Bits = std::uint16_t;
  static float widen(Bits b) { return core::f16_to_float(b); }
  static Bits round(float x) { return core::float_to_f16(x); }
};
struct F32 {
  using Bits = std::uint32_t;
  static float widen(Bits b) { return std::bit_cast<float>(b); }
  static Bits round(float x) { return std::bit_cast<std::uint32_t>(x); }
};

/// x times a power of two, rounded to T, and whether nothing was lost. A double holds every such product.
template <typename T>
bool multiply(float x, double factor, typename T::Bits& out) {
  const double product = static_cast<double>(x) * factor;
  out = T::round(static_cast<float>(product));
  return static_cast<double>(T::widen(out)) == product;
}

/// Latents [N, K] times 2^exponent into `out`, which has as many bytes.
template <typename T>
void multiply_latents(const std::string& name, const tensor::StoredView& latents, int exponent, std::byte* out) {
  using Bits = typename T::Bits;
  const double factor = std::ldexp(1.0, exponent);
  core::parallel_for(latents.rows, 64, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin * latents.columns; i < end * latents.columns; ++i) {
      const std::uint64_t offset = static_cast<std::uint64_t>(i) * sizeof(Bits);
      Bits from, to;
      std::memcpy(&from, latents.data + offset, sizeof from);
      if (!multiply<T>(T::widen(from), factor, to)) {
        throw ConfigError(fmt::format("{}: the latent {} at row {}, column {} times 2^{} is not exact in {}", name,
                                      T::widen(from), i / latents.columns, i % latents.columns, exponent,
                                      tensor::name(latents.type)));
      }
      std::memcpy(out + offset, &to, sizeof to);
    }
  });
}

/// Gains divided by 2^exponent.
NormWeight divide_gains(const std::string& name, const NormWeight& norm, int exponent) {
  NormWeight out = norm;
  if (exponent == 0) return out;
  const double factor = std::ldexp(1.0, -exponent);
  // |x · r| ≤ √n in the norm; the half makes room for its rounding.
  const double limit =
      0.5 * static_cast<double>(std::numeric_limits<float>::max()) / std::sqrt(static_cast<double>(norm.gain.size()));
  for (std::size_t i = 0; i < out.gain.size(); ++i) {
    Bf16::Bits narrow = 0;
    F32::Bits wide = 0;
    bool exact = multiply<F32>(norm.gain[i], factor, wide);
    if (norm.stored_type == DType::bf16) exact = exact && multiply<Bf16>(norm.gain[i], factor, narrow);
    out.gain[i] = F32::widen(wide);
    if (!exact || static_cast<double>(std::fabs(out.gain[i])) > limit) {
      throw ConfigError(fmt::format("{}: the gain {} at {} divided by 2^{} is {}", name, norm.gain[i], i, exponent,
                                    exact ? "so large that the norm may overflow" : "not exact"));
    }
  }
  return out;
}

void require_scale(const std::string& name, const LinearWeight& linear, int exponent) {
  latents_in_gauge(name, linear);
  if (exponent == 0) return;
  const float before = linear.weight.codes().scale;
  const float after = shifted(before, exponent);
  if (std::min(before, after) >= kSmallest && std::max(before, after) <= kLargest) return;
  throw ConfigError(
      fmt::format("{}: the scale {} times 2^{} is {}, and both must lie in [{}, {}] for every form of "
                  "the model to hold them",
                  name, before, exponent, after, kSmallest, kLargest));
}

void require_rows_above_floor(const std::string& name, float smallest, int exponent) {
  const float after = shifted(smallest, -exponent);
  if (exponent == 0 || (smallest >= kFloor && after >= kFloor)) return;
  throw ConfigError(
      fmt::format("{}: a row of its output has the largest magnitude {}, divided by 2^{} it is {}, and "
                  "the activation quantiser has a floor of {}",
                  name, smallest, exponent, after, kFloor));
}

void require_keys_normal(const std::string& name, const BlockRanges& ranges, int exponent) {
  const float smallest = std::min(ranges.smallest_key, shifted(ranges.smallest_key, -exponent));
  const float largest = std::max(ranges.largest_key, shifted(ranges.largest_key, -exponent));
  if (exponent == 0 || (smallest >= kSmallest && largest <= kLargest)) return;
  throw ConfigError(
      fmt::format("{}: |k| from {} to {} divided by 2^{}: before or after, some lie outside f16's normal "
                  "range [{}, {}], and keys are rounded to f16",
                  name, ranges.smallest_key, ranges.largest_key, exponent, kSmallest, kLargest));
}

/// All that can be refused without touching a latent or a gain.
void require_ranges(const Model& model, const Gauge& gauge, const GaugeCalibration& seen) {
  for (std::size_t i = 0; i < gauge.size(); ++i) {
    for (const GaugeGroup& group : kGaugeGroups) {
      for (const GaugeLinear& linear : group.linears) {
        require_scale(block_tensor_name(i, linear.name), model.weights.blocks[i].*linear.weight,
                      exponent_of(gauge[i], group, linear));
      }
      require_rows_above_floor(block_tensor_name(i, group.norm), seen.blocks[i].*group.smallest_maximum,
                               gauge[i].*group.exponent);
    }
    require_keys_normal(block_tensor_name(i, "attn_k"), seen.blocks[i], gauge[i].query_key);
  }
}

/// A linear layer whose latents are multiplied by 2^exponent; the new ones go to `storage`.
LinearWeight multiplied(const std::string& name, const LinearWeight& linear, int exponent,
                        std::vector<std::shared_ptr<const void>>& storage) {
  tensor::StoredView latents = latents_in_gauge(name, linear);
  if (exponent != 0) {
    auto bytes = std::make_shared<core::AlignedBuffer<std::byte>>(latents.bytes);
    if (latents.type == DType::bf16) {
      multiply_latents<Bf16>(name, latents, exponent, bytes->data());
    } else if (latents.type == DType::f16) {
      multiply_latents<F16>(name, latents, exponent, bytes->data());
    } else {
      multiply_latents<F32>(name, latents, exponent, bytes->data());
    }
    latents.data = bytes->data();
    storage.push_back(std::move(bytes));
  }
  return {TernaryWeight::latent(linear.weight.origin(), latents, false), linear.output_scale};
}

}  // namespace

GaugeCalibration calibrate(const Model& model, std::span<const std::vector<std::int32_t>> sequences) {
  GaugeCalibration seen;
  seen.blocks.resize(model.weights.blocks.size());
  RangeObserver observer(model.config, seen.blocks);
  for (std::size_t i = 0; i < sequences.size(); ++i) {
    observer.restart();
    const std::vector<double> nlls = sequence_nlls(model, sequences.subspan(i, 1), &observer);
    seen.nlls.insert(seen.nlls.end(), nlls.begin(), nlls.end());
  }
  return seen;
}

std::unique_ptr<Model> apply_gauge(const Model& model, const Gauge& gauge, const GaugeCalibration& seen) {
  const std::vector<BlockWeights>& blocks = model.weights.blocks;
  RPT_CHECK(gauge.size() == blocks.size() && seen.blocks.size() == blocks.size(), "gauge [{}], seen [{}], {} blocks",
            gauge.size(), seen.blocks.size(), blocks.size());
  require_ranges(model, gauge, seen);
  auto out = without_blocks(model);
  out->weights.blocks.resize(blocks.size());
  for (std::size_t i = 0; i < blocks.size(); ++i) {
    for (const GaugeGroup& group : kGaugeGroups) {
      out->weights.blocks[i].*group.gain =
          divide_gains(block_tensor_name(i, group.norm), blocks[i].*group.gain, gauge[i].*group.exponent);
      for (const GaugeLinear& linear : group.linears) {
        out->weights.blocks[i].*linear.weight = multiplied(block_tensor_name(i, linear.name), blocks[i].*linear.weight,
                                                           exponent_of(gauge[i], group, linear), out->storage);
      }
    }
  }
  return out;
}

}  // namespace rpt::model

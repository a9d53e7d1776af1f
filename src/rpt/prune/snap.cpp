// SPDX-License-Identifier: MIT
#include "rpt/prune/snap.h"

#include <algorithm>
#include <cmath>
#include <mutex>

#include "rpt/core/error.h"
#include "rpt/core/parallel.h"
#include "rpt/model/derive.h"
#include "rpt/model/export_parts.h"
#include "rpt/model/gauge_groups.h"
#include "rpt/prune/linears.h"
#include "rpt/prune/names.h"
#include "rpt/ternary/detect.h"
#include "rpt/ternary/latent_rows.h"
#include "rpt/ternary/layouts.h"
#include "rpt/ternary/scale_rules.h"

namespace rpt::prune {
namespace {

constexpr Names<SnapRule, 6> kRules{{{SnapRule::online, "online"},
                                     {SnapRule::stored, "stored"},
                                     {SnapRule::max, "max"},
                                     {SnapRule::frozen, "frozen"},
                                     {SnapRule::refit, "refit"},
                                     {SnapRule::legacy_double, "legacy-double"}}};

constexpr double kSmallestMean = 1e-5;     // of online_absmean
constexpr float kSmallestKept = 1e-6F;     // of bitnet.cpp's converter
constexpr std::int64_t kRowsTogether = 8;  // share what is read of the products of an input

/// Codes [N, K] and their scale.
struct Coded {
  std::vector<std::int8_t> codes;
  float scale = 0;
};

/// One linear layer on its way.
struct Place {
  std::string name;
  std::size_t block = 0;
  std::size_t input = 0;
  model::LinearWeight model::BlockWeights::*part = nullptr;
};

std::vector<Place> places(const model::Model& model) {
  std::vector<Place> out;
  for (std::size_t b = 0; b < model.weights.blocks.size(); ++b) {
    for (std::size_t g = 0; g < model::kGaugeGroups.size(); ++g) {
      for (const model::GaugeLinear& linear : model::kGaugeGroups[g].linears) {
        out.push_back({model::block_tensor_name(b, linear.name), b, g, linear.weight});
      }
    }
  }
  return out;
}

const model::TernaryWeight& weight_at(const model::Model& model, const Place& place) {
  return (model.weights.blocks[place.block].*place.part).weight;
}

/// The floats of a layer's file.
tensor::StoredView floats_of(const model::Model& model, const Place& place, SnapRule rule) {
  const model::TernaryWeight& weight = weight_at(model, place);
  const bool any_floats = rule == SnapRule::stored || rule == SnapRule::max;
  const auto latents =
      any_floats && weight.stored_latents().data != nullptr ? std::optional(weight.stored_latents()) : weight.latents();
  if (!latents) {
    throw ConfigError(fmt::format("{}: {} holds codes with a fixed scale already; there are no latents to snap",
                                  weight.origin().file, place.name));
  }
  return *latents;
}

/// Codes of every row, as `row_codes(rows, n, codes)` makes them.
template <typename RowCodes>
std::vector<std::int8_t> codes_of(const tensor::StoredView& latents, const RowCodes& row_codes) {
  const ternary::LatentRows rows(latents);
  const auto columns = static_cast<std::size_t>(latents.columns);
  std::vector<std::int8_t> codes(static_cast<std::size_t>(latents.rows) * columns);
  ternary::for_row_ranges(latents.rows, latents.columns, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t n = begin; n < end; ++n) {
      row_codes(rows, n, std::span(codes).subspan(static_cast<std::size_t>(n) * columns, columns));
    }
  });
  return codes;
}

/// Sign of everything that is `smallest` or more in magnitude.
std::vector<std::int8_t> signs_of(const tensor::StoredView& latents, float smallest) {
  return codes_of(latents, [&](const ternary::LatentRows& rows, std::int64_t n, std::span<std::int8_t> codes) {
    const float* w = rows.widened(n);
    std::transform(w, w + codes.size(), codes.begin(),
                   [&](float x) { return static_cast<std::int8_t>(std::fabs(x) < smallest ? 0 : (x > 0) - (x < 0)); });
  });
}

/// inv and scale of a base's tensor, the scale as `type`.
ternary::AbsmeanScale base_scale(const model::TernaryWeight& base, tensor::DType type) {
  if (const auto latents = base.latents()) return ternary::absmean_scale(*latents, type);
  const float s = base.codes().scale;
  if (!(s > 0))
    throw ConfigError(fmt::format("{}: the scale of {} is {}", base.origin().file, base.origin().tensor, s));
  return {static_cast<double>(s), 1.0F / s, model::round_to(s, type)};
}

Coded frozen(const tensor::StoredView& latents, const model::TernaryWeight& base) {
  const ternary::AbsmeanScale s0 = base_scale(base, latents.type);
  return {codes_of(latents, [&](const ternary::LatentRows& rows, std::int64_t n,
                                std::span<std::int8_t> codes) { rows.codes(n, s0.inv, codes); }),
          s0.scale};
}

/// Σ over rows of c'ᵀ·H·c and c'ᵀ·H·c', H the identity where `products` is empty.
struct Overlap {
  double with_base = 0;
  double with_itself = 0;
};

Overlap overlap_of_row(std::span<const std::int8_t> own, std::span<const std::int8_t> base,
                       std::span<const double> products) {
  Overlap sum;
  const std::size_t columns = own.size();
  for (std::size_t k = 0; k < columns; ++k) {
    if (own[k] == 0) continue;
    if (products.empty()) {
      sum.with_base += own[k] * base[k];
      sum.with_itself += 1;
      continue;
    }
    double with_base = 0;
    double with_itself = 0;
    const double* row = products.data() + k * columns;
    for (std::size_t j = 0; j < columns; ++j) {
      with_base += row[j] * base[j];
      with_itself += row[j] * own[j];
    }
    sum.with_base += own[k] * with_base;
    sum.with_itself += own[k] * with_itself;
  }
  return sum;
}

/// Factor by which the base's scale is multiplied.
double refit_factor(std::span<const std::int8_t> own, std::span<const std::int8_t> base, std::size_t columns,
                    std::span<const double> products) {
  const std::size_t rows = own.size() / columns;
  std::vector<Overlap> of_rows(rows);
  core::parallel_for(static_cast<std::int64_t>(rows), kRowsTogether, [&](std::int64_t begin, std::int64_t end) {
    for (auto n = static_cast<std::size_t>(begin); std::cmp_less(n, end); ++n) {
      of_rows[n] = overlap_of_row(own.subspan(n * columns, columns), base.subspan(n * columns, columns), products);
    }
  });
  Overlap all;
  for (const Overlap& row : of_rows) {
    all.with_base += row.with_base;
    all.with_itself += row.with_itself;
  }
  return all.with_base > 0 && all.with_itself > 0 ? all.with_base / all.with_itself : 1;
}

/// Snaps the layers of a model one after the other.
class Snapper {
 public:
  Snapper(const model::Model& model, SnapRule rule, const SnapSource& source)
      : model_(model), rule_(rule), source_(source) {
    if (!needs_base(rule)) return;
    if (source.base == nullptr) throw ConfigError(fmt::format("the scale rule {} needs a base", prune::name(rule)));
    if (source.base->weights.blocks.size() != model.weights.blocks.size()) throw_other_shape("the base", "blocks");
  }

  Snapped run() {
    Snapped out;
    out.model = model::without_blocks(model_);
    for (const model::BlockWeights& block : model_.weights.blocks) {
      model::BlockWeights& to = out.model->weights.blocks.emplace_back();
      for (const model::GaugeGroup& group : model::kGaugeGroups) to.*group.gain = block.*group.gain;
    }
    for (const Place& place : places(model_)) {
      const tensor::StoredView latents = floats_of(model_, place, rule_);
      weight_at(model_, place).codes();  // refuses latents that are not finite, whatever the rule
      const Coded coded = code(place, latents);
      out.tensors.push_back(report(place, latents, coded));
      auto packed = std::make_shared<const ternary::PackedTernary>(
          ternary::pack(tensor::DType::hf_packed, latents.rows, latents.columns, coded.scale, std::span(coded.codes)));
      model::LinearWeight& to = out.model->weights.blocks[place.block].*place.part;
      to.weight = model::TernaryWeight::stored(weight_at(model_, place).origin(), packed->view());
      to.output_scale = (model_.weights.blocks[place.block].*place.part).output_scale;
      out.model->storage.push_back(std::move(packed));
    }
    return out;
  }

 private:
  [[noreturn]] static void throw_other_shape(std::string_view what, std::string_view where) {
    throw ConfigError(fmt::format("{} has another shape than the model: {}", what, where));
  }

  Coded code(const Place& place, const tensor::StoredView& latents) {
    switch (rule_) {
      case SnapRule::online:
        return {ternary::unpack(weight_at(model_, place).codes()), weight_at(model_, place).codes().scale};
      case SnapRule::stored:
        return stored(place, latents);
      case SnapRule::max:
        return {signs_of(latents, kSmallestKept), largest_of(latents)};
      case SnapRule::frozen:
      case SnapRule::refit:
      case SnapRule::legacy_double:
        return from_base(place, latents);
    }
    RPT_CHECK(false, "a rule without name");
    return {};
  }

  static Coded stored(const Place& place, const tensor::StoredView& latents) {
    const auto scale = ternary::find_stored_scale(latents);
    if (!scale) {
      throw ConfigError(
          fmt::format("{}: its values are not 0 and ±s for one s, so that no scale is stored in them", place.name));
    }
    return {signs_of(latents, 0), *scale};
  }

  Coded from_base(const Place& place, const tensor::StoredView& latents) {
    const model::TernaryWeight& base = weight_at(*source_.base, place);
    if (base.rows() != latents.rows || base.columns() != latents.columns) throw_other_shape("the base", place.name);
    Coded coded = frozen(latents, base);
    if (rule_ == SnapRule::refit) {
      coded.scale = refit(place, latents, coded, base);
    } else if (rule_ == SnapRule::legacy_double) {
      // ±s0 is at least as large as its tensor's mean, so that the codes stay.
      const auto zeros = static_cast<std::uint64_t>(std::count(coded.codes.begin(), coded.codes.end(), 0));
      coded.scale = scale_read_again(coded.scale, coded.codes.size() - zeros, coded.codes.size(), latents.type);
    }
    return coded;
  }

  float refit(const Place& place, const tensor::StoredView& latents, const Coded& coded,
              const model::TernaryWeight& base) {
    const auto columns = static_cast<std::size_t>(latents.columns);
    if (source_.calibration != nullptr) {
      const auto& blocks = source_.calibration->blocks;
      if (place.block >= blocks.size() || blocks[place.block][place.input].squares.size() != columns) {
        throw_other_shape("the calibration", place.name);
      }
      const InputMoments& input = blocks[place.block][place.input];
      if (input.inputs.empty()) throw ConfigError("the scale rule refit needs a calibration with inputs");
      if (input_ != &input) {
        std::vector<double>().swap(products_);  // before the next ones are there
        products_ = input_products(input);
      }
      input_ = &input;
    }
    const std::vector<std::int8_t> base_codes = ternary::unpack(base.codes());
    const double factor = refit_factor(coded.codes, base_codes, columns, products_);
    const float inv = 1.0F / static_cast<float>(factor * base_scale(base, latents.type).mean);
    return model::round_to(1.0F / inv, latents.type);
  }

  static float largest_of(const tensor::StoredView& latents) {
    const ternary::LatentRows rows(latents);
    std::vector<float> largest(static_cast<std::size_t>(latents.rows));
    ternary::for_row_ranges(latents.rows, latents.columns, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t n = begin; n < end; ++n) {
        const float* w = rows.widened(n);
        float& here = largest[static_cast<std::size_t>(n)];
        for (std::int64_t k = 0; k < latents.columns; ++k) here = std::max(here, std::fabs(w[k]));
      }
    });
    return *std::max_element(largest.begin(), largest.end());
  }

  SnappedTensor report(const Place& place, const tensor::StoredView& latents, const Coded& coded) const {
    SnappedTensor out;
    out.name = place.name;
    out.weights = coded.codes.size();
    out.zeros = static_cast<std::uint64_t>(std::count(coded.codes.begin(), coded.codes.end(), 0));
    out.largest = largest_of(latents);
    out.scale = coded.scale;
    out.scale_again = scale_read_again(coded.scale, out.weights - out.zeros, out.weights, latents.type);
    const ternary::AbsmeanScale online = ternary::absmean_scale(latents, latents.type);
    out.online_scale = online.scale;
    std::mutex mutex;
    const ternary::LatentRows rows(latents);
    ternary::for_row_ranges(latents.rows, latents.columns, [&](std::int64_t begin, std::int64_t end) {
      std::uint64_t is_ternary = 0;
      std::uint64_t changed = 0;
      std::vector<std::int8_t> row(static_cast<std::size_t>(latents.columns));
      for (std::int64_t n = begin; n < end; ++n) {
        rows.codes(n, online.inv, row);
        const float* w = rows.widened(n);
        const std::int8_t* written = coded.codes.data() + n * latents.columns;
        for (std::size_t k = 0; k < row.size(); ++k) {
          is_ternary += w[k] == 0 || std::fabs(w[k]) == out.largest ? 1U : 0U;
          changed += row[k] != written[k] ? 1U : 0U;
        }
      }
      const std::lock_guard lock(mutex);
      out.ternary += is_ternary;
      out.changed += changed;
    });
    return out;
  }

  const model::Model& model_;
  SnapRule rule_;
  SnapSource source_;
  const InputMoments* input_ = nullptr;  ///< whose products are held
  std::vector<double> products_;
};

}  // namespace

std::string_view name(SnapRule rule) {
  return name_of(kRules, rule);
}
SnapRule parse_snap_rule(std::string_view text) {
  return parse_name(kRules, text, "scale rule");
}
bool needs_base(SnapRule rule) {
  return rule == SnapRule::frozen || rule == SnapRule::refit || rule == SnapRule::legacy_double;
}

Snapped snap(const model::Model& model, SnapRule rule, const SnapSource& source) {
  return Snapper(model, rule, source).run();
}

float scale_read_again(float scale, std::uint64_t nonzero, std::uint64_t weights, tensor::DType type) {
  RPT_CHECK(nonzero <= weights && weights > 0, "{} of {}", nonzero, weights);
  // Σ|w| is exact: a scale has at most 24 bits, and no tensor 2^29 weights.
  const double mean = static_cast<double>(scale) * static_cast<double>(nonzero) / static_cast<double>(weights);
  const float inv = 1.0F / static_cast<float>(std::max(mean, kSmallestMean));
  return model::round_to(1.0F / inv, type);
}

}  // namespace rpt::prune

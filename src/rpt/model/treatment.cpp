// SPDX-License-Identifier: MIT
#include "rpt/model/treatment.h"

#include <cmath>
#include <cstring>

#include "rpt/model/export_parts.h"
#include "rpt/model/row_order.h"
#include "rpt/ternary/layouts.h"
#include "rpt/ternary/statistics.h"

namespace rpt::model {
namespace {

using tensor::DType;

template <typename Visit>
void visit_linear(Model& model, Visit&& visit) {
  visit_weights(model.weights, [&](const std::string& name, auto& weight) {
    if constexpr (std::is_same_v<std::decay_t<decltype(weight)>, LinearWeight>) visit(name, weight);
  });
}

/// By what a scale is multiplied; 1 where the change has no meaning for it.
float factor(ScaleChange change, const tensor::PackedTernaryView& codes) {
  const auto density = [&] { return static_cast<float>(1 - ternary::code_statistics(codes).zero_share()); };
  float f = 1;
  switch (change) {
    case ScaleChange::none:
      break;
    case ScaleChange::halved:
      f = 0.5F;
      break;
    case ScaleChange::doubled:
      f = 2;
      break;
    case ScaleChange::inverted:
      f = 1 / (codes.scale * codes.scale);
      break;
    case ScaleChange::by_density:
      f = density();
      break;
    case ScaleChange::over_density:
      f = 1 / density();
      break;
  }
  return std::isfinite(f) && f > 0 ? f : 1;
}

/// Codes in memory that the model keeps, as the weight of a layer: i2_s with its scale behind the codes, since that
/// fits every shape.
TernaryWeight keep_codes(Model& model, const Origin& origin, const tensor::PackedTernaryView& shape, float scale,
                         const ternary::RowCodes& row_codes) {
  const ternary::PackedTernary packed = ternary::pack(DType::i2_s, shape.rows, shape.columns, scale, row_codes);
  tensor::PackedTernaryView view = packed.view();
  auto bytes = std::make_shared<core::AlignedBuffer<std::uint8_t>>(view.bytes + ternary::kI2sTailBytes);
  std::memcpy(bytes->data(), view.data, view.bytes);
  std::memcpy(bytes->data() + view.bytes, &scale, sizeof scale);
  view.data = bytes->data();
  view.bytes += ternary::kI2sTailBytes;
  model.storage.push_back(std::move(bytes));
  return TernaryWeight::stored(origin, view);
}

/// Where row n of the reordered tensor stands in the one that was read; heads of d rows.
std::int64_t source_row(RowChange change, std::int64_t n, std::int64_t d) {
  return change == RowChange::to_halves ? row_in_pairs(n, d) : row_in_halves(n, d);
}

tensor::StoredView reordered(Model& model, const tensor::StoredView& view, RowChange change, std::int64_t d) {
  auto bytes = std::make_shared<core::AlignedBuffer<std::byte>>(view.bytes);
  const std::uint64_t row = view.bytes / static_cast<std::uint64_t>(view.rows);
  for (std::int64_t n = 0; n < view.rows; ++n) {
    std::memcpy(bytes->data() + static_cast<std::uint64_t>(n) * row,
                view.data + static_cast<std::uint64_t>(source_row(change, n, d)) * row, row);
  }
  tensor::StoredView out = view;
  out.data = bytes->data();
  model.storage.push_back(std::move(bytes));
  return out;
}

void reorder(Model& model, LinearWeight& linear, RowChange change) {
  const std::int64_t d = model.config.head_size;
  if (!linear.ternary()) {
    const Origin origin = linear.dense->origin();  // emplace ends what it stands in
    linear.dense.emplace(origin, reordered(model, linear.dense->values(), change, d));
    return;
  }
  const Origin origin = linear.weight.origin();
  const tensor::StoredView& latents = linear.weight.stored_latents();
  if (latents.data != nullptr) {
    const bool stored = linear.weight.rule() == ternary::ScaleRule::stored;
    linear.weight = TernaryWeight::latent(origin, reordered(model, latents, change, d), stored);
    return;
  }
  const tensor::PackedTernaryView codes = linear.weight.codes();
  linear.weight = keep_codes(model, origin, codes, codes.scale, [&](std::int64_t n, std::span<std::int8_t> row) {
    ternary::unpack_row(codes, source_row(change, n, d), row);
  });
}

std::unique_ptr<Model> open_unscaled(const std::filesystem::path& path, const Treatment& treatment) {
  auto model = open_model(path, treatment.reading);
  if (treatment.embedding_is_head) {
    model->weights.head.reset();
    model->config.tied_head = true;
  }
  if (treatment.other_activation) {
    Config& c = model->config;
    c.activation = c.activation == Activation::silu ? Activation::relu2 : Activation::silu;
    c.architecture = c.activation == Activation::silu ? "bitnet" : "bitnet-b1.58";
  }
  if (treatment.rows != RowChange::none) {
    visit_linear(*model, [&](const std::string& name, LinearWeight& linear) {
      if (name.ends_with("attn_q") || name.ends_with("attn_k")) reorder(*model, linear, treatment.rows);
    });
  }
  return model;
}

/// The types of a file's linear layers say in which form it is.
struct FileForm {
  bool huggingface = false;
  DType type = DType::i2_s;  ///< of the first linear layer
  bool ternary = true;
};

/// A changed scale as the form can hold it. The reciprocal of a reciprocal may be a bit off: one that all but is a bf16
/// number, as trained scales are, becomes it. One that is not stays as it is in a directory, which is then written as
/// one whose scales divide.
float held(float scale, const FileForm& form, ScaleChange change) {
  const float rounded = round_to(scale, DType::bf16);
  if (change == ScaleChange::inverted) {
    constexpr float kTwoUlps = 0x1p-22F;
    if (std::abs(rounded - scale) <= kTwoUlps * scale) return rounded;
    if (form.huggingface) return scale;
  }
  if (form.huggingface) return rounded;
  if (form.type == DType::i2_s) return scale;
  return round_to(scale, tensor::is_ternary(form.type) ? DType::f16 : form.type);
}

void fold_scales(Model& model, const Treatment& treatment, const FileForm& form) {
  visit_linear(model, [&](const std::string&, LinearWeight& linear) {
    if (!linear.ternary()) return;
    const tensor::PackedTernaryView& codes = linear.weight.codes();
    // The reciprocal itself, not s / s²: it has one rounding.
    const float scale = treatment.scale == ScaleChange::inverted && codes.scale != 0
                            ? 1 / codes.scale
                            : codes.scale * factor(treatment.scale, codes);
    linear.weight = keep_codes(model, linear.weight.origin(), codes, held(scale, form, treatment.scale),
                               [&](std::int64_t n, std::span<std::int8_t> row) { ternary::unpack_row(codes, n, row); });
  });
}

}  // namespace

std::unique_ptr<Model> open_treated(const std::filesystem::path& path, const Treatment& treatment) {
  auto model = open_unscaled(path, treatment);
  if (treatment.scale == ScaleChange::none) return model;
  visit_linear(*model, [&](const std::string&, LinearWeight& linear) {
    if (!linear.ternary()) return;
    linear.output_scale = linear.output_scale.value_or(1.0F) * factor(treatment.scale, linear.weight.codes());
  });
  return model;
}

std::string write_treated(const std::filesystem::path& path, const Treatment& treatment,
                          const std::filesystem::path& target, const ExportOptions& options) {
  const auto model = open_unscaled(path, treatment);
  if (model->format == "llama2.c") {
    throw ConfigError(path.string() + ": llama2.c checkpoints are not written; rpt export writes GGUF");
  }
  const LinearWeight& first = model->weights.blocks.front().attn_q;
  const FileForm form{model->format == "huggingface",
                      open_model(path, treatment.reading)->weights.blocks.front().attn_q.stored_type(),
                      first.ternary()};
  const bool codes = first.ternary() && !first.weight.latents();
  if (treatment.scale != ScaleChange::none) fold_scales(*model, treatment, form);
  if (form.huggingface) {
    return export_huggingface(*model, target, codes ? HfForm::packed : HfForm::latents, options);
  }
  return export_gguf(*model, target, form.ternary ? std::optional(form.type) : std::nullopt, options);
}

}  // namespace rpt::model

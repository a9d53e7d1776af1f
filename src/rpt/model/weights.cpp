// SPDX-License-Identifier: MIT
#include "rpt/model/weights.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "rpt/core/parallel.h"
#include "rpt/tensor/ops.h"
#include "rpt/ternary/detect.h"
#include "rpt/ternary/quantise.h"
#include "rpt/ternary/validate.h"

namespace rpt::model {
namespace {

using tensor::DType;

[[noreturn]] void fail(const Origin& origin, std::uint64_t offset, const std::string& expected,
                       const std::string& found) {
  throw FormatError(origin.file, origin.offset + offset, "tensor " + origin.tensor, expected, found);
}

/// Smallest magnitude, as bits without the sign, that the forward cannot read of a plain type. bf16 is read as f16, and
/// 65,536 (0x4780) is the first bf16 value that f16 cannot hold.
std::int32_t first_unreadable(DType type) {
  switch (type) {
    case DType::f16:
      return 0x7c00;
    case DType::bf16:
      return 0x4780;
    default:
      return 0x7f800000;
  }
}

/// Column of the first value of a row whose bits without the sign are `limit` or more, or −1. Bits is int16_t or
/// int32_t.
template <typename Bits>
std::int64_t first_at_least(const void* values, std::int64_t count, std::int32_t limit) {
  const auto* bits = static_cast<const Bits*>(values);
  constexpr Bits kMagnitude = std::numeric_limits<Bits>::max();
  Bits largest = 0;
  for (std::int64_t i = 0; i < count; ++i) largest = std::max<Bits>(largest, bits[i] & kMagnitude);
  if (largest < limit) return -1;
  return std::find_if(bits, bits + count, [&](Bits b) { return (b & kMagnitude) >= limit; }) - bits;
}

std::int64_t first_bad_column(const tensor::StoredView& v, std::int64_t row, std::vector<float>& scratch) {
  const std::int32_t limit = first_unreadable(v.type);
  const std::byte* data = v.data + row * v.columns * tensor::element_size(v.type);
  if (v.type == DType::f16 || v.type == DType::bf16) return first_at_least<std::int16_t>(data, v.columns, limit);
  if (v.type == DType::f32) return first_at_least<std::int32_t>(data, v.columns, limit);
  scratch.resize(static_cast<std::size_t>(v.columns));
  tensor::read_row(v, row, scratch);
  return first_at_least<std::int32_t>(scratch.data(), v.columns, limit);
}

/// Place of the first value that the forward cannot read.
struct BadValue {
  std::int64_t row = -1;
  std::int64_t column = -1;
};

BadValue first_bad_value(const tensor::StoredView& v) {
  std::mutex mutex;
  BadValue first;
  core::parallel_for(v.rows, 64, [&](std::int64_t begin, std::int64_t end) {
    std::vector<float> scratch;
    for (std::int64_t row = begin; row < end; ++row) {
      const std::int64_t column = first_bad_column(v, row, scratch);
      if (column < 0) continue;
      const std::lock_guard lock(mutex);
      if (first.row < 0 || row < first.row) first = {row, column};
      return;
    }
  });
  return first;
}

}  // namespace

TernaryWeight TernaryWeight::stored(Origin origin, tensor::PackedTernaryView codes) {
  TernaryWeight w;
  w.origin_ = std::move(origin);
  w.packed_ = codes;
  w.prepared_ = std::make_unique<Prepared>();
  return w;
}

TernaryWeight TernaryWeight::latent(Origin origin, tensor::StoredView latents, bool may_be_snapped) {
  TernaryWeight w;
  w.origin_ = std::move(origin);
  w.latent_ = latents;
  w.may_be_snapped_ = may_be_snapped;
  w.prepared_ = std::make_unique<Prepared>();
  return w;
}

std::int64_t TernaryWeight::rows() const {
  return latent_.data != nullptr ? latent_.rows : packed_.rows;
}

std::int64_t TernaryWeight::columns() const {
  return latent_.data != nullptr ? latent_.columns : packed_.columns;
}

const tensor::PackedTernaryView& TernaryWeight::codes() const {
  RPT_CHECK(prepared_ != nullptr, "a weight that was never loaded");
  std::call_once(prepared_->once, [this] { prepare(); });
  return prepared_->view;
}

ternary::ScaleRule TernaryWeight::rule() const {
  codes();
  return prepared_->rule;
}

std::optional<tensor::StoredView> TernaryWeight::latents() const {
  if (latent_.data == nullptr || rule() == ternary::ScaleRule::stored) return std::nullopt;
  return latent_;
}

void TernaryWeight::prepare() const {
  if (latent_.data != nullptr) {
    prepare_latent();
  } else {
    prepare_stored();
  }
}

void TernaryWeight::prepare_stored() const {
  tensor::PackedTernaryView view = packed_;
  if (view.type == DType::i2_s) {
    const std::uint64_t scale_offset =
        static_cast<std::uint64_t>(view.rows) * static_cast<std::uint64_t>(view.columns) / 4;
    std::memcpy(&view.scale, view.data + scale_offset, sizeof view.scale);
    if (!std::isfinite(view.scale)) fail(origin_, scale_offset, "a finite scale", fmt::format("{}", view.scale));
  } else if (view.type == DType::tq1_0 || view.type == DType::tq2_0) {
    const ternary::TqScale found = ternary::tq_common_scale(view);
    if (found.fault) {
      fail(origin_, found.fault->offset, fmt::format("the scale {} of the blocks before", found.scale),
           fmt::format("{}", found.fault->found));
    }
    view.scale = found.scale;
    if (!std::isfinite(view.scale)) fail(origin_, 0, "a finite scale", fmt::format("{}", view.scale));
  }
  if (const auto bad = ternary::check_codes(view)) {
    fail(origin_, bad->offset, "codes 0, 1 or 2", fmt::format("3 at row {}, column {}", bad->row, bad->column));
  }
  prepared_->rule = ternary::ScaleRule::stored;
  prepared_->view = view;
}

void TernaryWeight::prepare_latent() const {
  const auto snapped = may_be_snapped_ ? ternary::find_stored_scale(latent_) : std::nullopt;
  prepared_->rule = snapped ? ternary::ScaleRule::stored : ternary::ScaleRule::online_absmean;
  try {
    prepared_->owned = snapped ? ternary::pack_stored(latent_, *snapped) : ternary::quantise_absmean(latent_);
  } catch (const ConfigError& e) {
    fail(origin_, 0, "finite latents", e.what());
  }
  prepared_->view = prepared_->owned.view();
}

EmbeddingWeight::EmbeddingWeight(Origin origin, tensor::StoredView values)
    : origin_(std::move(origin)), values_(values), once_(std::make_unique<std::once_flag>()) {}

const tensor::StoredView& EmbeddingWeight::values() const {
  RPT_CHECK(once_ != nullptr, "an embedding that was never loaded");
  std::call_once(*once_, [this] {
    const BadValue bad = first_bad_value(values_);
    if (bad.row < 0) return;
    const std::int64_t size = tensor::element_size(values_.type);  // of blocked types the tensor's start is named
    fail(origin_, static_cast<std::uint64_t>((bad.row * values_.columns + bad.column) * size),
         values_.type == DType::bf16 ? "values that f16 can hold" : "finite values",
         fmt::format("another one at row {}, column {}", bad.row, bad.column));
  });
  return values_;
}

}  // namespace rpt::model

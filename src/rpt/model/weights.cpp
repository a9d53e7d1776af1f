// SPDX-License-Identifier: MIT
#include "rpt/model/weights.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "rpt/core/parallel.h"
#include "rpt/model/row_order.h"
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

/// Smallest magnitude, as bits without the sign, that the forward cannot read of a plain type. Where bf16 is read as
/// f16, 65,536 (0x4780) is the first bf16 value that f16 cannot hold.
std::int32_t first_unreadable(DType type, tensor::Bf16 bf16) {
  switch (type) {
    case DType::f16:
      return 0x7c00;
    case DType::bf16:
      return bf16 == tensor::Bf16::as_f16 ? 0x4780 : 0x7f80;
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

std::int64_t first_bad_column(const tensor::StoredView& v, tensor::Bf16 bf16, std::int64_t row,
                              std::vector<float>& scratch) {
  const std::int32_t limit = first_unreadable(v.type, bf16);
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

BadValue first_bad_value(const tensor::StoredView& v, tensor::Bf16 bf16) {
  std::mutex mutex;
  BadValue first;
  core::parallel_for(v.rows, 64, [&](std::int64_t begin, std::int64_t end) {
    std::vector<float> scratch;
    for (std::int64_t row = begin; row < end; ++row) {
      const std::int64_t column = first_bad_column(v, bf16, row, scratch);
      if (column < 0) continue;
      const std::lock_guard lock(mutex);
      if (first.row < 0 || row < first.row) first = {row, column};
      return;
    }
  });
  return first;
}

}  // namespace

TernaryWeight TernaryWeight::stored(Origin origin, tensor::PackedTernaryView codes, StoredForm form) {
  TernaryWeight w;
  w.origin_ = std::move(origin);
  w.packed_ = codes;
  w.form_ = form;
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
    const std::uint64_t scale_offset = ternary::packed_bytes(view.type, view.rows, view.columns);
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
  if (form_.rope_pairs > 0 || form_.i2_s == ternary::I2sLayout::arm) put_in_order(view);
  prepared_->rule = ternary::ScaleRule::stored;
  prepared_->view = view;
}

/// Copies the codes into the layout and the order of rows that the forward reads.
void TernaryWeight::put_in_order(tensor::PackedTernaryView& view) const {
  const std::uint64_t bytes = ternary::packed_bytes(view.type, view.rows, view.columns);
  if (view.type == DType::i2_s && form_.i2_s == ternary::I2sLayout::arm) {
    ternary::PackedTernary arranged(view.type, view.rows, view.columns, view.scale);
    ternary::i2s_from_arm(view.data, bytes, arranged.data());
    prepared_->owned = std::move(arranged);
    view = prepared_->owned.view();
  }
  if (form_.rope_pairs > 0) {
    ternary::PackedTernary arranged(view.type, view.rows, view.columns, view.scale);
    copy_in_halves(reinterpret_cast<const std::byte*>(view.data), view.rows,
                   bytes / static_cast<std::uint64_t>(view.rows), form_.rope_pairs,
                   reinterpret_cast<std::byte*>(arranged.data()));
    prepared_->owned = std::move(arranged);
    view = prepared_->owned.view();
  }
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

DenseWeight::DenseWeight(Origin origin, tensor::StoredView values, tensor::Bf16 bf16, std::int64_t rope_pairs)
    : origin_(std::move(origin)),
      values_(values),
      bf16_(bf16),
      rope_pairs_(rope_pairs),
      prepared_(std::make_unique<Prepared>()) {}

const tensor::StoredView& DenseWeight::values() const {
  RPT_CHECK(prepared_ != nullptr, "weights that were never loaded");
  std::call_once(prepared_->once, [this] {
    check();
    prepared_->view = values_;
    if (rope_pairs_ == 0) return;
    prepared_->owned.resize(values_.bytes);
    copy_in_halves(values_.data, values_.rows, values_.bytes / static_cast<std::uint64_t>(values_.rows), rope_pairs_,
                   prepared_->owned.data());
    prepared_->view.data = prepared_->owned.data();
  });
  return prepared_->view;
}

void DenseWeight::check() const {
  const BadValue bad = first_bad_value(values_, bf16_);
  if (bad.row < 0) return;
  const std::int64_t size = tensor::element_size(values_.type);  // of blocked types the tensor's start is named
  const bool as_f16 = values_.type == DType::bf16 && bf16_ == tensor::Bf16::as_f16;
  fail(origin_, static_cast<std::uint64_t>((bad.row * values_.columns + bad.column) * size),
       as_f16 ? "values that f16 can hold" : "finite values",
       fmt::format("another one at row {}, column {}", bad.row, bad.column));
}

}  // namespace rpt::model

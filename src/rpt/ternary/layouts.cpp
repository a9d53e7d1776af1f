// SPDX-License-Identifier: MIT
#include "rpt/ternary/layouts.h"

#include <algorithm>
#include <cmath>

#include "rpt/core/checked.h"
#include "rpt/core/error.h"
#include "rpt/core/float16.h"
#include "rpt/ternary/latent_rows.h"
#include "rpt/ternary/row_layouts.h"

namespace rpt::ternary {
namespace {

using tensor::DType;
using tensor::PackedTernaryView;

/// The rows that share bytes and so must be packed together: row r, r + rows/count, r + 2·rows/count, ….
std::int64_t rows_together(DType type) {
  return type == DType::hf_packed ? 4 : 1;
}

/// The nearest scale that the layout can hold.
float representable(DType type, float scale, bool lossy) {
  if (!std::isfinite(scale)) throw ConfigError(fmt::format("a scale of {} cannot be packed", scale));
  if (type != DType::tq1_0 && type != DType::tq2_0) return scale;
  const float held = core::f16_to_float(core::float_to_f16(scale));
  if (held == scale || (lossy && std::isfinite(held))) return held;
  throw ConfigError(fmt::format("{} holds its scale as f16, which has {} for {}", tensor::name(type), held, scale));
}

/// Packs one unit of `rows_together` rows; `codes` holds them one after another, each `stride` long and zero from K on.
void pack_unit(const PackedTernaryView& shape, std::int64_t unit, const std::int8_t* codes, std::int64_t stride,
               std::uint8_t* bytes) {
  const std::int64_t columns = shape.columns;
  switch (shape.type) {
    case DType::i2_s:
      pack_i2s_row(codes, columns, bytes + unit * i2s_row_bytes(columns));
      break;
    case DType::tq1_0:
      pack_tq1_row(codes, columns, shape.scale, bytes + unit * tq1_row_bytes(columns));
      break;
    case DType::tq2_0:
      pack_tq2_row(codes, columns, shape.scale, bytes + unit * tq2_row_bytes(columns));
      break;
    default:
      pack_hf_rows(codes, stride, columns, bytes + unit * columns);
      break;
  }
}

}  // namespace

void i2s_from_arm(const std::uint8_t* arm, std::uint64_t bytes, std::uint8_t* x86) {
  RPT_CHECK(bytes % 32 == 0, "{} bytes", bytes);
  for (std::uint64_t block = 0; block < bytes; block += 32) {
    std::fill_n(x86 + block, 32, std::uint8_t{0});
    for (unsigned j = 0; j < 128; ++j) {
      const unsigned i = j % 64;
      const unsigned code = (arm[block + j / 64 * 16 + i % 16] >> (6 - 2 * (i / 16))) & 3U;
      x86[block + j % 32] = static_cast<std::uint8_t>(x86[block + j % 32] | code << (6 - 2 * (j / 32)));
    }
  }
}

std::uint64_t packed_bytes(DType type, std::int64_t rows, std::int64_t columns) {
  const auto refuse = [&](const char* why) {
    return ShapeError(fmt::format("{} [{}, {}]: {}", tensor::name(type), rows, columns, why));
  };
  if (!tensor::is_ternary(type)) throw refuse("no type of ternary codes");
  if (rows < 1 || columns < 1) throw refuse("no weights");
  const bool tq = type == DType::tq1_0 || type == DType::tq2_0;
  if (tq && columns % kTqBlock != 0) throw refuse("the columns are no multiple of 256");
  if (type == DType::hf_packed && rows % 4 != 0) throw refuse("the rows are no multiple of 4");
  // No layout needs more than a byte a weight, but for i2_s with few columns: one block a row.
  const auto most = core::multiply(static_cast<std::uint64_t>(rows), static_cast<std::uint64_t>(columns) + kI2sBlock);
  if (!most || *most > (std::uint64_t{1} << 62)) throw refuse("the size does not fit");
  switch (type) {
    case DType::i2_s:
      return static_cast<std::uint64_t>(rows * i2s_row_bytes(columns));
    case DType::tq1_0:
      return static_cast<std::uint64_t>(rows * tq1_row_bytes(columns));
    case DType::tq2_0:
      return static_cast<std::uint64_t>(rows * tq2_row_bytes(columns));
    default:
      return static_cast<std::uint64_t>(rows / 4 * columns);
  }
}

void check_bytes(const PackedTernaryView& w) {
  const std::uint64_t needed = packed_bytes(w.type, w.rows, w.columns);
  if (w.bytes < needed) {
    throw ShapeError(
        fmt::format("{} [{}, {}]: {} bytes, needs {}", tensor::name(w.type), w.rows, w.columns, w.bytes, needed));
  }
}

PackedTernary::PackedTernary(DType type, std::int64_t rows, std::int64_t columns, float scale)
    : bytes_(packed_bytes(type, rows, columns)), type_(type), rows_(rows), columns_(columns), scale_(scale) {}

PackedTernary pack(DType type, std::int64_t rows, std::int64_t columns, float scale, const RowCodes& row_codes,
                   bool lossy) {
  PackedTernary packed(type, rows, columns, representable(type, scale, lossy));
  const std::int64_t together = rows_together(type);
  const std::int64_t units = rows / together;
  const std::int64_t stride = (columns + kTqBlock - 1) / kTqBlock * kTqBlock;
  for_row_ranges(units, together * columns, [&](std::int64_t begin, std::int64_t end) {
    std::vector<std::int8_t> codes(static_cast<std::size_t>(together * stride));
    for (std::int64_t unit = begin; unit < end; ++unit) {
      for (std::int64_t i = 0; i < together; ++i) {
        const std::span row(codes.data() + i * stride, static_cast<std::size_t>(columns));
        row_codes(unit + i * units, row);
        RPT_CHECK(are_codes(row), "row {}", unit + i * units);
      }
      pack_unit(packed.view(), unit, codes.data(), stride, packed.data());
    }
  });
  return packed;
}

PackedTernary pack(DType type, std::int64_t rows, std::int64_t columns, float scale, std::span<const std::int8_t> codes,
                   bool lossy) {
  (void)packed_bytes(type, rows, columns);  // so that the product fits
  RPT_CHECK(std::cmp_equal(codes.size(), rows * columns), "{} codes for [{}, {}]", codes.size(), rows, columns);
  return pack(
      type, rows, columns, scale,
      [&](std::int64_t n, std::span<std::int8_t> row) { std::copy_n(codes.data() + n * columns, columns, row.data()); },
      lossy);
}

PackedTernary repack(const PackedTernaryView& weights, DType type, bool lossy) {
  check_bytes(weights);
  return pack(
      type, weights.rows, weights.columns, weights.scale,
      [&](std::int64_t n, std::span<std::int8_t> row) { unpack_row(weights, n, row); }, lossy);
}

void unpack_row(const PackedTernaryView& weights, std::int64_t n, std::span<std::int8_t> codes) {
  check_bytes(weights);
  const std::int64_t columns = weights.columns;
  if (n < 0 || n >= weights.rows || std::cmp_not_equal(codes.size(), columns)) {
    throw ShapeError(fmt::format("row {} of [{}, {}] into {} codes", n, weights.rows, columns, codes.size()));
  }
  switch (weights.type) {
    case DType::i2_s:
      unpack_i2s_row(weights.data + n * i2s_row_bytes(columns), columns, codes.data());
      break;
    case DType::tq1_0:
      unpack_tq1_row(weights.data + n * tq1_row_bytes(columns), columns, codes.data());
      break;
    case DType::tq2_0:
      unpack_tq2_row(weights.data + n * tq2_row_bytes(columns), columns, codes.data());
      break;
    default: {
      const std::int64_t quarter = weights.rows / 4;
      unpack_hf_row(weights.data + n % quarter * columns, static_cast<int>(n / quarter), columns, codes.data());
    }
  }
}

std::vector<std::int8_t> unpack(const PackedTernaryView& weights) {
  check_bytes(weights);
  std::vector<std::int8_t> codes(static_cast<std::size_t>(weights.rows * weights.columns));
  for_row_ranges(weights.rows, weights.columns, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t n = begin; n < end; ++n) {
      unpack_row(weights, n, {codes.data() + n * weights.columns, static_cast<std::size_t>(weights.columns)});
    }
  });
  return codes;
}

}  // namespace rpt::ternary

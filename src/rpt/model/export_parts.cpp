// SPDX-License-Identifier: MIT
#include "rpt/model/export_parts.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>

#include "rpt/core/float16.h"
#include "rpt/core/parallel.h"
#include "rpt/model/row_order.h"
#include "rpt/tensor/ops.h"
#include "rpt/ternary/layouts.h"

namespace rpt::model {

using tensor::DType;

float round_to(float value, DType type) {
  switch (type) {
    case DType::f32:
      return value;
    case DType::f16:
      return core::f16_to_float(core::float_to_f16(value));
    case DType::bf16:
      return core::bf16_to_float(core::float_to_bf16(value));
    default:
      break;
  }
  RPT_CHECK(false, "{} is no plain float type", tensor::name(type));
}

void require_exact_scale(const std::string& tensor, float scale, DType type, const ExportOptions& options) {
  if (type == DType::i2_s) return;  // holds any float
  const DType held = tensor::is_ternary(type) ? DType::f16 : type;
  const float rounded = round_to(scale, held);
  if (!std::isfinite(rounded)) {
    throw ConfigError(fmt::format("{}: the scale {} is beyond what {} can hold", tensor, scale, tensor::name(held)));
  }
  if (rounded != scale && !options.lossy) {
    throw ConfigError(fmt::format("{}: the scale {} is not exact in {}, which {} stores (--lossy accepts {})", tensor,
                                  scale, tensor::name(held), tensor::name(type), rounded));
  }
}

bool exact_in(const DenseWeight& weight, DType type) {
  const tensor::StoredView& v = weight.values();
  const bool as_f16 = v.type == DType::bf16 && weight.bf16() == tensor::Bf16::as_f16;
  if (type == DType::f32 || type == (as_f16 ? DType::f16 : v.type)) return true;
  std::atomic<bool> exact{true};
  core::parallel_for(v.rows, 64, [&](std::int64_t begin, std::int64_t end) {
    std::vector<float> row(static_cast<std::size_t>(v.columns));
    for (std::int64_t r = begin; r < end && exact; ++r) {
      tensor::read_row(v, r, row, weight.bf16());
      if (!std::all_of(row.begin(), row.end(), [&](float x) { return round_to(x, type) == x; })) exact = false;
    }
  });
  return exact;
}

void append_as(std::span<const float> values, DType type, std::vector<std::byte>& out) {
  const auto put = [&](const void* p, std::size_t n) {
    const auto* bytes = static_cast<const std::byte*>(p);
    out.insert(out.end(), bytes, bytes + n);
  };
  for (const float value : values) {
    if (type == DType::f32) {
      put(&value, sizeof value);
    } else {
      const std::uint16_t bits = type == DType::f16 ? core::float_to_f16(value) : core::float_to_bf16(value);
      put(&bits, sizeof bits);
    }
  }
}

void write_float_rows(const DenseWeight& weight, DType type, std::int64_t rope_pairs, const RowSink& sink) {
  const tensor::StoredView& values = weight.values();
  std::vector<float> row(static_cast<std::size_t>(values.columns));
  std::vector<std::byte> bytes;
  for (std::int64_t r = 0; r < values.rows; ++r) {
    tensor::read_row(values, rope_pairs > 0 ? row_in_halves(r, rope_pairs) : r, row, weight.bf16());
    bytes.clear();
    append_as(row, type, bytes);
    sink(bytes);
  }
}

void write_stored_rows(std::span<const std::byte> bytes, std::int64_t rows, std::int64_t rope_pairs,
                       const RowSink& sink) {
  if (rope_pairs == 0) return sink(bytes);
  const std::size_t row_bytes = bytes.size() / static_cast<std::size_t>(rows);
  for (std::int64_t r = 0; r < rows; ++r) {
    sink(bytes.subspan(static_cast<std::size_t>(row_in_halves(r, rope_pairs)) * row_bytes, row_bytes));
  }
}

void write_code_rows(const tensor::PackedTernaryView& codes, DType type, const RowSink& sink) {
  std::vector<std::int8_t> row(static_cast<std::size_t>(codes.columns));
  std::vector<float> values(row.size());
  std::vector<std::byte> bytes;
  for (std::int64_t r = 0; r < codes.rows; ++r) {
    ternary::unpack_row(codes, r, row);
    std::transform(row.begin(), row.end(), values.begin(), [&](std::int8_t c) {
      return c == 0 ? 0.0F : c > 0 ? codes.scale : -codes.scale;
    });
    bytes.clear();
    append_as(values, type, bytes);
    sink(bytes);
  }
}

}  // namespace rpt::model

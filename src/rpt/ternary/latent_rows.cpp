// SPDX-License-Identifier: MIT
#include "rpt/ternary/latent_rows.h"

#include <algorithm>

#include "rpt/core/aligned_buffer.h"
#include "rpt/core/checked.h"
#include "rpt/core/error.h"
#include "rpt/core/parallel.h"
#include "rpt/kernels/isa.h"

namespace rpt::ternary {

using tensor::DType;

void for_row_ranges(std::int64_t rows, std::int64_t columns,
                    const std::function<void(std::int64_t begin, std::int64_t end)>& body) {
  constexpr std::int64_t kWeightsPerRange = 1 << 16;
  core::parallel_for(rows, std::max<std::int64_t>(1, kWeightsPerRange / std::max<std::int64_t>(1, columns)), body);
}

LatentRows::LatentRows(const tensor::StoredView& latents) : latents_(latents), kernels_(kernels::active()) {
  const std::string what =
      fmt::format("latents {} [{}, {}]", tensor::name(latents.type), latents.rows, latents.columns);
  if (latents.type != DType::f32 && latents.type != DType::bf16 && latents.type != DType::f16) {
    throw ShapeError(what + ": the type is not f32, bf16 or f16");
  }
  if (latents.rows < 1 || latents.columns < 1) throw ShapeError(what + ": no weights");
  const auto size = static_cast<std::uint64_t>(tensor::element_size(latents.type));
  const auto count =
      core::multiply(static_cast<std::uint64_t>(latents.rows), static_cast<std::uint64_t>(latents.columns));
  const auto needed = count ? core::multiply(*count, size) : std::nullopt;
  if (needed != latents.bytes) throw ShapeError(fmt::format("{}: {} bytes", what, latents.bytes));
  RPT_CHECK(reinterpret_cast<std::uintptr_t>(latents.data) % size == 0, "{} not aligned", what);
}

const float* LatentRows::widened(std::int64_t n) const {
  if (latents_.type == DType::f32) return row<float>(n);
  static thread_local core::AlignedBuffer<float> scratch;
  scratch.reserve_scratch(static_cast<std::size_t>(latents_.columns));
  const auto widen = latents_.type == DType::bf16 ? kernels_.bf16_to_f32 : kernels_.f16_to_f32;
  widen(row<std::uint16_t>(n), latents_.columns, scratch.data());
  return scratch.data();
}

double LatentRows::sum_abs(std::int64_t n) const {
  if (latents_.type == DType::bf16) return kernels_.sum_abs_bf16(row<std::uint16_t>(n), latents_.columns);
  return kernels_.sum_abs_f32(widened(n), latents_.columns);
}

void LatentRows::codes(std::int64_t n, float inv, std::span<std::int8_t> codes) const {
  RPT_CHECK(std::cmp_equal(codes.size(), latents_.columns), "{} codes for {} columns", codes.size(), latents_.columns);
  if (latents_.type == DType::bf16) {
    kernels_.ternary_codes_bf16(row<std::uint16_t>(n), latents_.columns, inv, codes.data());
  } else {
    kernels_.ternary_codes_f32(widened(n), latents_.columns, inv, codes.data());
  }
}

}  // namespace rpt::ternary

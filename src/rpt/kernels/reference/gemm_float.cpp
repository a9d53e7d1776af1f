// SPDX-License-Identifier: MIT
#include <cmath>
#include <cstdint>

#include "rpt/core/float16.h"
#include "rpt/kernels/reference/lanes.h"
#include "rpt/kernels/reference/reference.h"

namespace rpt::kernels::reference {
namespace {

// The weight types: what is stored, and the float that takes part.

struct F32 {
  using Stored = float;
  static float widen(float w) { return w; }
};

struct F16 {
  using Stored = std::uint16_t;
  static float widen(std::uint16_t w) { return core::f16_to_float(w); }
};

struct Bf16 {
  using Stored = std::uint16_t;
  static float widen(std::uint16_t w) { return core::f16_to_float(core::float_to_f16(core::bf16_to_float(w))); }
};

template <typename Weight>
void gemm_float(const FloatGemm& a) noexcept {
  const auto* weights = static_cast<const typename Weight::Stored*>(a.weights);
  for (std::int64_t n = a.n_begin; n < a.n_end; ++n) {
    const auto* row = weights + n * a.row_stride;
    for (std::int64_t t = 0; t < a.tokens; ++t) {
      Lanes<float> dot;
      for (std::int64_t k = 0; k < a.columns; ++k) {
        dot.of(k) = std::fma(Weight::widen(row[k]), a.x[t * a.x_stride + k], dot.of(k));
      }
      a.y[t * a.y_stride + n] = dot.sum();
    }
  }
}

}  // namespace

void fill_gemm_float(KernelTable& table) noexcept {
  table.gemm_f32_f32 = gemm_float<F32>;
  table.gemm_f16_f32 = gemm_float<F16>;
  table.gemm_bf16_f32 = gemm_float<Bf16>;
}

}  // namespace rpt::kernels::reference

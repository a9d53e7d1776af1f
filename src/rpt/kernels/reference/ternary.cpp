// SPDX-License-Identifier: MIT
#include <cstdint>

#include "rpt/kernels/reference/reference.h"

namespace rpt::kernels::reference {
namespace {

/// Two bits of a byte.
int two_bits(std::uint8_t byte, std::int64_t shift) {
  return (byte >> shift) & 3;
}

/// Trit k of a byte of the base-3 code: the byte is the fraction 0.t0 t1 t2 … in base 3 times 256, so the digit is what
/// multiplying the shifted fraction by 3 carries out.
int trit(std::uint8_t byte, std::int64_t k) {
  constexpr int kPower[] = {1, 3, 9, 27, 81};
  const int shifted = (byte * kPower[k]) & 0xff;
  return (shifted * 3) >> 8;
}

// The layouts: code + 1 of weight (n, k).

struct I2S {
  static int code_plus_1(const TernaryGemm& a, std::int64_t n, std::int64_t k) {
    const std::int64_t row_bytes = (a.columns + 127) / 128 * 32;
    const std::int64_t j = k % 128;
    return two_bits(a.weights[n * row_bytes + k / 128 * 32 + j % 32], 6 - 2 * (j / 32));
  }
};

struct Tq2 {
  static int code_plus_1(const TernaryGemm& a, std::int64_t n, std::int64_t k) {
    const std::uint8_t* block = a.weights + (n * (a.columns / 256) + k / 256) * 66;
    const std::int64_t half = k % 256 / 128;
    const std::int64_t j = k % 128;
    return two_bits(block[32 * half + j % 32], 2 * (j / 32));
  }
};

struct Tq1 {
  static int code_plus_1(const TernaryGemm& a, std::int64_t n, std::int64_t k) {
    const std::uint8_t* block = a.weights + (n * (a.columns / 256) + k / 256) * 54;
    const std::int64_t i = k % 256;
    if (i < 160) return trit(block[i % 32], i / 32);
    if (i < 240) return trit(block[32 + (i - 160) % 16], (i - 160) / 16);
    return trit(block[48 + (i - 240) % 4], (i - 240) / 4);
  }
};

struct Hf2 {
  static int code_plus_1(const TernaryGemm& a, std::int64_t n, std::int64_t k) {
    const std::int64_t quarter = a.rows / 4;
    return two_bits(a.weights[n % quarter * a.columns + k], 2 * (n / quarter));
  }
};

template <typename Layout>
void gemm_ternary(const TernaryGemm& a) noexcept {
  for (std::int64_t n = a.n_begin; n < a.n_end; ++n) {
    for (std::int64_t t = 0; t < a.tokens; ++t) a.acc[t * a.acc_stride + n] = 0;
    for (std::int64_t k = 0; k < a.columns; ++k) {
      const int code = Layout::code_plus_1(a, n, k) - 1;
      for (std::int64_t t = 0; t < a.tokens; ++t) a.acc[t * a.acc_stride + n] += code * a.q[t * a.q_stride + k];
    }
  }
}

}  // namespace

void fill_ternary(KernelTable& table) noexcept {
  table.gemm_ternary2_int8 = gemm_ternary<I2S>;
  table.gemm_tq2_int8 = gemm_ternary<Tq2>;
  table.gemm_tq1_int8 = gemm_ternary<Tq1>;
  table.gemm_hf2_int8 = gemm_ternary<Hf2>;
}

}  // namespace rpt::kernels::reference

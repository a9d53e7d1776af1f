// SPDX-License-Identifier: MIT
#include "rpt/tensor/ops.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "rpt/core/float16.h"
#include "rpt/core/parallel.h"
#include "rpt/core/random.h"
#include "rpt/kernels/isa.h"
#include "rpt/tensor/blocks.h"
#include "rpt/tensor/panels.h"
#include "rpt/tensor/product.h"
#include "tests/unit/tensor/random_tensor.h"

namespace rpt::tensor {
namespace {

/// I2_S bytes of codes [rows, 128].
std::vector<std::uint8_t> pack(const std::vector<int>& codes, std::int64_t rows) {
  std::vector<std::uint8_t> out(static_cast<std::size_t>(rows) * 32);
  for (std::int64_t n = 0; n < rows; ++n) {
    for (std::size_t j = 0; j < 128; ++j) {
      const auto code = static_cast<unsigned>(codes[static_cast<std::size_t>(n) * 128 + j] + 1);
      out[static_cast<std::size_t>(n) * 32 + j % 32] |= static_cast<std::uint8_t>(code << (6 - 2 * (j / 32)));
    }
  }
  return out;
}

TEST(MatmulTernary, IsTheFormula) {
  core::Random random(3);
  const std::int64_t rows = 37;
  std::vector<int> codes(static_cast<std::size_t>(rows) * 128);
  for (int& c : codes) c = static_cast<int>(random.below(3)) - 1;
  const auto bytes = pack(codes, rows);
  const PackedTernaryView w{bytes.data(), bytes.size(), DType::i2_s, rows, 128, 0.37F};
  const Tensor x = random_tensor(5, 128, 4);
  QuantisedRows q;
  quantise_rows(x.view(), q);
  for (const int threads : {1, 2, 3}) {
    core::set_threads(threads);
    Tensor y(5, rows);
    matmul_ternary(w, q, y.view());
    for (std::int64_t t = 0; t < 5; ++t) {
      for (std::int64_t n = 0; n < rows; ++n) {
        std::int32_t dot = 0;
        for (std::int64_t k = 0; k < 128; ++k) {
          dot += codes[static_cast<std::size_t>(n * 128 + k)] * q.q[static_cast<std::size_t>(t * 128 + k)];
        }
        ASSERT_EQ(y.view().row(t)[n],
                  static_cast<float>(dot) * ((0.37F * q.amax[static_cast<std::size_t>(t)]) / 127.0F));
      }
    }
  }
  core::set_threads(0);
}

// Many tokens may go through another product than few: the same bits.
TEST(MatmulTernary, ManyTokensAreAsTheReferenceHasThem) {
  core::Random random(11);
  const std::string best(kernels::active().name);
  for (const auto& size : {std::pair<int, int>{127, 300}, {128, 300}, {203, 300}, {130, 1}, {400, 65}}) {
    const int tokens = size.first;  // no bindings: clang 14 does not capture them in a lambda
    const int rows = size.second;
    for (const std::int64_t columns : {1, 33, 100, 128, 384}) {
      const std::int64_t blocks = (columns + 127) / 128;
      std::vector<std::uint8_t> codes(static_cast<std::size_t>(rows * blocks * 32));
      for (auto& byte : codes) {
        unsigned value = 0;
        for (int i = 0; i < 4; ++i) value = value << 2 | static_cast<unsigned>(random.below(3));
        byte = static_cast<std::uint8_t>(value);
      }
      Tensor x = random_tensor(tokens, columns, 5);
      QuantisedRows q;
      ASSERT_EQ(quantise_rows(x.view(), q), -1);
      const PackedTernaryView weights{codes.data(), codes.size(), DType::i2_s, rows, columns, 0.37F};
      kernels::force_isa("reference");
      Tensor plain(tokens, rows);
      matmul_ternary(weights, q, plain.view());
      kernels::force_isa(best);
      for (const int threads : {1, 2, 3, 40}) {
        core::set_threads(threads);
        const auto check = [&](auto multiply) {
          Tensor wide(tokens, rows + 3);  // what stands beside a row stays
          MutableMatrix fast = wide.view();
          fast.columns = rows;
          multiply(weights, q, fast);
          for (std::int64_t t = 0; t < tokens; ++t) {
            ASSERT_EQ(std::memcmp(fast.row(t), plain.view().row(t), static_cast<std::size_t>(rows) * 4), 0)
                << tokens << " tokens, " << columns << " columns, row " << t;
            ASSERT_TRUE(std::all_of(fast.row(t) + rows, fast.row(t) + rows + 3, [](float v) { return v == 0; }));
          }
        };
        check(matmul_ternary);
        // Where the library has tiles they are not what matmul_ternary takes.
        if (kernels::active().panels) check(multiply_ternary_panels);
      }
      core::set_threads(0);
    }
  }
}

TEST(MatmulTernary, SaysWhatScratchItKeeps) {
  const std::string best(kernels::active().name);
  core::set_threads(2);
  // In panels: one of 64 rows on each thread, and the factors of tokens. Unpacked for the library: up to 256 rows of
  // codes and their sums on each thread, half of a small layer. Otherwise the sums of all rows.
  const bool unpacks = kernels::active().library_products && multiplies_int8();
  const bool packs = unpacks && uses_panels();
  EXPECT_EQ(matmul_ternary_scratch(600, 384, 200), packs     ? 2U * 64 * 384 + 4U * 200
                                                   : unpacks ? 2U * 256 * (384 + 4 * 200)
                                                             : 4U * 600 * 200);
  EXPECT_EQ(matmul_ternary_scratch(60, 300, 200), packs     ? 2U * 64 * 384 + 4U * 200
                                                  : unpacks ? 2U * 32 * (300 + 4 * 200)
                                                            : 4U * 60 * 200);
  EXPECT_EQ(matmul_ternary_scratch(600, 384, 127), 4U * 600 * 127);
  kernels::force_isa("reference");
  EXPECT_EQ(matmul_ternary_scratch(600, 384, 200), 4U * 600 * 200);
  kernels::force_isa(best);
  core::set_threads(0);
}

TEST(MatmulTernary, RefusesShapesThatDoNotFit) {
  const std::vector<std::uint8_t> bytes(32 * 4, 0x55);
  const PackedTernaryView w{bytes.data(), bytes.size(), DType::i2_s, 4, 128, 1};
  QuantisedRows q;
  const Tensor x = random_tensor(2, 127, 1);
  quantise_rows(x.view(), q);
  Tensor y(2, 4);
  EXPECT_THROW(matmul_ternary(w, q, y.view()), ShapeError);
  const Tensor fits = random_tensor(2, 128, 1);
  quantise_rows(fits.view(), q);
  Tensor narrow(2, 3);
  EXPECT_THROW(matmul_ternary(w, q, narrow.view()), ShapeError);
  PackedTernaryView dense = w;
  dense.type = DType::f32;
  EXPECT_THROW(matmul_ternary(dense, q, y.view()), ShapeError);
}

/// One value for each dense type, against a sum in double with the bound of 16 lanes of K/16 fused steps and a tree.
TEST(MatmulDense, AgreesWithDoubleForEveryType) {
  const std::int64_t rows = 19, columns = 512;
  core::Random random(8);
  std::vector<float> values(static_cast<std::size_t>(rows * columns));
  for (float& v : values) v = core::f16_to_float(core::float_to_f16(static_cast<float>(random.normal())));
  const Tensor x = random_tensor(3, columns, 2);
  std::vector<std::uint16_t> f16, bf16;
  for (const float v : values) {
    f16.push_back(core::float_to_f16(v));
    bf16.push_back(core::float_to_bf16(v));
  }
  // Blocked types from random bytes with a small d: read_row is the definition of their values.
  std::vector<std::uint8_t> q8(static_cast<std::size_t>(rows * q8_0_row_bytes(columns)), 0),
      q6(static_cast<std::size_t>(rows * q6_k_row_bytes(columns)), 0),
      q40(static_cast<std::size_t>(rows * q4_0_row_bytes(columns)), 0),
      q41(static_cast<std::size_t>(rows * q4_1_row_bytes(columns)), 0);
  const auto fill = [&](std::vector<std::uint8_t>& bytes, std::size_t block, std::size_t d_at) {
    for (auto& b : bytes) b = static_cast<std::uint8_t>(random.below(256));
    for (std::size_t at = 0; at < bytes.size(); at += block) {
      const std::uint16_t d = core::float_to_f16(0.01F);
      std::memcpy(bytes.data() + at + d_at, &d, 2);
    }
  };
  fill(q8, 34, 0);
  fill(q6, 210, 208);
  fill(q40, 18, 0);
  fill(q41, 20, 0);
  for (std::size_t at = 2; at < q41.size(); at += 20) {
    const std::uint16_t m = core::float_to_f16(-0.07F);
    std::memcpy(q41.data() + at, &m, 2);
  }
  const auto view = [&](const void* data, std::size_t bytes, DType type) {
    return StoredView{static_cast<const std::byte*>(data), bytes, type, rows, columns};
  };
  for (const StoredView& w :
       {view(values.data(), values.size() * 4, DType::f32), view(f16.data(), f16.size() * 2, DType::f16),
        view(bf16.data(), bf16.size() * 2, DType::bf16), view(q8.data(), q8.size(), DType::q8_0),
        view(q6.data(), q6.size(), DType::q6_k), view(q40.data(), q40.size(), DType::q4_0),
        view(q41.data(), q41.size(), DType::q4_1)}) {
    Tensor y(3, rows);
    matmul_dense(w, x.view(), y.view());
    std::vector<float> row(static_cast<std::size_t>(columns));
    for (std::int64_t n = 0; n < rows; ++n) {
      read_row(w, n, row);
      for (std::int64_t t = 0; t < 3; ++t) {
        double sum = 0, size = 0;
        for (std::int64_t k = 0; k < columns; ++k) {
          const double p =
              static_cast<double>(row[static_cast<std::size_t>(k)]) * static_cast<double>(x.view().row(t)[k]);
          sum += p;
          size += std::abs(p);
        }
        ASSERT_NEAR(static_cast<double>(y.view().row(t)[n]), sum, (columns / 16 + 4) * std::ldexp(1.0, -24) * size)
            << name(w.type) << " " << n;
      }
    }
  }
}

/// Random finite weights [N, K] of a dense type.
std::vector<std::uint8_t> random_weights(DType type, std::int64_t rows, std::int64_t columns) {
  core::Random random(static_cast<std::uint64_t>(type) + 1);
  std::size_t block = 2, values = 1, halves = 1;
  if (type == DType::f32) block = 4;
  if (type == DType::q8_0) block = 34, values = 32;
  if (type == DType::q4_0) block = 18, values = 32;
  if (type == DType::q4_1) block = 20, values = 32, halves = 2;
  std::vector<std::uint8_t> bytes(static_cast<std::size_t>(rows * columns) / values * block);
  for (auto& b : bytes) b = static_cast<std::uint8_t>(random.below(256));
  for (std::size_t at = 0; at < bytes.size(); at += block) {
    const auto value = static_cast<float>(random.normal());
    if (type == DType::f32) std::memcpy(bytes.data() + at, &value, 4);
    if (type == DType::f32) continue;
    const std::uint16_t half = type == DType::bf16 ? core::float_to_bf16(value) : core::float_to_f16(value);
    for (std::size_t i = 0; i < halves; ++i) std::memcpy(bytes.data() + at + 2 * i, &half, 2);
  }
  return bytes;
}

// A dense linear layer: the bits of the reference for each token by itself, on every instruction set and any number of
// threads, however the tokens are batched.
TEST(MatmulDense, TheSameBitsOnEverySetInEveryBatchWithAnyThreads) {
  const std::int64_t rows = 83, columns = 96, tokens = 9;
  const std::string best(kernels::active().name);
  const Tensor x = random_tensor(tokens, columns, 12);
  for (const DType type : {DType::f32, DType::f16, DType::bf16, DType::q8_0, DType::q4_0, DType::q4_1}) {
    const std::vector<std::uint8_t> bytes = random_weights(type, rows, columns);
    const StoredView w{reinterpret_cast<const std::byte*>(bytes.data()), bytes.size(), type, rows, columns};
    kernels::force_isa("reference");
    core::set_threads(1);
    Tensor expected(tokens, rows);
    for (std::int64_t t = 0; t < tokens; ++t) {
      matmul_dense(w, x.view().slice(t, t + 1), expected.view().slice(t, t + 1), Bf16::exact);
    }
    for (const kernels::Isa& isa : kernels::list_isas()) {
      if (!isa.supported) continue;
      kernels::force_isa(isa.name);
      for (const int threads : {1, 2, 3}) {
        core::set_threads(threads);
        for (const std::int64_t batch : {1, 2, 5, 9}) {
          Tensor y(tokens, rows);
          for (std::int64_t t = 0; t < tokens; t += batch) {
            const std::int64_t end = std::min(t + batch, tokens);
            matmul_dense(w, x.view().slice(t, end), y.view().slice(t, end), Bf16::exact);
          }
          ASSERT_EQ(std::memcmp(y.data(), expected.data(), static_cast<std::size_t>(tokens * rows) * 4), 0)
              << name(type) << " " << isa.name << ", " << threads << " threads, " << batch << " tokens together";
        }
      }
    }
  }
  core::set_threads(0);
  kernels::force_isa(best);
}

// 2^-26 is a bfloat16 number, which binary16 rounds to zero.
TEST(MatmulDense, Bf16IsExactInALinearAndF16InAHead) {
  const std::vector<std::uint16_t> bits{core::float_to_bf16(0x1p-26F)};
  const StoredView w{reinterpret_cast<const std::byte*>(bits.data()), 2, DType::bf16, 1, 1};
  Tensor x(1, 1), y(1, 1);
  x.data()[0] = 1.0F;
  matmul_dense(w, x.view(), y.view(), Bf16::exact);
  EXPECT_EQ(y.data()[0], 0x1p-26F);
  matmul_dense(w, x.view(), y.view());
  EXPECT_EQ(y.data()[0], 0.0F);
  std::vector<float> row(1);
  read_row(w, 0, row, Bf16::exact);
  EXPECT_EQ(row[0], 0x1p-26F);
}

TEST(ReadRow, Q8IsItsFormulaAndRowsAreCounted) {
  std::vector<std::uint8_t> q8(34);
  const std::uint16_t d = core::float_to_f16(0.5F);
  std::memcpy(q8.data(), &d, 2);
  for (int i = 0; i < 32; ++i)
    q8[static_cast<std::size_t>(2 + i)] = static_cast<std::uint8_t>(static_cast<std::int8_t>(i - 16));
  std::vector<float> out(32);
  read_row({reinterpret_cast<const std::byte*>(q8.data()), 34, DType::q8_0, 1, 32}, 0, out);
  for (int i = 0; i < 32; ++i) EXPECT_EQ(out[static_cast<std::size_t>(i)], 0.5F * static_cast<float>(i - 16));

  EXPECT_THROW(read_row({reinterpret_cast<const std::byte*>(q8.data()), 34, DType::q8_0, 1, 32}, 1, out), ShapeError);
}

TEST(ReadRow, Bf16IsReadAsF16) {
  // 2^-20 · 1.5078125 needs eight bits below f16's smallest normal: f16 keeps it only rounded.
  const std::vector<std::uint16_t> bits{core::float_to_bf16(1.5078125F * 0x1p-20F), core::float_to_bf16(-3.25F)};
  std::vector<float> out(2);
  read_row({reinterpret_cast<const std::byte*>(bits.data()), 4, DType::bf16, 1, 2}, 0, out);
  EXPECT_EQ(out[0], core::f16_to_float(core::float_to_f16(1.5078125F * 0x1p-20F)));
  EXPECT_NE(out[0], core::bf16_to_float(bits[0]));
  EXPECT_EQ(out[1], -3.25F);
  EXPECT_EQ(widen({reinterpret_cast<const std::byte*>(bits.data()), 4, DType::bf16, 1, 2})[0],
            core::bf16_to_float(bits[0]));
}

TEST(TokenNll, AgreesWithDoubleAcrossBlocks) {
  for (const std::int64_t vocabulary : {1, 2, 4095, 4096, 4097, 12345}) {
    const Tensor logits = random_tensor(1, vocabulary, static_cast<std::uint64_t>(vocabulary));
    const std::span<const float> row{logits.data(), static_cast<std::size_t>(vocabulary)};
    double sum = 0;
    for (const float x : row) sum += std::exp(static_cast<double>(x));
    const auto target = static_cast<std::int32_t>(vocabulary / 2);
    // Sums of positive terms in float lanes: relative error of at most (V/16 + 4) ulp, in practice far less.
    EXPECT_NEAR(token_nll(row, target), std::log(sum) - static_cast<double>(row[static_cast<std::size_t>(target)]),
                2e-6);
    EXPECT_NEAR(log_sum_exp(row), std::log(sum), 2e-6);
    EXPECT_THROW(token_nll(row, static_cast<std::int32_t>(vocabulary)), ShapeError);
    EXPECT_THROW(token_nll(row, -1), ShapeError);
  }
}

TEST(ArgMax, TakesTheLowestOfEquals) {
  EXPECT_EQ(arg_max(std::vector<float>{1, 5, 2, 5}), 1);
  EXPECT_THROW(arg_max({}), ShapeError);
}

TEST(DTypes, HaveNamesAndSizes) {
  EXPECT_EQ(name(DType::i2_s), "i2_s");
  EXPECT_EQ(name(DType::hf_packed), "hf_packed");
  EXPECT_TRUE(is_ternary(DType::tq1_0));
  EXPECT_FALSE(is_ternary(DType::q8_0));
  EXPECT_EQ(element_size(DType::bf16), 2);
  EXPECT_EQ(element_size(DType::i2_s), 0);
}

}  // namespace
}  // namespace rpt::tensor

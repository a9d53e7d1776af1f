// SPDX-License-Identifier: MIT
#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <vector>

#include "rpt/core/float16.h"
#include "tests/unit/kernels/kernel_testing.h"

namespace rpt::kernels::test {
namespace {

using Entry = void (*KernelTable::*)(const std::uint8_t* row, std::int64_t n, float* y) noexcept;

std::vector<float> run(const KernelTable& table, Entry entry, const std::vector<std::uint8_t>& row, std::int64_t n) {
  std::vector<float> y(static_cast<std::size_t>(n), -77.0F);
  (table.*entry)(row.data(), n, y.data());
  return y;
}

void put_half(std::vector<std::uint8_t>& bytes, std::size_t at, float value) {
  const std::uint16_t bits = core::float_to_f16(value);
  std::memcpy(bytes.data() + at, &bits, 2);
}

TEST(BlocksReference, AreTheirFormulas) {
  std::vector<std::uint8_t> q8(2 * 34), q4_0(2 * 18), q4_1(2 * 20);
  for (std::size_t block = 0; block < 2; ++block) {
    const float d = block == 0 ? 0.5F : -0.1F;
    put_half(q8, 34 * block, d);
    put_half(q4_0, 18 * block, d);
    put_half(q4_1, 20 * block, d);
    put_half(q4_1, 20 * block + 2, 0.3F);
    for (std::size_t i = 0; i < 32; ++i) q8[34 * block + 2 + i] = static_cast<std::uint8_t>(8 * i - 128);
    for (std::size_t i = 0; i < 16; ++i) {  // value i is i, value 16 + i is 15 − i
      const auto both = static_cast<std::uint8_t>(i | (15 - i) << 4);
      q4_0[18 * block + 2 + i] = both;
      q4_1[20 * block + 4 + i] = both;
    }
  }
  const auto y8 = run(table_of("reference"), &KernelTable::q8_0_to_f32, q8, 64);
  const auto y40 = run(table_of("reference"), &KernelTable::q4_0_to_f32, q4_0, 64);
  const auto y41 = run(table_of("reference"), &KernelTable::q4_1_to_f32, q4_1, 64);
  const float m = core::f16_to_float(core::float_to_f16(0.3F));
  for (std::size_t i = 0; i < 64; ++i) {
    const float d = i < 32 ? 0.5F : core::f16_to_float(core::float_to_f16(-0.1F));
    const std::size_t j = i % 32;
    const float nibble = static_cast<float>(j < 16 ? j : 31 - j);
    EXPECT_EQ(y8[i], d * (8.0F * static_cast<float>(j) - 128.0F)) << i;
    EXPECT_EQ(y40[i], d * (nibble - 8.0F)) << i;
    const float product = d * nibble;  // rounded before m is added
    EXPECT_EQ(y41[i], product + m) << i;
  }
}

// Q6_K: value i is i % 64 − 32 times the scale i / 16 + 1 (the first of the second half: −5), written by the layout.
TEST(BlocksReference, Q6KIsItsFormula) {
  std::vector<std::uint8_t> q6(2 * 210);
  for (std::size_t i = 0; i < 512; ++i) {
    std::uint8_t* const block = q6.data() + i / 256 * 210;
    const auto q = static_cast<unsigned>(i % 64);
    const std::size_t half = i % 256 / 128, part = i % 128 / 32, l = i % 32;
    block[half * 64 + l + 32 * (part % 2)] |= static_cast<std::uint8_t>((q & 15U) << (part < 2 ? 0 : 4));
    block[128 + half * 32 + l] |= static_cast<std::uint8_t>((q >> 4) << (2 * part));
    block[192 + i % 256 / 16] = static_cast<std::uint8_t>(i / 16 == 8 ? -5 : static_cast<int>(i % 256 / 16 + 1));
  }
  put_half(q6, 208, 0.1F);
  put_half(q6, 210 + 208, -3.0F);
  const auto y = run(table_of("reference"), &KernelTable::q6_k_to_f32, q6, 512);
  for (std::size_t i = 0; i < 512; ++i) {
    const float d = i < 256 ? core::f16_to_float(core::float_to_f16(0.1F)) : -3.0F;
    const float scale = i / 16 == 8 ? -5.0F : static_cast<float>(i % 256 / 16 + 1);
    EXPECT_EQ(y[i], (d * scale) * (static_cast<float>(i % 64) - 32.0F)) << i;
  }
}

class Blocks : public IsaTest {};

TEST_P(Blocks, EqualTheReferenceAtEveryLength) {
  Random random(5);
  for (const std::int64_t n : {32, 64, 96, 576, 2560}) {
    for (const auto& [entry, bytes, halves] :
         {std::tuple<Entry, std::size_t, std::size_t>{&KernelTable::q8_0_to_f32, 34, 1},
          {&KernelTable::q4_0_to_f32, 18, 1},
          {&KernelTable::q4_1_to_f32, 20, 2}}) {
      std::vector<std::uint8_t> row(static_cast<std::size_t>(n / 32) * bytes);
      for (auto& b : row) b = static_cast<std::uint8_t>(random.bits());
      for (std::size_t block = 0; block < row.size(); block += bytes) {
        const auto factors = random.f16_row(2);
        std::memcpy(row.data() + block, factors.data(), 2 * halves);
      }
      EXPECT_EQ(first_difference(run(fast(), entry, row, n), run(reference(), entry, row, n)), -1)
          << n << " values in blocks of " << bytes << " bytes";
    }
  }
  for (const std::int64_t n : {256, 768, 2560}) {
    std::vector<std::uint8_t> row(static_cast<std::size_t>(n / 256) * 210);
    for (auto& b : row) b = static_cast<std::uint8_t>(random.bits());
    for (std::size_t block = 0; block < row.size(); block += 210) {
      std::memcpy(row.data() + block + 208, random.f16_row(1).data(), 2);
    }
    const Entry entry = &KernelTable::q6_k_to_f32;
    EXPECT_EQ(first_difference(run(fast(), entry, row, n), run(reference(), entry, row, n)), -1) << n << " of q6_k";
  }
}

RPT_TEST_ON_EVERY_ISA(Blocks);

}  // namespace
}  // namespace rpt::kernels::test

// SPDX-License-Identifier: MIT
#pragma once
#include <gtest/gtest.h>

#include <bit>
#include <cstdint>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "rpt/kernels/isa.h"

namespace rpt::kernels::test {

/// Lengths around every lane and block border, and those of models.
inline const std::vector<std::int64_t> kLengths = {1,  3,  7,   8,   9,   15,  16,  17,  31,   32,   33,  63,
                                                   64, 65, 127, 128, 129, 255, 256, 257, 1000, 2560, 6912};

/// Every set above reference that this processor can run.
inline std::vector<std::string> vector_isas() {
  std::vector<std::string> names;
  for (const Isa& isa : list_isas()) {
    if (isa.supported && isa.name != "reference") names.push_back(isa.name);
  }
  return names;
}

/// The same with reference before them.
inline std::vector<std::string> all_isas() {
  auto names = vector_isas();
  names.insert(names.begin(), "reference");
  return names;
}

/// A test that runs once per vector set, with its table and that of the definition.
class IsaTest : public ::testing::TestWithParam<std::string> {
 protected:
  const KernelTable& fast() const { return table_of(GetParam()); }
  const KernelTable& reference() const { return table_of("reference"); }
};

/// Random numbers for kernels.
class Random {
 public:
  explicit Random(std::uint64_t seed) : engine_(seed) {}
  std::uint64_t bits() { return engine_(); }
  std::int64_t below(std::int64_t n) { return static_cast<std::int64_t>(engine_() % static_cast<std::uint64_t>(n)); }
  float uniform(float low, float high) { return low + (high - low) * (static_cast<float>(engine_() >> 40) * 0x1p-24F); }

  /// Mostly ordinary numbers; among them zeros of both signs, subnormals, numbers whose products vanish, and large
  /// ones.
  float awkward() {
    switch (below(12)) {
      case 0:
        return std::bit_cast<float>(static_cast<std::uint32_t>(bits()) & 0x80000000U);  // ±0
      case 1:
        return std::bit_cast<float>(static_cast<std::uint32_t>(bits()) & 0x807fffffU);  // subnormal
      case 2:
        return uniform(-1e-30F, 1e-30F);
      case 3:
        return uniform(-1e10F, 1e10F);
      case 4:
        return static_cast<float>(below(9) - 4) * 0.5F;  // ties
      default:
        return uniform(-4.0F, 4.0F);
    }
  }
  std::vector<float> awkward_row(std::int64_t n) {
    std::vector<float> row(static_cast<std::size_t>(n));
    for (float& x : row) x = awkward();
    return row;
  }
  std::vector<float> row(std::int64_t n, float low, float high) {
    std::vector<float> values(static_cast<std::size_t>(n));
    for (float& x : values) x = uniform(low, high);
    return values;
  }
  /// Finite binary16 bits of any kind, subnormals among them.
  std::vector<std::uint16_t> f16_row(std::int64_t n) {
    std::vector<std::uint16_t> row(static_cast<std::size_t>(n));
    for (auto& x : row) {
      do x = static_cast<std::uint16_t>(bits());
      while ((x & 0x7c00U) == 0x7c00U);
    }
    return row;
  }
  /// bfloat16 bits of awkward() numbers.
  std::vector<std::uint16_t> bf16_row(std::int64_t n) {
    std::vector<std::uint16_t> row(static_cast<std::size_t>(n));
    for (auto& x : row) x = static_cast<std::uint16_t>(std::bit_cast<std::uint32_t>(awkward()) >> 16);
    return row;
  }
  /// bfloat16 bits that stay finite as binary16: up to 2^15, down to where binary16 rounds to zero.
  std::vector<std::uint16_t> bf16_weights(std::int64_t n) {
    std::vector<std::uint16_t> row(static_cast<std::size_t>(n));
    for (auto& x : row) {
      const std::uint64_t b = bits();
      x = static_cast<std::uint16_t>((b & 0x807fU) | ((100U + (b >> 16) % 42U) << 7));
    }
    return row;
  }
  template <typename T>
  std::vector<T> integers(std::int64_t n) {
    std::vector<T> row(static_cast<std::size_t>(n));
    for (T& x : row) x = static_cast<T>(bits());
    return row;
  }

 private:
  std::mt19937_64 engine_;
};

/// The first place where the bits of two rows differ, or −1.
template <typename T>
std::int64_t first_difference(const std::vector<T>& a, const std::vector<T>& b) {
  if (a.size() != b.size()) return 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (std::memcmp(&a[i], &b[i], sizeof(T)) != 0) return static_cast<std::int64_t>(i);
  }
  return -1;
}

/// The same bits?
template <typename T>
bool same_bits(T a, T b) {
  return std::memcmp(&a, &b, sizeof(T)) == 0;
}

inline std::string isa_test_name(const ::testing::TestParamInfo<std::string>& info) {
  return info.param;
}

}  // namespace rpt::kernels::test

/// Runs the tests of a suite derived from IsaTest on every vector set of this processor (possibly none).
#define RPT_TEST_ON_EVERY_ISA(Suite)                                                           \
  GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(Suite);                                        \
  INSTANTIATE_TEST_SUITE_P(Isa, Suite, ::testing::ValuesIn(rpt::kernels::test::vector_isas()), \
                           rpt::kernels::test::isa_test_name)

// SPDX-License-Identifier: MIT
#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <vector>

#include "tests/unit/kernels/kernel_testing.h"

namespace rpt::kernels::test {
namespace {

using Entry = void (*KernelTable::*)(const TernaryGemm& a) noexcept;

/// One of the four layouts: its entry, what sizes it takes, how many bytes, how codes are packed (the tests' own way).
struct Layout {
  const char* name;
  Entry entry;
  std::int64_t column_multiple;
  std::int64_t row_multiple;
  std::int64_t (*bytes)(std::int64_t rows, std::int64_t columns);
  void (*put)(std::vector<std::uint8_t>& bytes, std::int64_t rows, std::int64_t columns, std::int64_t n, std::int64_t k,
              int code_plus_1);
};

std::uint8_t& at(std::vector<std::uint8_t>& bytes, std::int64_t i) {
  return bytes[static_cast<std::size_t>(i)];
}

void or_bits(std::uint8_t& byte, int code_plus_1, std::int64_t shift) {
  byte = static_cast<std::uint8_t>(byte | (code_plus_1 << shift));
}

void put_i2s(std::vector<std::uint8_t>& bytes, std::int64_t, std::int64_t columns, std::int64_t n, std::int64_t k,
             int c) {
  const std::int64_t block = n * ((columns + 127) / 128) + k / 128;
  or_bits(at(bytes, block * 32 + k % 32), c, 6 - k % 128 / 32 * 2);
}

void put_tq2(std::vector<std::uint8_t>& bytes, std::int64_t, std::int64_t columns, std::int64_t n, std::int64_t k,
             int c) {
  const std::int64_t block = n * (columns / 256) + k / 256;
  or_bits(at(bytes, block * 66 + k % 256 / 128 * 32 + k % 32), c, k % 128 / 32 * 2);
}

/// Puts a trit into a byte ceil(Σ t_i 3^(4−i) · 256 / 243): takes the byte apart and makes it anew.
void put_trit(std::uint8_t& byte, std::int64_t place, int t) {
  int value = byte * 243 / 256;
  int power = 1;
  for (std::int64_t i = place; i < 4; ++i) power *= 3;
  value += t * power;  // the digit was 0
  byte = static_cast<std::uint8_t>((value * 256 + 242) / 243);
}

void put_tq1(std::vector<std::uint8_t>& bytes, std::int64_t, std::int64_t columns, std::int64_t n, std::int64_t k,
             int c) {
  const std::int64_t block = (n * (columns / 256) + k / 256) * 54;
  const std::int64_t i = k % 256;
  if (i < 160) {
    put_trit(at(bytes, block + i % 32), i / 32, c);
  } else if (i < 240) {
    put_trit(at(bytes, block + 32 + (i - 160) % 16), (i - 160) / 16, c);
  } else {
    put_trit(at(bytes, block + 48 + i % 4), (i - 240) / 4, c);
  }
}

void put_hf2(std::vector<std::uint8_t>& bytes, std::int64_t rows, std::int64_t columns, std::int64_t n, std::int64_t k,
             int c) {
  or_bits(at(bytes, n % (rows / 4) * columns + k), c, n / (rows / 4) * 2);
}

const Layout kLayouts[] = {
    {"ternary2", &KernelTable::gemm_ternary2_int8, 1, 1,
     [](std::int64_t rows, std::int64_t columns) { return rows * ((columns + 127) / 128) * 32; }, put_i2s},
    {"tq2", &KernelTable::gemm_tq2_int8, 256, 1,
     [](std::int64_t rows, std::int64_t columns) { return rows * (columns / 256) * 66; }, put_tq2},
    {"tq1", &KernelTable::gemm_tq1_int8, 256, 1,
     [](std::int64_t rows, std::int64_t columns) { return rows * (columns / 256) * 54; }, put_tq1},
    {"hf2", &KernelTable::gemm_hf2_int8, 1, 4,
     [](std::int64_t rows, std::int64_t columns) { return rows / 4 * columns; }, put_hf2},
};

constexpr std::int32_t kUntouched = -1'234'567;

/// A product with operands in heap buffers of their exact sizes.
struct Problem {
  std::int64_t rows, columns, tokens, q_stride, acc_stride;
  std::vector<std::uint8_t> weights;
  std::vector<std::int8_t> q;
  std::vector<std::int32_t> q_sum;

  Problem(const Layout& layout, std::int64_t row_count, std::int64_t column_count, std::int64_t token_count)
      : rows(row_count),
        columns(column_count),
        tokens(token_count),
        q_stride((column_count + 127) / 128 * 128),
        acc_stride(row_count),
        weights(static_cast<std::size_t>(layout.bytes(row_count, column_count))) {
    q.resize(static_cast<std::size_t>(tokens * q_stride));
    q_sum.resize(static_cast<std::size_t>(tokens));
  }

  std::int8_t& q_at(std::int64_t t, std::int64_t k) { return q[static_cast<std::size_t>(t * q_stride + k)]; }

  /// Fills q below K by next() and sums it up.
  template <typename Next>
  void fill_q(const Next& next) {
    for (std::int64_t t = 0; t < tokens; ++t) {
      std::int32_t& sum = q_sum[static_cast<std::size_t>(t)] = 0;
      for (std::int64_t k = 0; k < columns; ++k) sum += q_at(t, k) = static_cast<std::int8_t>(next());
    }
  }

  /// acc of the rows [n_begin, n_end); the others keep kUntouched.
  std::vector<std::int32_t> run(const KernelTable& table, const Layout& layout, std::int64_t n_begin,
                                std::int64_t n_end) {
    std::vector<std::int32_t> acc(static_cast<std::size_t>(tokens * acc_stride), kUntouched);
    TernaryGemm a;
    a.weights = weights.data();
    a.rows = rows;
    a.columns = columns;
    a.n_begin = n_begin;
    a.n_end = n_end;
    a.q = q.data();
    a.q_stride = q_stride;
    a.q_sum = q_sum.data();
    a.tokens = tokens;
    a.acc = acc.data();
    a.acc_stride = acc_stride;
    (table.*layout.entry)(a);
    return acc;
  }
};

std::int64_t round_up(std::int64_t n, std::int64_t to) {
  return (n + to - 1) / to * to;
}

TEST(TernaryReference, EqualsTheSumOverExplicitCodes) {
  Random random(1);
  for (const Layout& layout : kLayouts) {
    for (const std::int64_t length : {1, 31, 129, 300, 1000}) {
      const std::int64_t columns = round_up(length, layout.column_multiple);
      const std::int64_t rows = round_up(6, layout.row_multiple);
      Problem p(layout, rows, columns, 3);
      p.fill_q([&] { return random.below(256) - 128; });
      std::vector<int> codes(static_cast<std::size_t>(rows * columns));
      for (std::int64_t i = 0; i < rows * columns; ++i) {
        codes[static_cast<std::size_t>(i)] = static_cast<int>(random.below(3)) - 1;
        layout.put(p.weights, rows, columns, i / columns, i % columns, codes[static_cast<std::size_t>(i)] + 1);
      }
      const auto acc = p.run(table_of("reference"), layout, 0, rows);
      for (std::int64_t t = 0; t < p.tokens; ++t) {
        for (std::int64_t n = 0; n < rows; ++n) {
          std::int64_t expected = 0;
          for (std::int64_t k = 0; k < columns; ++k) {
            expected += std::int64_t{codes[static_cast<std::size_t>(n * columns + k)]} * p.q_at(t, k);
          }
          ASSERT_EQ(acc[static_cast<std::size_t>(t * p.acc_stride + n)], expected)
              << layout.name << " K " << columns << " n " << n << " t " << t;
        }
      }
    }
  }
}

class Ternary : public IsaTest {
 protected:
  /// Random bytes, so that bits past K and the unused code are met too.
  void expect_reference(const Layout& layout, std::int64_t rows, std::int64_t columns, std::int64_t tokens,
                        std::int64_t n_begin, std::int64_t n_end) {
    Random random(static_cast<std::uint64_t>(rows * 1'000'003 + columns * 101 + tokens));
    Problem p(layout, rows, columns, tokens);
    p.weights = random.integers<std::uint8_t>(static_cast<std::int64_t>(p.weights.size()));
    p.fill_q([&] { return random.below(256) - 128; });
    const std::int64_t place =
        first_difference(p.run(fast(), layout, n_begin, n_end), p.run(reference(), layout, n_begin, n_end));
    EXPECT_EQ(place, -1) << layout.name << " N " << rows << " K " << columns << " T " << tokens << " rows " << n_begin
                         << " to " << n_end;
  }
};

TEST_P(Ternary, EveryLength) {
  for (const Layout& layout : kLayouts) {
    for (const std::int64_t length : kLengths) {
      const std::int64_t columns = round_up(length, layout.column_multiple);
      for (const std::int64_t tokens : {1, 2, 3, 4, 7}) expect_reference(layout, 8, columns, tokens, 0, 8);
    }
  }
}

TEST_P(Ternary, EveryNumberOfTokens) {
  for (const Layout& layout : kLayouts) {
    for (const std::int64_t columns : {256, 1280}) {
      for (const std::int64_t tokens : {1, 2, 3, 4, 5, 6, 7, 8, 9, 33})
        expect_reference(layout, 12, columns, tokens, 0, 12);
    }
  }
}

TEST_P(Ternary, EveryRangeOfRows) {
  for (const Layout& layout : kLayouts) {
    for (const std::int64_t tokens : {1, 2, 3, 5}) {
      for (std::int64_t begin = 0; begin < 12; ++begin) {
        for (std::int64_t end = begin; end <= 12; ++end) expect_reference(layout, 12, 256, tokens, begin, end);
      }
    }
  }
}

TEST_P(Ternary, RowsLongerThanAnyBlock) {
  for (const Layout& layout : kLayouts) {
    for (const std::int64_t tokens : {1, 3, 5}) expect_reference(layout, 4, 4096 * 2 + 256, tokens, 0, 4);
  }
}

TEST_P(Ternary, ExtremesDoNotOverflow) {
  constexpr std::int64_t kColumns = 6912;
  for (const Layout& layout : kLayouts) {
    for (const std::int64_t tokens : {1, 2, 3, 8}) {
      for (const int code : {-1, 0, 1}) {
        for (const int q : {-128, 127}) {
          Problem p(layout, 8, kColumns, tokens);
          for (std::int64_t n = 0; n < 8; ++n) {
            for (std::int64_t k = 0; k < kColumns; ++k) layout.put(p.weights, 8, kColumns, n, k, code + 1);
          }
          p.fill_q([&] { return q; });
          for (const std::int32_t acc : p.run(fast(), layout, 0, 8)) {
            ASSERT_EQ(acc, code * q * kColumns) << layout.name << " T " << tokens << " code " << code << " q " << q;
          }
        }
      }
    }
  }
}

TEST_P(Ternary, StridesMayBeWider) {
  Random random(9);
  for (const Layout& layout : kLayouts) {
    for (const std::int64_t tokens : {1, 2, 3, 9}) {
      Problem p(layout, 8, 256, tokens);
      p.q_stride = 256 + 64;
      p.acc_stride = 11;
      p.weights = random.integers<std::uint8_t>(static_cast<std::int64_t>(p.weights.size()));
      p.q.assign(static_cast<std::size_t>(tokens * p.q_stride), 99);  // what stands between the rows must not be read
      p.fill_q([&] { return random.below(256) - 128; });
      EXPECT_EQ(first_difference(p.run(fast(), layout, 1, 8), p.run(reference(), layout, 1, 8)), -1) << layout.name;
    }
  }
}

RPT_TEST_ON_EVERY_ISA(Ternary);

}  // namespace
}  // namespace rpt::kernels::test

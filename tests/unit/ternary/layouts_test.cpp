// SPDX-License-Identifier: MIT
#include "rpt/ternary/layouts.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "rpt/core/error.h"
#include "rpt/core/parallel.h"
#include "rpt/kernels/isa.h"
#include "tests/unit/ternary/samples.h"

namespace rpt::ternary {
namespace {

using tensor::DType;
using tensor::PackedTernaryView;

/// Shapes that every layout allows, then some that only i2_s and hf_packed do.
struct Shape {
  std::int64_t rows;
  std::int64_t columns;
};
constexpr Shape kShapes[] = {{4, 256}, {8, 512}, {12, 1024}, {4, 1}, {8, 127}, {4, 129}, {12, 100}, {4, 384}};

bool allows(DType type, Shape shape) {
  return (type != DType::tq1_0 && type != DType::tq2_0) || shape.columns % 256 == 0;
}

/// The byte of weight (n, k), by the words of the format: the weights that share it, first to last, and their number.
struct Place {
  std::int64_t byte;
  int index;  ///< of the weight among those of the byte
};

Place place_of(DType type, Shape shape, std::int64_t n, std::int64_t k) {
  switch (type) {
    case DType::i2_s:
      return {n * ((shape.columns + 127) / 128) * 32 + k / 128 * 32 + k % 32, static_cast<int>(k % 128 / 32)};
    case DType::tq2_0:
      return {(n * (shape.columns / 256) + k / 256) * 66 + k % 256 / 128 * 32 + k % 32, static_cast<int>(k % 128 / 32)};
    case DType::tq1_0: {
      const std::int64_t block = (n * (shape.columns / 256) + k / 256) * 54;
      const std::int64_t i = k % 256;
      if (i < 160) return {block + i % 32, static_cast<int>(i / 32)};
      if (i < 240) return {block + 32 + (i - 160) % 16, static_cast<int>((i - 160) / 16)};
      return {block + 48 + (i - 240) % 4, static_cast<int>((i - 240) / 4)};
    }
    default:
      return {n % (shape.rows / 4) * shape.columns + k, static_cast<int>(n / (shape.rows / 4))};
  }
}

/// What the formats say, weight by weight.
std::vector<std::uint8_t> pack_plainly(DType type, Shape shape, std::uint16_t d,
                                       const std::vector<std::int8_t>& codes) {
  std::vector<int> sums(packed_bytes(type, shape.rows, shape.columns));
  for (std::int64_t n = 0; n < shape.rows; ++n) {
    const std::int64_t padded = type == DType::i2_s ? (shape.columns + 127) / 128 * 128 : shape.columns;
    for (std::int64_t k = 0; k < padded; ++k) {
      const int digit = k < shape.columns ? codes.at(static_cast<std::size_t>(n * shape.columns + k)) + 1 : 1;
      const Place place = place_of(type, shape, n, k);
      const int powers[] = {81, 27, 9, 3, 1};
      const int factor = type == DType::i2_s    ? 64 >> (2 * place.index)
                         : type == DType::tq1_0 ? powers[place.index]
                                                : 1 << (2 * place.index);
      sums.at(static_cast<std::size_t>(place.byte)) += digit * factor;
    }
  }
  std::vector<std::uint8_t> bytes(sums.size());
  const std::size_t block = type == DType::tq1_0 ? 54 : 66;
  for (std::size_t i = 0; i < sums.size(); ++i) {
    const double byte = type == DType::tq1_0 ? std::ceil(sums[i] * 256.0 / 243.0) : sums[i];
    bytes[i] = static_cast<std::uint8_t>(byte);
    if (type != DType::tq1_0 && type != DType::tq2_0) continue;
    if (i % block == block - 2) bytes[i] = static_cast<std::uint8_t>(d & 0xff);
    if (i % block == block - 1) bytes[i] = static_cast<std::uint8_t>(d >> 8);
  }
  return bytes;
}

TEST(Layouts, SizesAreThoseOfTheFormats) {
  EXPECT_EQ(packed_bytes(DType::i2_s, 2560, 6912), 2560U * 6912 / 4);
  EXPECT_EQ(packed_bytes(DType::i2_s, 3, 129), 3U * 64);
  EXPECT_EQ(packed_bytes(DType::tq1_0, 640, 2560), 640U * 10 * 54);
  EXPECT_EQ(packed_bytes(DType::tq2_0, 640, 2560), 640U * 10 * 66);
  EXPECT_EQ(packed_bytes(DType::hf_packed, 8, 5), 10U);
}

TEST(Layouts, RefuseShapesTheyCannotHave) {
  constexpr std::int64_t kHuge = std::numeric_limits<std::int64_t>::max();
  EXPECT_THROW(packed_bytes(DType::tq1_0, 4, 128), ShapeError);
  EXPECT_THROW(packed_bytes(DType::tq2_0, 4, 257), ShapeError);
  EXPECT_THROW(packed_bytes(DType::hf_packed, 6, 128), ShapeError);
  EXPECT_THROW(packed_bytes(DType::f32, 4, 128), ShapeError);
  for (const DType type : kLayouts) {
    EXPECT_THROW(packed_bytes(type, 0, 256), ShapeError);
    EXPECT_THROW(packed_bytes(type, 4, -256), ShapeError);
    EXPECT_THROW(packed_bytes(type, std::int64_t{1} << 40, std::int64_t{1} << 40), ShapeError);
    EXPECT_THROW(packed_bytes(type, kHuge / 4 * 4, 256), ShapeError);
    EXPECT_THROW(packed_bytes(type, 4, kHuge / 256 * 256), ShapeError);
  }
}

TEST(Layouts, PackBytesCountedByHand) {
  // Weights 0, 32, 64, 96 of a row share the first byte: −1, 0, +1, −1 are 0, 1, 2, 0; all other weights are 0.
  std::vector<std::int8_t> codes(256, 0);
  codes[0] = -1;
  codes[64] = 1;
  codes[96] = -1;
  const auto i2s = pack(DType::i2_s, 1, 256, 1.0F, codes);
  EXPECT_EQ(i2s.view().data[0], 0b00'01'10'00);
  EXPECT_EQ(i2s.view().data[1], 0b01'01'01'01);
  const auto tq2 = pack(DType::tq2_0, 1, 256, 1.0F, codes);
  EXPECT_EQ(tq2.view().data[0], 0b00'10'01'00);
  EXPECT_EQ(tq2.view().data[64], 0x00);
  EXPECT_EQ(tq2.view().data[65], 0x3c) << "1 as f16 is 0x3c00";
  const auto tq1 = pack(DType::tq1_0, 1, 256, 1.0F, codes);
  EXPECT_EQ(tq1.view().data[0], 49) << "trits 0 1 2 0 1: 27 + 18 + 1 = 46; 46 · 256 / 243 = 48.5, rounded up";
  EXPECT_EQ(tq1.view().data[1], 128) << "trits 1 1 1 1 1: 121 · 256 / 243 = 127.5";
  EXPECT_EQ(tq1.view().data[51], 127) << "trits 1 1 1 1 and a 0: 120 · 256 / 243 = 126.4";
  EXPECT_EQ(tq1.view().data[53], 0x3c);
  const auto hf = pack(DType::hf_packed, 4, 2, 1.0F, std::vector<std::int8_t>{-1, 1, 0, 1, 1, 1, 0, -1});
  EXPECT_EQ(hf.view().data[0], 0b01'10'01'00);
  EXPECT_EQ(hf.view().data[1], 0b00'10'10'10);
}

TEST(Layouts, PackTheStoredVectors) {
  // Made with numpy from the codes w[j] = (j² + j/7 + j/32) mod 3 − 1 and the scale 0.75.
  std::vector<std::int8_t> codes(256);
  for (int j = 0; j < 256; ++j)
    codes[static_cast<std::size_t>(j)] = static_cast<std::int8_t>((j * j + j / 7 + j / 32) % 3 - 1);
  const auto packed_hex = [&](DType type) {
    const auto packed = pack(type, 1, 256, 0.75F, codes);
    return hex(packed.view().data, packed.view().bytes);
  };
  EXPECT_EQ(packed_hex(DType::i2_s),
            "0162481240581684905495a1649925a81a06892a0a0162481240581684905495916495a1681925a92a0689224a016058"
            "1240505684916495a1681925a92a0689");
  EXPECT_EQ(packed_hex(DType::tq1_0),
            "06966b2557852db7c87cd6e799de47f83611c2541c06966b2557852db7c87cd673b57dccc186f2dff94b37e95541ae6f"
            "b82310d4003a");
  EXPECT_EQ(packed_hex(DType::tq2_0),
            "40892184012594120615564a1966582aa49062a8a040892184012594120615564619564a2964586aa8906288a1400925"
            "84010595124619564a2964586aa89062003a");
}

TEST(Layouts, PackEveryWeightWhereTheFormatSays) {
  for (const DType type : kLayouts) {
    for (const Shape shape : kShapes) {
      if (!allows(type, shape)) continue;
      const auto codes = random_codes(shape.rows * shape.columns, static_cast<std::uint64_t>(shape.columns));
      const auto packed = pack(type, shape.rows, shape.columns, 0.625F, codes);
      const auto expected = pack_plainly(type, shape, core::float_to_f16(0.625F), codes);
      ASSERT_EQ(hex(packed.view().data, packed.view().bytes), hex(expected.data(), expected.size()))
          << tensor::name(type) << " [" << shape.rows << ", " << shape.columns << "]";
    }
  }
}

TEST(Layouts, RoundTripOverRandomShapes) {
  core::Random random(3);
  for (int i = 0; i < 60; ++i) {
    const DType type = kLayouts[random.below(4)];
    const bool tq = type == DType::tq1_0 || type == DType::tq2_0;
    const auto rows = static_cast<std::int64_t>((random.below(20) + 1) * (type == DType::hf_packed ? 4 : 1));
    const auto columns = static_cast<std::int64_t>(tq ? 256 * (random.below(4) + 1) : random.below(700) + 1);
    const auto codes = random_codes(rows * columns, random.next(), random.uniform());
    const auto packed = pack(type, rows, columns, 2.0F, codes);
    ASSERT_EQ(unpack(packed.view()), codes) << tensor::name(type) << " [" << rows << ", " << columns << "]";
    EXPECT_EQ(packed.view().scale, 2.0F);
    EXPECT_EQ(packed.view().type, type);
  }
}

TEST(Layouts, RepackBetweenAllPairs) {
  constexpr std::int64_t kRows = 16;
  constexpr std::int64_t kColumns = 512;
  const auto codes = random_codes(kRows * kColumns, 5);
  for (const DType from : kLayouts) {
    const auto source = pack(from, kRows, kColumns, 0.5F, codes);
    for (const DType to : kLayouts) {
      const auto packed = repack(source.view(), to);
      const auto direct = pack(to, kRows, kColumns, 0.5F, codes);
      EXPECT_EQ(packed.view().type, to);
      EXPECT_EQ(hex(packed.view().data, packed.view().bytes), hex(direct.view().data, direct.view().bytes))
          << tensor::name(from) << " to " << tensor::name(to);
    }
  }
  const auto odd = pack(DType::i2_s, 3, 100, 1.0F, random_codes(300, 1));
  EXPECT_THROW(repack(odd.view(), DType::tq2_0), ShapeError);
  EXPECT_THROW(repack(odd.view(), DType::hf_packed), ShapeError);
}

TEST(Layouts, DoNotDependOnTheNumberOfThreads) {
  constexpr std::int64_t kRows = 512;
  constexpr std::int64_t kColumns = 512;
  const auto codes = random_codes(kRows * kColumns, 6);
  for (const DType type : kLayouts) {
    core::set_threads(1);
    const auto one = pack(type, kRows, kColumns, 1.0F, codes);
    core::set_threads(3);
    const auto three = pack(type, kRows, kColumns, 1.0F, codes);
    EXPECT_TRUE(std::equal(one.view().data, one.view().data + one.view().bytes, three.view().data));
    EXPECT_EQ(unpack(three.view()), codes);
  }
  core::set_threads(0);
}

TEST(Layouts, HoldTheScaleExactlyOrRefuse) {
  const auto codes = random_codes(4 * 256, 7);
  const float third = 1.0F / 3.0F;
  EXPECT_EQ(pack(DType::i2_s, 4, 256, third, codes).view().scale, third);
  EXPECT_EQ(pack(DType::hf_packed, 4, 256, third, codes).view().scale, third);
  for (const DType type : {DType::tq1_0, DType::tq2_0}) {
    EXPECT_THROW(pack(type, 4, 256, third, codes), ConfigError);
    const auto rounded = pack(type, 4, 256, third, codes, true);
    EXPECT_EQ(rounded.view().scale, core::f16_to_float(core::float_to_f16(third)));
    EXPECT_THROW(pack(type, 4, 256, 65'520.0F, codes, true), ConfigError) << "infinite in f16";
    EXPECT_EQ(pack(type, 4, 256, 0x1p-24F, codes).view().scale, 0x1p-24F) << "a subnormal is exact";
  }
  for (const DType type : kLayouts) {
    EXPECT_THROW(pack(type, 4, 256, std::numeric_limits<float>::quiet_NaN(), codes, true), ConfigError);
    EXPECT_THROW(pack(type, 4, 256, std::numeric_limits<float>::infinity(), codes, true), ConfigError);
  }
}

TEST(Layouts, RefuseWhatIsNoCode) {
  for (const DType type : kLayouts) {
    for (const int wrong : {2, -2, 127, -128}) {
      auto codes = random_codes(4 * 256, 8);
      codes[700] = static_cast<std::int8_t>(wrong);
      EXPECT_THROW(pack(type, 4, 256, 1.0F, codes), LogicError);
    }
    EXPECT_THROW(pack(type, 4, 256, 1.0F, random_codes(4 * 256 - 1, 8)), LogicError);
  }
}

TEST(Layouts, UnpackRefusesWhatDoesNotFit) {
  for (const DType type : kLayouts) {
    const auto packed = pack(type, 4, 256, 1.0F, random_codes(4 * 256, 9));
    std::vector<std::int8_t> codes(256);
    EXPECT_NO_THROW(unpack_row(packed.view(), 3, codes));
    EXPECT_THROW(unpack_row(packed.view(), 4, codes), ShapeError);
    EXPECT_THROW(unpack_row(packed.view(), -1, codes), ShapeError);
    codes.resize(255);
    EXPECT_THROW(unpack_row(packed.view(), 0, codes), ShapeError);
    PackedTernaryView cut = packed.view();
    --cut.bytes;
    EXPECT_THROW(unpack(cut), ShapeError);
    EXPECT_THROW(repack(cut, DType::i2_s), ShapeError);
  }
}

TEST(Layouts, UnpackEveryByteOfBase3IntoCodes) {
  std::vector<std::uint8_t> bytes(54);
  const PackedTernaryView view{bytes.data(), bytes.size(), DType::tq1_0, 1, 256, 1.0F};
  for (int byte = 0; byte < 256; ++byte) {
    std::fill(bytes.begin(), bytes.end(), static_cast<std::uint8_t>(byte));
    const auto codes = unpack(view);
    EXPECT_TRUE(std::all_of(codes.begin(), codes.end(), [](int code) { return code >= -1 && code <= 1; })) << byte;
  }
}

TEST(Layouts, AreThoseOfTheKernels) {
  const auto& kernels = kernels::active();
  for (const DType type : kLayouts) {
    for (const Shape shape : kShapes) {
      if (!allows(type, shape)) continue;
      const auto codes = random_codes(shape.rows * shape.columns, 10);
      const auto packed = pack(type, shape.rows, shape.columns, 1.0F, codes);
      const std::int64_t stride = (shape.columns + 127) / 128 * 128;
      core::AlignedBuffer<std::int8_t> q(static_cast<std::size_t>(stride));
      core::Random random(11);
      std::int32_t q_sum = 0;
      for (std::int64_t k = 0; k < shape.columns; ++k) {
        q[static_cast<std::size_t>(k)] = static_cast<std::int8_t>(static_cast<int>(random.below(256)) - 128);
        q_sum += q[static_cast<std::size_t>(k)];
      }
      std::vector<std::int32_t> acc(static_cast<std::size_t>(shape.rows));
      const kernels::TernaryGemm job{packed.view().data, shape.rows, shape.columns, 0, shape.rows,
                                     q.data(),           stride,     &q_sum,        1, acc.data(),
                                     shape.rows};
      (type == DType::i2_s    ? kernels.gemm_ternary2_int8
       : type == DType::tq1_0 ? kernels.gemm_tq1_int8
       : type == DType::tq2_0 ? kernels.gemm_tq2_int8
                              : kernels.gemm_hf2_int8)(job);
      for (std::int64_t n = 0; n < shape.rows; ++n) {
        std::int32_t expected = 0;
        for (std::int64_t k = 0; k < shape.columns; ++k) {
          expected += codes[static_cast<std::size_t>(n * shape.columns + k)] * q[static_cast<std::size_t>(k)];
        }
        ASSERT_EQ(acc[static_cast<std::size_t>(n)], expected)
            << tensor::name(type) << " [" << shape.rows << ", " << shape.columns << "] row " << n;
      }
    }
  }
}

}  // namespace
}  // namespace rpt::ternary

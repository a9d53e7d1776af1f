// SPDX-License-Identifier: MIT
#include "rpt/io/gguf_writer.h"

#include <array>
#include <limits>
#include <vector>

#include "rpt/io/gguf.h"
#include "tests/unit/io/io_test_support.h"

namespace rpt::io {
namespace {

using tensor::DType;
using test::as_text;
using test::Bytes;
using test::expect_error;
using test::read_whole_file;
using test::TemporaryFolder;

TEST(GgufWrite, GoldenBytes) {
  const TemporaryFolder folder;
  const std::array<float, 3> norm = {1.0F, -2.0F, 0.5F};
  const std::string codes(32, '\x55');
  const float scale = 0.25F;
  {
    GgufWriter writer(folder / "g.gguf");
    writer.set_string("general.architecture", "bitnet");
    writer.set_u32("n", 3);
    writer.set_strings("texts", std::vector<std::string>{"a", "", "bcd"});
    writer.set_f32s("floats", std::array{0.5F, -1.0F});
    writer.set_bool("flag", true);
    writer.declare("norm", DType::f32, {3});
    writer.declare("w", DType::i2_s, {128, 1});
    writer.begin_tensor("norm");
    writer.write(norm.data(), sizeof norm);
    writer.begin_tensor("w");
    writer.write(codes.data(), 20);
    writer.write(codes.data() + 20, 12);
    writer.write(&scale, sizeof scale);
    writer.commit();
  }
  Bytes golden;
  golden.raw("GGUF").u32(3).u64(2).u64(5);
  golden.str("general.architecture").u32(8).str("bitnet");
  golden.str("n").u32(4).u32(3);
  golden.str("texts").u32(9).u32(8).u64(3).str("a").str("").str("bcd");
  golden.str("floats").u32(9).u32(6).u64(2).f32(0.5F).f32(-1.0F);
  golden.str("flag").u32(7).u8(1);
  golden.str("norm").u32(1).u64(3).u32(0).u64(0);
  golden.str("w").u32(2).u64(128).u64(1).u32(36).u64(32);
  golden.pad(32);
  golden.f32(1.0F).f32(-2.0F).f32(0.5F).zeros(20);
  golden.raw(codes).f32(0.25F).zeros(28);
  EXPECT_EQ(read_whole_file(folder / "g.gguf"), golden.data);
}

TEST(GgufWrite, EveryKeyTypeComesBack) {
  const TemporaryFolder folder;
  GgufWriter writer(folder / "k.gguf");
  writer.set_u8("u8", 200);
  writer.set_i8("i8", -100);
  writer.set_u16("u16", 60000);
  writer.set_i16("i16", -30000);
  writer.set_u32("u32", 4000000000U);
  writer.set_i32("i32", -2000000000);
  writer.set_u64("u64", ~std::uint64_t{0});
  writer.set_i64("i64", std::numeric_limits<std::int64_t>::min());
  writer.set_f32("f32", 1e-5F);
  writer.set_f64("f64", 2.5);
  writer.set_bool("bool", false);
  writer.set_string("string", "text");
  writer.set_strings("strings", std::vector<std::string_view>{"x", "yz"});
  writer.set_f32s("f32s", std::vector<float>{1, 2, 3});
  writer.set_i32s("i32s", std::vector<std::int32_t>{-1, 1});
  writer.set_u32s("u32s", std::vector<std::uint32_t>{7, 8});
  writer.set_i32s("none", {});
  writer.commit();

  const auto file = GgufFile::open(folder / "k.gguf");
  EXPECT_EQ(file.get_u32("u8"), 200U);
  EXPECT_EQ(file.get_i64("i8"), -100);
  EXPECT_EQ(file.get_u32("u16"), 60000U);
  EXPECT_EQ(file.get_i64("i16"), -30000);
  EXPECT_EQ(file.get_u32("u32"), 4000000000U);
  EXPECT_EQ(file.get_i64("i32"), -2000000000);
  EXPECT_EQ(file.get_u64("u64"), ~std::uint64_t{0});
  EXPECT_EQ(file.get_i64("i64"), std::numeric_limits<std::int64_t>::min());
  EXPECT_EQ(file.get_f32("f32"), 1e-5F);
  EXPECT_EQ(load<double>(file.find("f64")->data.data()), 2.5);
  EXPECT_FALSE(file.get_bool("bool"));
  EXPECT_EQ(file.get_string("string"), "text");
  EXPECT_EQ(file.get_strings("strings"), (std::vector<std::string_view>{"x", "yz"}));
  EXPECT_EQ(file.get_f32s("f32s"), (std::vector<float>{1, 2, 3}));
  EXPECT_EQ(file.get_i32s("i32s"), (std::vector<std::int32_t>{-1, 1}));
  EXPECT_EQ(file.get_i32s("u32s"), (std::vector<std::int32_t>{7, 8}));
  EXPECT_TRUE(file.get_i32s("none").empty());
  EXPECT_EQ(file.entries().size(), 17U);
  EXPECT_EQ(file.entries()[3].key, "i16") << "the order is that of the calls";
}

/// Bytes that write() takes for a tensor.
std::size_t payload(DType type, const std::vector<std::int64_t>& ne) {
  return static_cast<std::size_t>(gguf_tensor_bytes(type, ne).value()) - (type == DType::i2_s ? 28 : 0);
}

class GgufRoundTrip : public ::testing::TestWithParam<std::uint32_t> {};

TEST_P(GgufRoundTrip, TensorsOfEveryType) {
  const TemporaryFolder folder;
  const std::vector<DType> types = {DType::f32,   DType::f16,   DType::bf16, DType::i8,   DType::i32,
                                    DType::i64,   DType::f64,   DType::q8_0, DType::q4_0, DType::q4_1,
                                    DType::tq1_0, DType::tq2_0, DType::q6_k, DType::i2_s};
  const std::vector<std::int64_t> ne = {256, 3};
  GgufWriter writer(folder / "t.gguf", GetParam());
  for (const DType type : types) writer.declare(std::string(tensor::name(type)), type, ne);
  writer.declare("odd", DType::i8, {5});
  std::vector<std::string> contents;
  for (const DType type : types) {
    contents.emplace_back(payload(type, ne), static_cast<char>('A' + contents.size()));
    writer.begin_tensor(tensor::name(type));
    writer.write(contents.back().data(), contents.back().size());
  }
  writer.begin_tensor("odd");
  writer.write("12345", 5);
  writer.commit();

  const auto file = GgufFile::open(folder / "t.gguf");
  EXPECT_EQ(file.alignment(), GetParam());
  EXPECT_EQ(file.contains("general.alignment"), GetParam() != 32);
  ASSERT_EQ(file.tensors().size(), types.size() + 1);
  for (std::size_t i = 0; i < types.size(); ++i) {
    const auto& tensor = file.tensors()[i];
    EXPECT_EQ(tensor.type, types[i]);
    EXPECT_EQ(tensor.ne, ne);
    EXPECT_EQ(tensor.offset % GetParam(), 0U);
    EXPECT_EQ(as_text(tensor.data).substr(0, contents[i].size()), contents[i]);
  }
  EXPECT_EQ(as_text(file.find_tensor("i2_s")->data.last(28)), std::string(28, '\0'));
  EXPECT_EQ(as_text(file.find_tensor("odd")->data), "12345");
  EXPECT_EQ(std::filesystem::file_size(folder / "t.gguf") % GetParam(), 0U) << "padded behind the last tensor too";
}

INSTANTIATE_TEST_SUITE_P(Alignments, GgufRoundTrip, ::testing::Values(8U, 32U, 64U, 65536U));

TEST(GgufWrite, SealedFileCanBeReadBeforeItIsPublished) {
  const TemporaryFolder folder;
  GgufWriter writer(folder / "s.gguf");
  writer.declare("a", DType::i8, {4});
  writer.begin_tensor("a");
  writer.write("abcd", 4);
  EXPECT_EQ(as_text(GgufFile::open(writer.seal()).find_tensor("a")->data), "abcd");
  EXPECT_FALSE(std::filesystem::exists(folder / "s.gguf"));
  writer.commit();
  EXPECT_TRUE(std::filesystem::exists(folder / "s.gguf"));
}

TEST(GgufWrite, AbandonedFilesVanish) {
  const TemporaryFolder folder;
  {
    GgufWriter writer(folder / "x.gguf");
    writer.declare("a", DType::i8, {4});
    writer.begin_tensor("a");
  }
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

TEST(GgufWrite, RefusesShapesAndTypesThatCannotBeStored) {
  const TemporaryFolder folder;
  GgufWriter writer(folder / "x.gguf");
  expect_error<ShapeError>([&] { writer.declare("w", DType::i2_s, {64, 2}); }, {"tensor w", "64", "i2_s", "128"});
  expect_error<ShapeError>([&] { writer.declare("w", DType::tq1_0, {128, 2}); }, {"tensor w", "128", "tq1_0", "256"});
  expect_error<ShapeError>([&] { writer.declare("w", DType::f32, {0}); }, {"tensor w", "extent 0"});
  expect_error<ShapeError>([&] { writer.declare("w", DType::f32, {std::int64_t{1} << 62}); }, {"tensor w", "64 bits"});
  expect_error<ConfigError>([&] { writer.declare("w", DType::u8, {4}); }, {"tensor w", "u8"});
  expect_error<ConfigError>([&] { writer.declare("w", DType::hf_packed, {4}); }, {"tensor w", "hf_packed"});
  EXPECT_NO_THROW(writer.declare("w", DType::f32, {4})) << "a refused tensor leaves no trace";
}

TEST(GgufWrite, MisuseIsAProgrammerError) {
  const TemporaryFolder folder;
  EXPECT_THROW(GgufWriter(folder / "y.gguf", 48), LogicError);
  GgufWriter writer(folder / "x.gguf");
  writer.set_u32("k", 1);
  EXPECT_THROW(writer.set_f32("k", 1), LogicError);
  EXPECT_THROW(writer.declare("w", DType::f32, {}), LogicError);
  EXPECT_THROW(writer.declare("w", DType::f32, {1, 1, 1, 1, 1}), LogicError);
  writer.declare("a", DType::i8, {4});
  writer.declare("b", DType::i8, {4});
  EXPECT_THROW(writer.declare("a", DType::f32, {1}), LogicError);
  EXPECT_THROW(writer.write("x", 1), LogicError);
  EXPECT_THROW(writer.begin_tensor("b"), LogicError);
  writer.begin_tensor("a");
  EXPECT_THROW(writer.set_u32("late", 1), LogicError);
  EXPECT_THROW(writer.declare("late", DType::i8, {4}), LogicError);
  EXPECT_THROW(writer.write("12345", 5), LogicError);
  writer.write("123", 3);
  EXPECT_THROW(writer.begin_tensor("b"), LogicError) << "a is not complete";
  EXPECT_THROW(writer.commit(), LogicError);
  writer.write("4", 1);
  EXPECT_THROW(writer.commit(), LogicError) << "b is missing";
}

}  // namespace
}  // namespace rpt::io

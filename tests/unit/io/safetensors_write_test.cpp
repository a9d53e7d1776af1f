// SPDX-License-Identifier: MIT
#include "rpt/io/safetensors_writer.h"

#include "rpt/io/safetensors.h"
#include "tests/unit/io/safetensors_test_support.h"

namespace rpt::io {
namespace {

using tensor::DType;
using test::as_text;
using test::Bytes;
using test::expect_error;
using test::read_whole_file;
using test::TemporaryFolder;

TEST(SafetensorsWrite, GoldenBytes) {
  const TemporaryFolder folder;
  SafetensorsWriter writer(folder / "g.safetensors");
  writer.set_metadata("made", "by \"hand\"");
  writer.declare("w", DType::bf16, {2, 3});
  writer.declare("s", DType::u8, {});
  writer.begin_tensor("w");
  writer.write("abcdef", 6);
  writer.write("ghijkl", 6);
  writer.begin_tensor("s");
  writer.write("m", 1);
  writer.commit();

  std::string header = R"({"__metadata__":{"format":"pt","made":"by \"hand\""},)"
                       R"("w":{"dtype":"BF16","shape":[2,3],"data_offsets":[0,12]},)"
                       R"("s":{"dtype":"U8","shape":[],"data_offsets":[12,13]}})";
  header.append((8 - header.size() % 8) % 8, ' ');
  EXPECT_EQ(read_whole_file(folder / "g.safetensors"), Bytes().str(header).raw("abcdefghijklm").data);
}

TEST(SafetensorsWrite, TensorsOfEveryTypeComeBack) {
  const TemporaryFolder folder;
  const std::vector<DType> types = {DType::f64, DType::i64,  DType::f32, DType::i32,
                                    DType::f16, DType::bf16, DType::u8,  DType::i8};
  SafetensorsWriter writer(folder / "t.safetensors");
  for (const DType type : types) writer.declare(std::string(tensor::name(type)), type, {3, 1, 5});
  std::vector<std::string> contents;
  for (const DType type : types) {
    contents.emplace_back(15 * static_cast<std::size_t>(tensor::element_size(type)),
                          static_cast<char>('A' + contents.size()));
    writer.begin_tensor(tensor::name(type));
    writer.write(contents.back().data(), contents.back().size());
  }
  EXPECT_EQ(SafetensorsFile::open(writer.seal()).tensors().size(), types.size()) << "readable before it is published";
  EXPECT_FALSE(std::filesystem::exists(folder / "t.safetensors"));
  writer.commit();

  const auto file = SafetensorsFile::open(folder / "t.safetensors");
  ASSERT_EQ(file.tensors().size(), types.size());
  for (std::size_t i = 0; i < types.size(); ++i) {
    const auto& tensor = file.tensors()[i];
    EXPECT_EQ(tensor.name, tensor::name(types[i]));
    EXPECT_EQ(tensor.type, types[i]);
    EXPECT_EQ(tensor.shape, (std::vector<std::int64_t>{3, 1, 5}));
    EXPECT_EQ(as_text(tensor.data), contents[i]);
    EXPECT_TRUE(tensor.aligned());
  }
}

TEST(SafetensorsWrite, EmptyFilesAndEmptyTensors) {
  const TemporaryFolder folder;
  SafetensorsWriter(folder / "e.safetensors").commit();
  EXPECT_TRUE(SafetensorsFile::open(folder / "e.safetensors").tensors().empty());
  SafetensorsWriter writer(folder / "z.safetensors");
  writer.declare("z", DType::f32, {0, 7});
  writer.begin_tensor("z");
  writer.commit();
  EXPECT_EQ(SafetensorsFile::open(folder / "z.safetensors").find("z")->elements(), 0);
}

TEST(SafetensorsWrite, NamesAreEscaped) {
  const TemporaryFolder folder;
  const std::string name = "quote\" back\\ line\n \xc3\xa9";
  SafetensorsWriter writer(folder / "n.safetensors");
  writer.declare(name, DType::u8, {1});
  writer.begin_tensor(name);
  writer.write("x", 1);
  writer.commit();
  EXPECT_NE(SafetensorsFile::open(folder / "n.safetensors").find(name), nullptr);
}

TEST(SafetensorsWrite, AbandonedFilesVanish) {
  const TemporaryFolder folder;
  {
    SafetensorsWriter writer(folder / "x.safetensors");
    writer.declare("a", DType::i8, {4});
    writer.begin_tensor("a");
  }
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

TEST(SafetensorsWrite, RefusesWhatTheFormatCannotHold) {
  const TemporaryFolder folder;
  SafetensorsWriter writer(folder / "x.safetensors");
  expect_error<ConfigError>([&] { writer.declare("w", DType::i2_s, {128}); }, {"tensor w", "i2_s"});
  constexpr std::int64_t kBig = std::int64_t{1} << 62;
  expect_error<ShapeError>([&] { writer.declare("w", DType::f32, {kBig}); }, {"tensor w", "64 bits"});
  writer.declare("odd", DType::u8, {3});
  expect_error<ShapeError>([&] { writer.declare("w", DType::f32, {1}); },
                           {"tensor w", "offset 3", "wider types first"});
  EXPECT_NO_THROW(writer.declare("w", DType::u8, {1})) << "a refused tensor leaves no trace";
}

TEST(SafetensorsWrite, RefusesNamesThatAreNoUtf8) {
  const TemporaryFolder folder;
  SafetensorsWriter writer(folder / "x.safetensors");
  writer.declare("\xff", DType::u8, {1});
  expect_error<ConfigError>([&] { writer.begin_tensor("\xff"); }, {"UTF-8"});
}

TEST(SafetensorsWrite, MisuseIsAProgrammerError) {
  const TemporaryFolder folder;
  SafetensorsWriter writer(folder / "x.safetensors");
  EXPECT_THROW(writer.declare("n", DType::u8, {-1}), LogicError);
  EXPECT_THROW(writer.declare("__metadata__", DType::u8, {1}), LogicError);
  writer.declare("a", DType::u8, {4});
  writer.declare("b", DType::u8, {4});
  EXPECT_THROW(writer.declare("a", DType::u8, {4}), LogicError);
  EXPECT_THROW(writer.write("x", 1), LogicError);
  EXPECT_THROW(writer.begin_tensor("b"), LogicError);
  writer.begin_tensor("a");
  EXPECT_THROW(writer.set_metadata("k", "v"), LogicError);
  EXPECT_THROW(writer.declare("late", DType::u8, {4}), LogicError);
  EXPECT_THROW(writer.write("12345", 5), LogicError);
  writer.write("123", 3);
  EXPECT_THROW(writer.begin_tensor("b"), LogicError) << "a is not complete";
  writer.write("4", 1);
  EXPECT_THROW(writer.commit(), LogicError) << "b is missing";
}

}  // namespace
}  // namespace rpt::io

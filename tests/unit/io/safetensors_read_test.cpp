// SPDX-License-Identifier: MIT
#include <sys/resource.h>

#include <utility>

#include "rpt/io/safetensors.h"
#include "tests/shared_data.h"
#include "tests/unit/io/safetensors_test_support.h"

namespace rpt::io {
namespace {

using tensor::DType;
using test::as_bytes;
using test::as_text;
using test::Bytes;
using test::expect_error;
using test::hand_made_safetensors;
using test::TemporaryFolder;
using test::write_file;

constexpr std::string_view kHeader = R"({"b":{"dtype":"F32","shape":[2,3],"data_offsets":[8,32]},)"
                                     R"("__metadata__":{"format":"pt","note":"x"},)"
                                     R"("a":{"data_offsets":[0,8],"shape":[4],"dtype":"BF16"},)"
                                     R"("scalar":{"dtype":"U8","shape":[],"data_offsets":[32,33]},)"
                                     R"("nothing":{"dtype":"I64","shape":[5,0],"data_offsets":[8,8]}}   )";

TEST(SafetensorsRead, TensorsInTheOrderOfTheirData) {
  const std::string bytes = hand_made_safetensors(kHeader, 33);
  const auto file = SafetensorsFile::parse(as_bytes(bytes), "x.safetensors");
  EXPECT_EQ(file.name(), "x.safetensors");
  EXPECT_EQ(file.metadata(), (std::map<std::string, std::string>{{"format", "pt"}, {"note", "x"}}));
  ASSERT_EQ(file.tensors().size(), 4U);
  EXPECT_EQ(file.tensors()[0].name, "a");
  EXPECT_EQ(file.tensors()[1].name, "nothing");
  EXPECT_EQ(file.tensors()[2].name, "b");
  EXPECT_EQ(file.tensors()[3].name, "scalar");

  const auto* b = file.find("b");
  ASSERT_NE(b, nullptr);
  EXPECT_EQ(b->type, DType::f32);
  EXPECT_EQ(b->shape, (std::vector<std::int64_t>{2, 3}));
  EXPECT_EQ(b->elements(), 6);
  EXPECT_EQ(b->offset, 8 + kHeader.size() + 8);
  EXPECT_EQ(as_text(b->data), std::string_view(bytes).substr(b->offset, 24));
  EXPECT_EQ(b->data[0], std::byte{8});
  EXPECT_EQ(file.find("scalar")->elements(), 1);
  EXPECT_EQ(file.find("nothing")->elements(), 0);
  EXPECT_EQ(file.find("c"), nullptr);
}

TEST(SafetensorsRead, EveryDtype) {
  const std::pair<const char*, DType> dtypes[] = {{"F64", DType::f64},   {"F32", DType::f32}, {"F16", DType::f16},
                                                  {"BF16", DType::bf16}, {"I64", DType::i64}, {"I32", DType::i32},
                                                  {"I8", DType::i8},     {"U8", DType::u8}};
  for (const auto& [name, type] : dtypes) {
    const auto size = static_cast<std::size_t>(tensor::element_size(type)) * 2;
    const auto header = fmt::format(R"({{"t":{{"dtype":"{}","shape":[2],"data_offsets":[0,{}]}}}})", name, size);
    const std::string bytes = hand_made_safetensors(header, size);
    EXPECT_EQ(SafetensorsFile::parse(as_bytes(bytes), "x").tensors()[0].type, type);
  }
}

TEST(SafetensorsRead, EmptyHeaderHoldsNothing) {
  const std::string bytes = hand_made_safetensors("{}", 0);
  const auto file = SafetensorsFile::parse(as_bytes(bytes), "x");
  EXPECT_TRUE(file.tensors().empty());
  EXPECT_TRUE(file.metadata().empty());
}

TEST(SafetensorsRead, TellsWhetherDataAreAligned) {
  // The header is not padded: what follows a length of 8 and a text of odd length begins at an odd offset.
  const std::string header = R"({"t":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})";
  ASSERT_EQ(header.size() % 4, 2U);
  const TemporaryFolder folder;
  write_file(folder / "odd", hand_made_safetensors(header, 4));
  write_file(folder / "even", hand_made_safetensors(header + "  ", 4));
  EXPECT_FALSE(SafetensorsFile::open(folder / "odd").tensors()[0].aligned());
  EXPECT_TRUE(SafetensorsFile::open(folder / "even").tensors()[0].aligned());
}

TEST(SafetensorsRead, OpensAFileAndSurvivesMoves) {
  const TemporaryFolder folder;
  write_file(folder / "m.safetensors", hand_made_safetensors(kHeader, 33));
  auto file = SafetensorsFile::open(folder / "m.safetensors");
  SafetensorsFile moved(std::move(file));
  EXPECT_EQ(moved.find("scalar")->data[0], std::byte{32});
  expect_error<IoError>([&] { SafetensorsFile::open(folder / "missing"); }, {"missing"});
}

TEST(SafetensorsRead, OpeningDoesNotTouchData) {
  constexpr std::uint64_t kBytes = std::uint64_t{1} << 32;  // reading the hole would fault a million pages in
  const std::string header = fmt::format(R"({{"t":{{"dtype":"U8","shape":[{0}],"data_offsets":[0,{0}]}}}})", kBytes);
  const TemporaryFolder folder;
  write_file(folder / "big", hand_made_safetensors(header, 0));
  std::filesystem::resize_file(folder / "big", 8 + header.size() + kBytes);
  rusage before{};
  rusage after{};
  ::getrusage(RUSAGE_SELF, &before);
  const auto file = SafetensorsFile::open(folder / "big");
  ::getrusage(RUSAGE_SELF, &after);
  EXPECT_EQ(file.tensors()[0].data.size(), kBytes);
  EXPECT_LT(after.ru_minflt + after.ru_majflt - before.ru_minflt - before.ru_majflt, 2000);
}

TEST(SafetensorsFixtures, Seedling) {
  RPT_NEEDS_SHARED("data/models/seedling/model.safetensors");
  const auto directory = SafetensorsDirectory::open(test::shared("data/models/seedling"));
  ASSERT_EQ(directory.files().size(), 1U);
  EXPECT_EQ(directory.files()[0].metadata().at("format"), "pt");
  const auto* embedding = directory.find("model.embed_tokens.weight");
  ASSERT_NE(embedding, nullptr);
  EXPECT_EQ(embedding->type, DType::bf16);
  EXPECT_EQ(embedding->shape, (std::vector<std::int64_t>{4096, 256}));
  EXPECT_EQ(embedding->data.size(), 4096U * 256 * 2);
  const auto* down = directory.find("model.layers.0.mlp.down_proj.weight");
  ASSERT_NE(down, nullptr);
  EXPECT_EQ(down->shape, (std::vector<std::int64_t>{256, 768}));
  EXPECT_EQ(down->offset, 2102624U);
  EXPECT_TRUE(down->aligned());
}

}  // namespace
}  // namespace rpt::io

// SPDX-License-Identifier: MIT
#include <sys/resource.h>

#include <utility>
#include <vector>

#include "rpt/io/gguf.h"
#include "tests/shared_data.h"
#include "tests/unit/io/gguf_test_support.h"

namespace rpt::io {
namespace {

using tensor::DType;
using test::as_bytes;
using test::as_text;
using test::Bytes;
using test::expect_error;
using test::HandMadeGguf;
using test::TemporaryFolder;
using test::write_file;

TEST(GgufRead, KeysTensorsAndData) {
  const std::string bytes = HandMadeGguf().file();
  const auto file = GgufFile::parse(as_bytes(bytes), "x.gguf");
  EXPECT_EQ(file.name(), "x.gguf");
  EXPECT_EQ(file.version(), 3U);
  EXPECT_EQ(file.alignment(), 32U);
  EXPECT_EQ(file.get_string("general.architecture"), "test");
  EXPECT_EQ(file.get_u32("test.block_count"), 7U);
  EXPECT_EQ(file.entries().size(), 2U);

  ASSERT_EQ(file.tensors().size(), 2U);
  const auto& a = file.tensors()[0];
  EXPECT_EQ(a.name, "a");
  EXPECT_EQ(a.type, DType::f32);
  EXPECT_EQ(a.columns(), 8);
  EXPECT_EQ(a.rows(), 3);
  EXPECT_EQ(a.elements(), 24);
  EXPECT_EQ(a.offset % 32, 0U);
  ASSERT_EQ(a.data.size(), 96U);
  EXPECT_EQ(as_text(a.data), std::string_view(bytes).substr(a.offset, 96));
  EXPECT_EQ(a.data[5], std::byte{5});

  const auto* b = file.find_tensor("b");
  ASSERT_EQ(b, &file.tensors()[1]);
  EXPECT_EQ(b->type, DType::i2_s);
  EXPECT_EQ(b->rows(), 1);
  EXPECT_EQ(b->data.size(), 128U / 4 + 32);
  EXPECT_EQ(b->data[0], std::byte{96});
  EXPECT_EQ(file.find_tensor("c"), nullptr);
  EXPECT_EQ(file.find_tensor(""), nullptr);
}

TEST(GgufRead, OpensAFileAndSurvivesMoves) {
  const TemporaryFolder folder;
  write_file(folder / "m.gguf", HandMadeGguf().file());
  auto file = GgufFile::open(folder / "m.gguf");
  GgufFile moved(std::move(file));
  file = std::move(moved);
  EXPECT_EQ(file.get_string("general.architecture"), "test");
  EXPECT_EQ(file.find_tensor("a")->data[95], std::byte{95});
  EXPECT_EQ(file.name(), (folder / "m.gguf").string());
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(file.find_tensor("b")->data.data()) % 32, 0U);
  expect_error<IoError>([&] { GgufFile::open(folder / "missing.gguf"); }, {"missing.gguf"});
}

TEST(GgufRead, AcceptsVersion2AndOtherAlignments) {
  HandMadeGguf parts;
  parts.version = 2;
  parts.keys.push_back(HandMadeGguf::u32_key("general.alignment", 128));
  parts.key_count = 3;
  parts.alignment = 128;
  parts.records[1].offset = 128;
  parts.data_bytes = 128 + 64;
  const std::string bytes = parts.file();
  const auto file = GgufFile::parse(as_bytes(bytes), "x");
  EXPECT_EQ(file.version(), 2U);
  EXPECT_EQ(file.alignment(), 128U);
  EXPECT_EQ(file.find_tensor("b")->data[0], std::byte{128});
}

TEST(GgufRead, AcceptsFilesWithoutTensorsOrPadding) {
  HandMadeGguf parts;
  parts.records.clear();
  parts.tensor_count = 0;
  const std::string bytes = parts.head();  // ends with the last key
  EXPECT_TRUE(GgufFile::parse(as_bytes(bytes), "x").tensors().empty());
}

TEST(GgufRead, AcceptsHigherDimensions) {
  HandMadeGguf parts;
  parts.records[0].ne = {2, 3, 2, 2};
  const std::string bytes = parts.file();
  const auto file = GgufFile::parse(as_bytes(bytes), "x");
  EXPECT_EQ(file.tensors()[0].columns(), 2);
  EXPECT_EQ(file.tensors()[0].rows(), 12);
}

/// One key of every type, by the number of the type in the file.
class GgufGetters : public ::testing::Test {
 protected:
  GgufGetters() {
    HandMadeGguf parts;
    const auto key = [](std::string_view name, std::uint32_t type) { return std::move(Bytes().str(name).u32(type)); };
    parts.keys = {
        key("u8", 0).put(std::uint8_t{200}),
        key("i8", 1).put(std::int8_t{-5}),
        key("u16", 2).put(std::uint16_t{60000}),
        key("i16", 3).put(std::int16_t{-300}),
        key("u32", 4).put(std::uint32_t{4000000000}),
        key("i32", 5).put(std::int32_t{-70000}),
        key("f32", 6).put(1.5F),
        key("true", 7).u8(1),
        key("false", 7).u8(0),
        key("bad_bool", 7).u8(2),
        key("string", 8).str("hello"),
        key("empty", 8).str(""),
        key("strings", 9).u32(8).u64(3).str("one").str("").str("three"),
        key("no_strings", 9).u32(8).u64(0),
        key("f32s", 9).u32(6).u64(2).f32(0.5F).f32(-2.0F),
        key("i32s", 9).u32(5).u64(2).put(std::int32_t{-1}).put(std::int32_t{6}),
        key("u64s", 9).u32(10).u64(2).u64(3).u64(std::uint64_t{1} << 31),
        key("u8s", 9).u32(0).u64(3).u8(1).u8(2).u8(255),
        key("u64", 10).u64(~std::uint64_t{0}),
        key("i64", 11).put(std::int64_t{-9}),
        key("f64", 12).put(2.5),
    };
    parts.key_count = parts.keys.size();
    bytes_ = parts.file();
    file_ = GgufFile::parse(as_bytes(bytes_), "keys.gguf");
  }
  std::string bytes_;
  GgufFile file_;
};

TEST_F(GgufGetters, IntegersOfAnyTypeThatFit) {
  EXPECT_EQ(file_.get_u32("u8"), 200U);
  EXPECT_EQ(file_.get_u32("u16"), 60000U);
  EXPECT_EQ(file_.get_u32("u32"), 4000000000U);
  EXPECT_EQ(file_.get_u64("u64"), ~std::uint64_t{0});
  EXPECT_EQ(file_.get_i64("i8"), -5);
  EXPECT_EQ(file_.get_i64("i16"), -300);
  EXPECT_EQ(file_.get_i64("i32"), -70000);
  EXPECT_EQ(file_.get_i64("i64"), -9);
  EXPECT_EQ(file_.get_i64("u32"), 4000000000);
  expect_error<FormatError>([&] { file_.get_u32("u64"); }, {"key u64", "0 to 2^32 - 1", "18446744073709551615"});
  expect_error<FormatError>([&] { file_.get_u32("i8"); }, {"key i8", "found -5"});
  expect_error<FormatError>([&] { file_.get_u64("i64"); }, {"key i64", "found -9"});
  expect_error<FormatError>([&] { file_.get_i64("u64"); }, {"key u64", "2^63", "18446744073709551615"});
  expect_error<FormatError>([&] { file_.get_u32("f32"); }, {"key f32", "an integer", "found f32"});
  expect_error<FormatError>([&] { file_.get_u32("true"); }, {"an integer", "found bool"});
  expect_error<FormatError>([&] { file_.get_u32("i32s"); }, {"an integer", "found array of i32"});
}

TEST_F(GgufGetters, FloatsBoolsAndStrings) {
  EXPECT_EQ(file_.get_f32("f32"), 1.5F);
  EXPECT_TRUE(file_.get_bool("true"));
  EXPECT_FALSE(file_.get_bool("false"));
  EXPECT_EQ(file_.get_string("string"), "hello");
  EXPECT_EQ(file_.get_string("empty"), "");
  expect_error<FormatError>([&] { file_.get_f32("f64"); }, {"key f64", "expected f32", "found f64"});
  expect_error<FormatError>([&] { file_.get_f32("u8"); }, {"expected f32", "found u8"});
  expect_error<FormatError>([&] { file_.get_bool("u8"); }, {"expected bool", "found u8"});
  expect_error<FormatError>([&] { file_.get_bool("bad_bool"); }, {"key bad_bool", "0 or 1", "found 2"});
  expect_error<FormatError>([&] { file_.get_string("u8"); }, {"expected string", "found u8"});
  expect_error<FormatError>([&] { file_.get_string("strings"); }, {"expected string", "found array of string"});
}

TEST_F(GgufGetters, Arrays) {
  EXPECT_EQ(file_.get_strings("strings"), (std::vector<std::string_view>{"one", "", "three"}));
  EXPECT_EQ(file_.get_strings("strings")[0].data(), bytes_.data() + bytes_.find("one")) << "views into the file";
  EXPECT_TRUE(file_.get_strings("no_strings").empty());
  EXPECT_EQ(file_.get_f32s("f32s"), (std::vector<float>{0.5F, -2.0F}));
  EXPECT_EQ(file_.get_i32s("i32s"), (std::vector<std::int32_t>{-1, 6}));
  EXPECT_EQ(file_.get_i32s("u8s"), (std::vector<std::int32_t>{1, 2, 255}));
  EXPECT_EQ(file_.find("u8s")->count, 3U);
  expect_error<FormatError>([&] { file_.get_i32s("u64s"); }, {"key u64s", "2^31 - 1", "found 2147483648"});
  expect_error<FormatError>([&] { file_.get_strings("f32s"); }, {"array of string", "found array of f32"});
  expect_error<FormatError>([&] { file_.get_strings("string"); }, {"array of string", "found string"});
  expect_error<FormatError>([&] { file_.get_i32s("f32s"); }, {"array of integers", "found array of f32"});
  expect_error<FormatError>([&] { file_.get_f32s("i32s"); }, {"array of f32", "found array of i32"});
  expect_error<FormatError>([&] { file_.get_f32s("f32"); }, {"array of f32", "found f32"});
}

TEST_F(GgufGetters, MissingKeys) {
  EXPECT_FALSE(file_.contains("none"));
  EXPECT_EQ(file_.find_u32("none"), std::nullopt);
  EXPECT_EQ(file_.find_u64("none"), std::nullopt);
  EXPECT_EQ(file_.find_i64("none"), std::nullopt);
  EXPECT_EQ(file_.find_f32("none"), std::nullopt);
  EXPECT_EQ(file_.find_bool("none"), std::nullopt);
  EXPECT_EQ(file_.find_string("none"), std::nullopt);
  EXPECT_EQ(file_.find_strings("none"), std::nullopt);
  EXPECT_EQ(file_.find_i32s("none"), std::nullopt);
  EXPECT_EQ(file_.find_f32s("none"), std::nullopt);
  expect_error<FormatError>([&] { file_.get_u32("none"); }, {"keys.gguf", "key none", "a value", "no such key"});
  expect_error<FormatError>([&] { file_.get_strings("none"); }, {"key none", "no such key"});
}

TEST_F(GgufGetters, CallersCanRefuseValuesAndTensors) {
  const auto at = std::to_string(file_.find("u8")->offset);
  expect_error<FormatError>([&] { file_.fail_key("u8", "1", "200"); },
                            {"keys.gguf: at offset " + at + " (key u8): expected 1, found 200"});
  const auto data = std::to_string(file_.find_tensor("b")->offset);
  expect_error<FormatError>([&] { file_.fail_tensor("b", "x", "y"); }, {"at offset " + data + " (tensor b)"});
}

TEST(GgufRead, OpeningDoesNotTouchData) {
  // 4 GiB of holes: reading them would fault a million pages in.
  constexpr std::uint64_t kRows = std::uint64_t{1} << 20;
  HandMadeGguf parts;
  parts.records = {{"big", {1024, kRows}, 0, 0}};
  parts.tensor_count = 1;
  parts.data_bytes = 0;
  const TemporaryFolder folder;
  write_file(folder / "big.gguf", parts.file());
  std::filesystem::resize_file(folder / "big.gguf", parts.file().size() + kRows * 4096);
  rusage before{};
  rusage after{};
  ::getrusage(RUSAGE_SELF, &before);
  const auto file = GgufFile::open(folder / "big.gguf");
  ::getrusage(RUSAGE_SELF, &after);
  EXPECT_EQ(file.tensors()[0].data.size(), kRows * 4096);
  EXPECT_LT(after.ru_minflt + after.ru_majflt - before.ru_minflt - before.ru_majflt, 2000);
}

TEST(GgufTypes, SizesOfTensors) {
  const auto bytes = [](DType type, std::vector<std::int64_t> ne) { return gguf_tensor_bytes(type, ne); };
  EXPECT_EQ(bytes(DType::f32, {3}), 12U);
  EXPECT_EQ(bytes(DType::f16, {3, 5}), 30U);
  EXPECT_EQ(bytes(DType::bf16, {3, 5}), 30U);
  EXPECT_EQ(bytes(DType::i8, {3, 5}), 15U);
  EXPECT_EQ(bytes(DType::i32, {3, 5}), 60U);
  EXPECT_EQ(bytes(DType::i64, {3, 5}), 120U);
  EXPECT_EQ(bytes(DType::f64, {3, 5}), 120U);
  EXPECT_EQ(bytes(DType::q8_0, {64, 3}), 2U * 3 * 34);
  EXPECT_EQ(bytes(DType::q4_0, {64, 3}), 2U * 3 * 18);
  EXPECT_EQ(bytes(DType::q4_1, {64, 3}), 2U * 3 * 20);
  EXPECT_EQ(bytes(DType::q6_k, {256, 3}), 3U * 210);
  EXPECT_EQ(bytes(DType::tq1_0, {512, 3}), 6U * 54);
  EXPECT_EQ(bytes(DType::tq2_0, {512, 3}), 6U * 66);
  EXPECT_EQ(bytes(DType::i2_s, {2560, 6912}), 2560U * 6912 / 4 + 32);
  EXPECT_EQ(bytes(DType::u8, {3}), std::nullopt);
  EXPECT_EQ(bytes(DType::hf_packed, {3}), std::nullopt);
  EXPECT_EQ(bytes(DType::f64, {std::int64_t{1} << 62}), std::nullopt);
  EXPECT_EQ(bytes(DType::i8, {std::int64_t{1} << 33, std::int64_t{1} << 33}), std::nullopt);
}

TEST(GgufTypes, NamesAndNumbers) {
  EXPECT_EQ(ggml_type_name(12), "Q4_K");
  EXPECT_EQ(ggml_type_name(39), "TL2 of bitnet.cpp or MXFP4 of llama.cpp");
  EXPECT_EQ(ggml_type_name(9999), "unknown");
  EXPECT_EQ(name(GgufValueType::boolean), "bool");
  EXPECT_EQ(name(static_cast<GgufValueType>(13)), "type 13");
  for (std::uint32_t number = 0; number < 400; ++number) {
    const auto type = dtype_of_ggml_type(number);
    if (type) {
      EXPECT_EQ(ggml_type_of_dtype(*type), number);
    }
  }
  EXPECT_EQ(ggml_type_of_dtype(DType::i2_s), 36U);
  EXPECT_EQ(ggml_type_of_dtype(DType::u8), std::nullopt);
}

TEST(GgufRead, OfACutFileKeysAndRecordsAreReadAndTheMissingBytesCounted) {
  const TemporaryFolder folder;
  const auto path = folder.path() / "a.gguf";
  const std::string bytes = HandMadeGguf().file();  // the last tensor, b, takes 64 bytes, a the 96 before it
  write_file(path, bytes);
  EXPECT_EQ(GgufFile::open_cut(path).missing_bytes(), 0U);
  write_file(path, bytes.substr(0, bytes.size() - 10));
  EXPECT_THROW(GgufFile::open(path), FormatError);
  const auto cut = GgufFile::open_cut(path);
  EXPECT_EQ(cut.missing_bytes(), 10U);
  EXPECT_EQ(cut.get_u32("test.block_count"), 7U);
  ASSERT_EQ(cut.tensors().size(), 2U);
  EXPECT_EQ(cut.tensors()[0].data.size(), 96U);
  EXPECT_TRUE(cut.tensors()[1].data.empty());
  write_file(path, bytes.substr(0, bytes.size() - 64 - 96 + 1));
  EXPECT_EQ(GgufFile::open_cut(path).missing_bytes(), 159U);
  write_file(path, bytes.substr(0, 40));
  EXPECT_THROW(GgufFile::open_cut(path), FormatError);  // keys and records must be whole
}

TEST(GgufFixtures, VocabularyOfGpt2) {
  RPT_NEEDS_SHARED("data/gguf-fixtures/ggml-vocab-gpt-2.gguf");
  const auto file = GgufFile::open(test::shared("data/gguf-fixtures/ggml-vocab-gpt-2.gguf"));
  EXPECT_EQ(file.get_string("tokenizer.ggml.model"), "gpt2");
  const auto tokens = file.get_strings("tokenizer.ggml.tokens");
  ASSERT_EQ(tokens.size(), 50257U);
  EXPECT_EQ(tokens[0], "!");
  EXPECT_EQ(tokens[50256], "<|endoftext|>");
  EXPECT_EQ(file.get_strings("tokenizer.ggml.merges").size(), 50000U);
  EXPECT_EQ(file.get_i32s("tokenizer.ggml.token_type").size(), 50257U);
}

TEST(GgufFixtures, VocabularyOfLlama) {
  RPT_NEEDS_SHARED("data/gguf-fixtures/ggml-vocab-llama-spm.gguf");
  const auto file = GgufFile::open(test::shared("data/gguf-fixtures/ggml-vocab-llama-spm.gguf"));
  EXPECT_EQ(file.get_string("tokenizer.ggml.model"), "llama");
  EXPECT_EQ(file.get_strings("tokenizer.ggml.tokens").size(), 32000U);
  EXPECT_EQ(file.get_f32s("tokenizer.ggml.scores").size(), 32000U);
}

TEST(GgufFixtures, TinyBitnet) {
  RPT_NEEDS_SHARED("data/gguf-fixtures/tritium-bitnet_tiny.gguf");
  const auto file = GgufFile::open(test::shared("data/gguf-fixtures/tritium-bitnet_tiny.gguf"));
  EXPECT_EQ(file.get_string("general.architecture"), "bitnet");
  ASSERT_EQ(file.tensors().size(), 4U);
  const auto expect_tensor = [&](const char* name, DType type, std::int64_t rows, std::int64_t columns,
                                 std::uint64_t at, std::size_t size) {
    const auto* tensor = file.find_tensor(name);
    ASSERT_NE(tensor, nullptr) << name;
    EXPECT_EQ(tensor->type, type) << name;
    EXPECT_EQ(tensor->rows(), rows) << name;
    EXPECT_EQ(tensor->columns(), columns) << name;
    EXPECT_EQ(tensor->offset, at) << name;
    EXPECT_EQ(tensor->data.size(), size) << name;
  };
  expect_tensor("token_embd.weight", DType::f16, 32, 256, 640, 16384);
  expect_tensor("blk.0.attn_q.weight", DType::tq2_0, 8, 256, 17024, 528);
  expect_tensor("blk.0.ffn_down.weight", DType::tq1_0, 4, 256, 17568, 216);
  expect_tensor("output_norm.weight", DType::f32, 1, 256, 17792, 1024);
}

}  // namespace
}  // namespace rpt::io

// SPDX-License-Identifier: MIT
#include <ostream>
#include <vector>

#include "rpt/io/safetensors.h"
#include "tests/unit/io/safetensors_test_support.h"

namespace rpt::io {
namespace {

using test::as_bytes;
using test::Bytes;
using test::expect_error;
using test::hand_made_safetensors;

/// A damaged header over 8 bytes of data, and what its error must say.
struct Damage {
  const char* name;
  std::string header;
  std::vector<std::string_view> message;
};

std::ostream& operator<<(std::ostream& out, const Damage& damage) {
  return out << damage.name;
}

class SafetensorsDamage : public ::testing::TestWithParam<Damage> {};

TEST_P(SafetensorsDamage, IsRefusedWithFileOffsetExpectedAndFound) {
  const std::string bytes = hand_made_safetensors(GetParam().header, 8);
  try {
    SafetensorsFile::parse(as_bytes(bytes), "bad.safetensors");
    FAIL() << "accepted";
  } catch (const FormatError& error) {
    const std::string message = error.what();
    EXPECT_EQ(message.rfind("bad.safetensors: at offset ", 0), 0U) << message;
    EXPECT_NE(message.find("expected "), std::string::npos) << message;
    EXPECT_NE(message.find("found "), std::string::npos) << message;
    EXPECT_EQ(message.find('\n'), std::string::npos) << message;
    for (const auto part : GetParam().message) {
      EXPECT_NE(message.find(part), std::string::npos) << message << "\nlacks: " << part;
    }
  }
}

/// A header with one tensor "t" of the given JSON members.
std::string one(const std::string& members) {
  return "{\"t\":{" + members + "}}";
}

const Damage kTextDamages[] = {
    {"no_text", "", {"offset 8 (header)", "expected {"}},
    {"leading_space", " {}", {"offset 8 (header)", "expected {", "found \" \""}},
    {"byte_order_mark", "\xef\xbb\xbf{}", {"expected {", "\\xef"}},
    {"array", "[]", {"expected {"}},
    {"cut_text", R"({"t":{"dtype":"F32")", {"(JSON text)", "valid JSON"}},
    {"trailing_text", "{} x", {"offset 12 (JSON text)", "valid JSON"}},
    {"second_object", "{}{}", {"valid JSON"}},
    {"bad_utf8", "{\"\xff\":1}", {"valid JSON", "\\xff"}},
    {"comment", "{/**/}", {"valid JSON"}},
};

const Damage kStructureDamages[] = {
    {"tensor_is_text", R"({"t":"F32"})", {"(header)", "an object for t", "the text \"F32\""}},
    {"tensor_is_number", R"({"t":5})", {"an object for t", "found 5"}},
    {"tensor_is_array", R"({"t":[]})", {"an object for t", "an array"}},
    {"tensor_is_null", R"({"t":null})", {"an object for t", "null"}},
    {"dtype_number", one(R"("dtype":1)"), {"(tensor t)", "a text for dtype", "found 1"}},
    {"dtype_object", one(R"("dtype":{})"), {"a text for dtype", "an object"}},
    {"dtype_array", one(R"("dtype":[])"), {"a text for dtype", "an array"}},
    {"shape_text", one(R"("shape":"4")"), {"a shape of at most 8", "the text \"4\""}},
    {"shape_negative", one(R"("shape":[-1])"), {"non-negative", "found -1"}},
    {"shape_float", one(R"("shape":[1.5])"), {"non-negative", "found 1.5"}},
    {"shape_nested", one(R"("shape":[[1]])"), {"non-negative", "an array"}},
    {"shape_2_63", one(R"("shape":[9223372036854775808])"), {"a shape", "9223372036854775808"}},
    {"shape_2_64", one(R"("shape":[18446744073709551616])"), {"a shape"}},
    {"shape_1e400", one(R"("shape":[1e400])"), {"expected"}},
    {"rank_9", one(R"("shape":[1,1,1,1,1,1,1,1,1])"), {"at most 8", "more dimensions"}},
    {"offsets_1", one(R"("data_offsets":[0])"), {"two non-negative integers", "found 1 offsets"}},
    {"offsets_3", one(R"("data_offsets":[0,1,2])"), {"two non-negative", "a third offset"}},
    {"offsets_negative", one(R"("data_offsets":[-8,0])"), {"two non-negative", "found -8"}},
    {"offsets_true", one(R"("data_offsets":true)"), {"two non-negative", "a boolean"}},
    {"unknown_field", one(R"("stride":[1])"), {"(tensor t)", "dtype, shape and data_offsets", "found stride"}},
    {"field_missing", one(R"("dtype":"U8","shape":[8])"), {"(tensor t)", "not all of them"}},
    {"no_fields", one(""), {"(tensor t)", "not all of them"}},
    {"field_twice", one(R"("dtype":"U8","dtype":"U8")"), {"(tensor t)", "every key once", "dtype twice"}},
    {"metadata_text", R"({"__metadata__":"x"})", {"an object for __metadata__", "the text"}},
    {"metadata_number", R"({"__metadata__":{"k":1}})", {"(__metadata__)", "a text for k", "found 1"}},
    {"metadata_nested", R"({"__metadata__":{"k":{}}})", {"a text for k", "an object"}},
    {"metadata_twice", R"({"__metadata__":{},"__metadata__":{}})", {"one __metadata__", "a second one"}},
    {"metadata_key_twice", R"({"__metadata__":{"k":"","k":""}})", {"every key once", "k twice"}},
};

const std::string kHalf = R"("dtype":"U8","shape":[4],"data_offsets":)";

const Damage kTensorDamages[] = {
    {"dtype_unknown",
     one(R"("dtype":"F8_E4M3","shape":[8],"data_offsets":[0,8])"),
     {"offset 8 (tensor t)", "dtype F64, F32", "found F8_E4M3"}},
    {"dtype_bool", one(R"("dtype":"BOOL","shape":[8],"data_offsets":[0,8])"), {"found BOOL"}},
    {"dtype_lower_case", one(R"("dtype":"u8","shape":[8],"data_offsets":[0,8])"), {"found u8"}},
    {"shape_overflow",
     one(R"("dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,8])"),
     {"fit in 63 bits", "[4294967296, 4294967296]"}},
    {"shape_overflow_before_0",
     one(R"("dtype":"U8","shape":[9223372036854775807,2,0],"data_offsets":[0,0])"),
     {"fit in 63 bits"}},
    {"length_mismatch",
     one(R"("dtype":"F32","shape":[3],"data_offsets":[0,8])"),
     {"(tensor t)", "data_offsets of 12 bytes for F32 [3]", "found [0, 8]"}},
    {"offsets_reversed", one(R"("dtype":"U8","shape":[8],"data_offsets":[8,0])"), {"of 8 bytes", "found [8, 0]"}},
    {"beyond_end",
     one(R"("dtype":"U8","shape":[9],"data_offsets":[0,9])"),
     {"inside the 8 bytes of data", "found [0, 9]"}},
    {"offsets_2_63",
     one(R"("dtype":"U8","shape":[8],"data_offsets":[18446744073709551607,18446744073709551615])"),
     {"inside the 8 bytes", "[18446744073709551607, 18446744073709551615]"}},
    {"tensor_twice",
     "{\"t\":{" + kHalf + "[0,4]},\"t\":{" + kHalf + "[4,8]}}",
     {"(tensor t)", "every tensor once", "a second one"}},
    {"overlap", "{\"a\":{" + kHalf + "[0,4]},\"b\":{" + kHalf + "[2,6]}}", {"(tensor b)", "an overlap of 2 bytes"}},
    {"same_place", "{\"a\":{" + kHalf + "[0,4]},\"b\":{" + kHalf + "[0,4]}}", {"(tensor b)", "an overlap of 4 bytes"}},
    {"hole",
     "{\"a\":{" + kHalf + "[0,4]},\"b\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[6,8]}}",
     {"(tensor b)", "a hole of 2 bytes"}},
    {"hole_at_begin", one(kHalf + "[4,8]"), {"(tensor t)", "a hole of 4 bytes"}},
    {"data_left_over", one(kHalf + "[0,4]"), {"(end of data)", "4 bytes that belong to no tensor"}},
    {"no_tensors_but_data", "{}", {"(end of data)", "8 bytes that belong to no tensor"}},
};

std::string damage_name(const ::testing::TestParamInfo<Damage>& info) {
  return info.param.name;
}

INSTANTIATE_TEST_SUITE_P(Text, SafetensorsDamage, ::testing::ValuesIn(kTextDamages), damage_name);
INSTANTIATE_TEST_SUITE_P(Structure, SafetensorsDamage, ::testing::ValuesIn(kStructureDamages), damage_name);
INSTANTIATE_TEST_SUITE_P(Tensors, SafetensorsDamage, ::testing::ValuesIn(kTensorDamages), damage_name);

TEST(SafetensorsHeaderLength, IsBounded) {
  const auto parse = [](const Bytes& b) { SafetensorsFile::parse(as_bytes(b.data), "f"); };
  expect_error<FormatError>([&] { parse(Bytes()); }, {"offset 0 (header)", "8 bytes", "0 bytes"});
  expect_error<FormatError>([&] { parse(Bytes().raw("1234567")); }, {"offset 0 (header)", "7 bytes"});
  expect_error<FormatError>([&] { parse(Bytes().u64(3).raw("{}")); }, {"offset 8 (header)", "3 bytes", "2 bytes"});
  expect_error<FormatError>([&] { parse(Bytes().u64(100'000'001).raw("{}")); }, {"offset 0", "at most 100000000"});
  expect_error<FormatError>([&] { parse(Bytes().u64(~std::uint64_t{0}).raw("{}")); }, {"at most 100000000 bytes"});
}

TEST(SafetensorsTruncation, EveryCutIsRefused) {
  std::string header = "{";
  std::size_t end = 0;
  for (int i = 0; i < 60; ++i) {
    header += fmt::format(R"({}"layer.{}":{{"dtype":"BF16","shape":[16,16],"data_offsets":[{},{}]}})",
                          i == 0 ? "" : ",", i, end, end + 512);
    end += 512;
  }
  header += "}";
  const std::string whole = hand_made_safetensors(header, end);
  ASSERT_GT(whole.size(), 20'480U);
  ASSERT_NO_THROW(SafetensorsFile::parse(as_bytes(whole), "whole"));
  std::vector<std::size_t> cuts;
  for (std::size_t n = 0; n < whole.size(); n += 1024) cuts.push_back(n);
  for (std::size_t n = 0; n < 200; ++n) cuts.push_back(n);
  for (std::size_t n = header.size() - 100; n < header.size() + 200; ++n) cuts.push_back(n);
  for (std::size_t n = 1; n <= 64; ++n) cuts.push_back(whole.size() - n);
  const test::TemporaryFolder folder;
  for (const std::size_t n : cuts) {
    const std::string cut = whole.substr(0, n);
    EXPECT_THROW(SafetensorsFile::parse(as_bytes(cut), "cut"), FormatError) << "cut to " << n << " bytes";
    if (n % 4096 != 0) continue;
    test::write_file(folder / "cut.safetensors", cut);
    EXPECT_THROW(SafetensorsFile::open(folder / "cut.safetensors"), FormatError) << "cut to " << n << " bytes";
  }
}

}  // namespace
}  // namespace rpt::io

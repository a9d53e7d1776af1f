// SPDX-License-Identifier: MIT
#include <functional>
#include <ostream>
#include <vector>

#include "rpt/io/gguf.h"
#include "tests/unit/io/gguf_test_support.h"

namespace rpt::io {
namespace {

using test::as_bytes;
using test::Bytes;
using test::expect_error;
using test::HandMadeGguf;

constexpr std::uint64_t kHuge = std::uint64_t{1} << 60;

/// One way to damage the hand-made file, and what its error must say. Offsets: header 24 bytes, first key at 24 with
/// its value's text at 64, second key at 68, record of tensor a at 100 (extents at 113), of tensor b at 141.
struct Damage {
  const char* name;
  std::function<void(HandMadeGguf&)> apply;
  std::vector<std::string_view> message;
};

std::ostream& operator<<(std::ostream& out, const Damage& damage) {
  return out << damage.name;
}

class GgufDamage : public ::testing::TestWithParam<Damage> {};

TEST_P(GgufDamage, IsRefusedWithFileOffsetExpectedAndFound) {
  HandMadeGguf parts;
  GetParam().apply(parts);
  const std::string bytes = parts.file();
  try {
    GgufFile::parse(as_bytes(bytes), "bad.gguf");
    FAIL() << "accepted";
  } catch (const FormatError& error) {
    const std::string message = error.what();
    EXPECT_EQ(message.rfind("bad.gguf: at offset ", 0), 0U) << message;
    EXPECT_NE(message.find("expected "), std::string::npos) << message;
    EXPECT_NE(message.find("found "), std::string::npos) << message;
    EXPECT_EQ(message.find('\n'), std::string::npos) << message;
    for (const auto part : GetParam().message) {
      EXPECT_NE(message.find(part), std::string::npos) << message << "\nlacks: " << part;
    }
  }
}

void add_key(HandMadeGguf& parts, const Bytes& key) {
  parts.keys.push_back(key);
  ++parts.key_count;
}

Bytes array_key(std::uint32_t element_type, std::uint64_t count, const Bytes& elements) {
  return Bytes().str("k").u32(9).u32(element_type).u64(count).raw(elements.data);
}

void set_alignment(HandMadeGguf& parts, std::uint32_t value) {
  add_key(parts, HandMadeGguf::u32_key("general.alignment", value));
}

const Damage kHeaderDamages[] = {
    {"magic", [](auto& p) { p.magic = "GGML"; }, {"offset 0 (magic)", "0x46554747 (GGUF)", "0x4c4d4747"}},
    {"version_1", [](auto& p) { p.version = 1; }, {"offset 4 (version)", "expected 2 or 3", "found 0x1"}},
    {"version_4", [](auto& p) { p.version = 4; }, {"offset 4 (version)", "found 0x4"}},
    {"version_0", [](auto& p) { p.version = 0; }, {"offset 4 (version)", "found 0x0"}},
    {"big_endian", [](auto& p) { p.version = 0x03000000; }, {"offset 4", "little endian", "a big-endian file"}},
    {"tensor_count_2_60", [](auto& p) { p.tensor_count = kHuge; }, {"offset 8 (number of tensors)", "at most "}},
    {"tensor_count_3", [](auto& p) { p.tensor_count = 3; }, {}},
    {"key_count_2_60", [](auto& p) { p.key_count = kHuge; }, {"offset 16 (number of keys)", "at most "}},
    {"key_count_minus_1", [](auto& p) { p.key_count = ~std::uint64_t{0}; }, {"18446744073709551615"}},
    {"key_count_3", [](auto& p) { p.key_count = 3; }, {}},
    {"key_count_1", [](auto& p) { p.key_count = 1; }, {}},
};

const Damage kKeyDamages[] = {
    {"key_length_2_60",
     [](auto& p) { p.keys[0] = Bytes().u64(kHuge).raw("abc"); },
     {"offset 32 (key)", "expected 1152921504606846976 bytes"}},
    {"key_length_beyond_end", [](auto& p) { p.keys[0] = Bytes().u64(5000).raw("abc"); }, {"(key)", "5000 bytes"}},
    {"value_type_13",
     [](auto& p) { p.keys[0] = Bytes().str("k").u32(13).u64(0); },
     {"offset 33 (key k)", "from 0 to 12", "found 13"}},
    {"text_length_2_60",
     [](auto& p) { p.keys[0] = Bytes().str("k").u32(8).u64(kHuge); },
     {"offset 45 (key k)", "1152921504606846976 bytes"}},
    {"key_twice",
     [](auto& p) { p.keys[1] = HandMadeGguf::u32_key("general.architecture", 1); },
     {"key general.architecture", "every key once"}},
    {"key_with_line_break", [](auto& p) { p.keys[0] = Bytes().str("a\nb").u32(99); }, {"key a\\x0ab", "found 99"}},
    {"array_count_2_60", [](auto& p) { p.keys[0] = array_key(0, kHuge, {}); }, {"(key k)", "at most "}},
    {"array_count_overflow", [](auto& p) { p.keys[0] = array_key(10, kHuge * 2 + 1, {}); }, {"(key k)", "at most "}},
    {"array_of_strings_2_60", [](auto& p) { p.keys[0] = array_key(8, kHuge, {}); }, {"(key k)", "at most "}},
    {"array_string_too_long",
     [](auto& p) { p.keys[0] = array_key(8, 2, Bytes().str("x").u64(kHuge)); },
     {"(key k)", "1152921504606846976 bytes"}},
    {"array_of_arrays",
     [](auto& p) { p.keys[0] = array_key(9, 1, Bytes().u32(4).u64(1).u32(7)); },
     {"offset 37 (key k)", "an array of arrays"}},
    {"array_element_type_13", [](auto& p) { p.keys[0] = array_key(13, 1, {}); }, {"offset 37 (key k)", "found 13"}},
};

const Damage kAlignmentDamages[] = {
    {"alignment_0", [](auto& p) { set_alignment(p, 0); }, {"key general.alignment", "a power of two", "found 0"}},
    {"alignment_3", [](auto& p) { set_alignment(p, 3); }, {"from 8 to 65536", "found 3"}},
    {"alignment_4", [](auto& p) { set_alignment(p, 4); }, {"found 4"}},
    {"alignment_131072", [](auto& p) { set_alignment(p, 131072); }, {"found 131072"}},
    {"alignment_2_31", [](auto& p) { set_alignment(p, std::uint32_t{1} << 31); }, {"found 2147483648"}},
    {"alignment_text",
     [](auto& p) { add_key(p, HandMadeGguf::text_key("general.alignment", "32")); },
     {"key general.alignment", "an integer", "found string"}},
};

const Damage kTensorDamages[] = {
    {"name_length_2_60",
     [](auto& p) { p.records.clear(), p.keys.push_back(Bytes().u64(kHuge)); },  // stands where the first record should
     {"offset 108 (tensor name)", "expected 1152921504606846976 bytes"}},
    {"tensor_twice", [](auto& p) { p.records[1].name = "a"; }, {"offset 141 (tensor a)", "every tensor once"}},
    {"dimensions_0", [](auto& p) { p.records[0].ne = {}; }, {"offset 109 (tensor a)", "1 to 4", "found 0"}},
    {"dimensions_5",
     [](auto& p) {
       p.records[0].ne = {8, 3, 1, 1, 1};
     },
     {"(tensor a)", "1 to 4", "found 5"}},
    {"extent_0",
     [](auto& p) {
       p.records[0].ne = {8, 0};
     },
     {"offset 121 (tensor a)", "at least 1", "found 0"}},
    {"extents_overflow",
     [](auto& p) {
       p.records[0].ne = {std::uint64_t{1} << 33, std::uint64_t{1} << 33};
     },
     {"offset 121 (tensor a)", "below 2^63", "found 8589934592"}},
    {"extent_2_63", [](auto& p) { p.records[0].ne = {std::uint64_t{1} << 63}; }, {"offset 113", "below 2^63"}},
    {"bytes_overflow", [](auto& p) { p.records[0].ne = {std::uint64_t{1} << 62}; }, {"(tensor a)", "end below 2^64"}},
    {"unknown_type", [](auto& p) { p.records[0].type = 4711; }, {"offset 129 (tensor a)", "type 4711 (unknown)"}},
    {"type_q4_k", [](auto& p) { p.records[0].type = 12; }, {"(tensor a)", "type 12 (Q4_K)"}},
    {"type_tl1", [](auto& p) { p.records[0].type = 38; }, {"type 38 (TL1 of bitnet.cpp)"}},
    {"type_tl2", [](auto& p) { p.records[0].type = 39; }, {"type 39 (TL2 of bitnet.cpp or MXFP4 of llama.cpp)"}},
    {"type_iq2_bn", [](auto& p) { p.records[0].type = 135; }, {"type 135 (IQ2_BN of ik_llama.cpp)"}},
    {"i2_s_rows_of_64",
     [](auto& p) {
       p.records[1].ne = {64, 2};
     },
     {"(tensor b)", "a multiple of 128 for i2_s", "found 64 columns"}},
    {"tq1_0_rows_of_128",
     [](auto& p) { p.records[1].type = 34; },
     {"(tensor b)", "a multiple of 256 for tq1_0", "found 128 columns"}},
    {"q8_0_rows_of_8", [](auto& p) { p.records[0].type = 8; }, {"(tensor a)", "a multiple of 32 for q8_0"}},
};

const Damage kOffsetDamages[] = {
    {"misaligned", [](auto& p) { p.records[1].offset = 100; }, {"(tensor b)", "a multiple of 32", "found 100"}},
    {"overlap",
     [](auto& p) { p.records[1].offset = 64; },
     {"(tensor b)", "data offset 96, where the padded tensor before it ends", "found 64"}},
    {"gap", [](auto& p) { p.records[1].offset = 128; }, {"(tensor b)", "data offset 96", "found 128"}},
    {"first_not_at_0", [](auto& p) { p.records[0].offset = 32; }, {"(tensor a)", "data offset 0", "found 32"}},
    {"swapped", [](auto& p) { p.records[0].offset = 96, p.records[1].offset = 0; }, {"(tensor a)", "found 96"}},
    {"offset_2_63", [](auto& p) { p.records[1].offset = std::uint64_t{1} << 63; }, {"(tensor b)"}},
    {"data_short_by_1",
     [](auto& p) { p.data_bytes -= 1; },
     {"(tensor b)", "expected 64 bytes of data", "found a file of "}},
    {"no_data", [](auto& p) { p.data_bytes = 0; }, {"(tensor a)", "expected 96 bytes of data"}},
    {"tensor_of_2_62_bytes", [](auto& p) { p.records[1].ne = {std::uint64_t{1} << 62}; }, {"(tensor b)"}},
};

std::string damage_name(const ::testing::TestParamInfo<Damage>& info) {
  return info.param.name;
}

INSTANTIATE_TEST_SUITE_P(Header, GgufDamage, ::testing::ValuesIn(kHeaderDamages), damage_name);
INSTANTIATE_TEST_SUITE_P(Keys, GgufDamage, ::testing::ValuesIn(kKeyDamages), damage_name);
INSTANTIATE_TEST_SUITE_P(Alignment, GgufDamage, ::testing::ValuesIn(kAlignmentDamages), damage_name);
INSTANTIATE_TEST_SUITE_P(Tensors, GgufDamage, ::testing::ValuesIn(kTensorDamages), damage_name);
INSTANTIATE_TEST_SUITE_P(Offsets, GgufDamage, ::testing::ValuesIn(kOffsetDamages), damage_name);

/// A file of more than 20 kB with a long string array, so that cuts fall into header, keys, records and data alike.
std::string long_file() {
  HandMadeGguf parts;
  Bytes texts;
  for (int i = 0; i < 500; ++i) texts.str("token " + std::to_string(i));
  add_key(parts, array_key(8, 500, texts));
  parts.records = {{"norm", {1024}, 0, 0}, {"matrix", {256, 128}, 36, 4096}};
  parts.data_bytes = 4096 + 256 * 128 / 4 + 32;
  return parts.file();
}

TEST(GgufTruncation, EveryCutIsRefused) {
  const std::string whole = long_file();
  ASSERT_GT(whole.size(), 20'480U);
  ASSERT_NO_THROW(GgufFile::parse(as_bytes(whole), "whole"));
  std::vector<std::size_t> cuts;
  for (std::size_t n = 0; n < whole.size(); n += 1024) cuts.push_back(n);
  for (std::size_t n = 0; n < 256; ++n) cuts.push_back(n);                 // header and first keys, byte by byte
  for (std::size_t n = 7000; n < 9600; n += 7) cuts.push_back(n);          // end of the array, records, padding
  for (std::size_t n = 1; n <= 64; ++n) cuts.push_back(whole.size() - n);  // the tail of the last tensor
  for (const std::size_t n : cuts) {
    const std::string cut = whole.substr(0, n);
    EXPECT_THROW(GgufFile::parse(as_bytes(cut), "cut"), FormatError) << "cut to " << n << " bytes";
  }
}

TEST(GgufTruncation, CutFilesOnDiskAreRefused) {
  const test::TemporaryFolder folder;
  const std::string whole = long_file();
  for (std::size_t n = 0; n < whole.size(); n += 4096) {
    test::write_file(folder / "cut.gguf", std::string_view(whole).substr(0, n));
    expect_error<FormatError>([&] { GgufFile::open(folder / "cut.gguf"); },
                              {"cut.gguf: at offset", "expected", "found"});
  }
}

TEST(GgufDamageAnywhere, FlippedBytesNeverEscapeAsOtherErrors) {
  // Every byte of header, keys and records set to each of a few values: accepted or refused, nothing else.
  const HandMadeGguf parts;
  const std::string whole = parts.file();
  for (std::size_t at = 0; at < parts.head().size(); ++at) {
    for (const int value : {0x00, 0x01, 0x7f, 0x80, 0xff}) {
      std::string damaged = whole;
      damaged[at] = static_cast<char>(value);
      try {
        const auto file = GgufFile::parse(as_bytes(damaged), "flipped");
        for (const auto& tensor : file.tensors()) EXPECT_LE(tensor.offset + tensor.data.size(), damaged.size());
      } catch (const FormatError&) {
      }
    }
  }
}

}  // namespace
}  // namespace rpt::io

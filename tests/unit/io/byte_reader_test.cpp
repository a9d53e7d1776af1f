// SPDX-License-Identifier: MIT
#include "rpt/io/byte_reader.h"

#include "tests/unit/io/io_test_support.h"

namespace rpt::io {
namespace {

using test::as_bytes;
using test::as_text;
using test::Bytes;
using test::expect_error;

TEST(ByteReader, ReadsEveryTypeInOrder) {
  Bytes b;
  b.u8(0xff).put(std::uint16_t{0xfffe}).u32(0xfffffffd).u64(0xfffffffffffffffcULL);
  b.put(std::int8_t{-1}).put(std::int16_t{-2}).put(std::int32_t{-3}).put(std::int64_t{-4});
  b.f32(0.5F).put(-0.25).str("text").raw("tail");
  ByteReader reader(as_bytes(b.data), "file");
  EXPECT_EQ(reader.u8("a"), 0xff);
  EXPECT_EQ(reader.u16("a"), 0xfffe);
  EXPECT_EQ(reader.u32("a"), 0xfffffffdU);
  EXPECT_EQ(reader.u64("a"), 0xfffffffffffffffcULL);
  EXPECT_EQ(reader.i8("a"), -1);
  EXPECT_EQ(reader.i16("a"), -2);
  EXPECT_EQ(reader.i32("a"), -3);
  EXPECT_EQ(reader.i64("a"), -4);
  EXPECT_EQ(reader.f32("a"), 0.5F);
  EXPECT_EQ(reader.f64("a"), -0.25);
  EXPECT_EQ(reader.string("a"), "text");
  EXPECT_EQ(as_text(reader.bytes(4, "a")), "tail");
  EXPECT_EQ(reader.remaining(), 0U);
  EXPECT_EQ(reader.offset(), b.data.size());
}

TEST(ByteReader, IsLittleEndian) {
  ByteReader reader(as_bytes(std::string_view("\x01\x02\x03\x04", 4)), "file");
  EXPECT_EQ(reader.u32("a"), 0x04030201U);
}

TEST(ByteReader, ShortBytesNameFileOffsetAndPlace) {
  ByteReader reader(as_bytes("abcdefg"), "some.bin", 100);
  EXPECT_EQ(reader.u32("first"), 0x64636261U);
  expect_error<FormatError>([&] { reader.u32("key x"); },
                            {"some.bin: at offset 104 (key x)", "expected 4 bytes", "found 3 bytes"});
  expect_error<FormatError>([&] { reader.bytes(~std::uint64_t{0}, "p"); }, {"offset 104", "found 3 bytes"});
  EXPECT_EQ(as_text(reader.bytes(3, "rest")), "efg") << "a failed read takes nothing";
  expect_error<FormatError>([&] { reader.u8("p"); }, {"offset 107", "found 0 bytes"});
}

TEST(ByteReader, StringsAreBounded) {
  const std::string huge = Bytes().u64(~std::uint64_t{0}).raw("abc").data;
  expect_error<FormatError>([&] { ByteReader(as_bytes(huge), "f").string("s"); }, {"offset 8 (s)", "found 3 bytes"});
  const std::string five = Bytes().str("hello").data;
  EXPECT_EQ(ByteReader(as_bytes(five), "f").string("s", 5), "hello");
  expect_error<FormatError>([&] { ByteReader(as_bytes(five), "f").string("s", 4); },
                            {"offset 0 (s)", "at most 4 bytes", "found 5 bytes"});
}

TEST(ByteReader, PrintableIsOneShortLine) {
  EXPECT_EQ(printable("plain text"), "plain text");
  EXPECT_EQ(printable("a\nb\x01\xc3"), "a\\x0ab\\x01\\xc3");
  EXPECT_EQ(printable(std::string(80, 'x')), std::string(80, 'x'));
  EXPECT_EQ(printable(std::string(81, 'x')), std::string(80, 'x') + "...");
}

}  // namespace
}  // namespace rpt::io

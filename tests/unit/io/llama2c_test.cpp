// SPDX-License-Identifier: MIT
#include "rpt/io/llama2c.h"

#include <gtest/gtest.h>

#include <cstring>
#include <fstream>
#include <numeric>

#include "rpt/core/error.h"
#include "rpt/io/byte_reader.h"
#include "tests/unit/io/io_test_support.h"

namespace rpt::io {
namespace {

/// dim 8, hidden_dim 12, 2 layers, 4 heads, 2 for keys and values, vocabulary 10, 6 positions.
constexpr std::int32_t kShape[7] = {8, 12, 2, 4, 2, 10, 6};

void put(std::string& to, std::int32_t value) {
  to.append(reinterpret_cast<const char*>(&value), 4);
}

/// Value i of the file is the float i.
void put_floats(std::string& to, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) {
    const auto value = static_cast<float>(i);
    to.append(reinterpret_cast<const char*>(&value), 4);
  }
}

constexpr std::size_t kEmbedding = 10 * 8;
constexpr std::size_t kBlocks = 2 * (8 + 64 + 32 + 32 + 64 + 8 + 96 + 96 + 96);
constexpr std::size_t kRope = 2 * 6 * 1;  // two tables of positions x head size / 2

std::string legacy(bool shared) {
  std::string bytes;
  for (int i = 0; i < 7; ++i) put(bytes, i == 5 && !shared ? -kShape[i] : kShape[i]);
  put_floats(bytes, kEmbedding + kBlocks + 8 + kRope + (shared ? 0 : kEmbedding));
  return bytes;
}

std::string version1(bool shared) {
  std::string bytes;
  put(bytes, 0x616b3432);
  put(bytes, 1);
  for (const std::int32_t n : kShape) put(bytes, n);
  bytes.push_back(shared ? 1 : 0);
  bytes.resize(256);
  put_floats(bytes, kEmbedding + kBlocks + 8 + (shared ? 0 : kEmbedding));
  return bytes;
}

std::span<const std::byte> bytes_of(const std::string& text) {
  return std::as_bytes(std::span(text));
}

/// The first float of a tensor, that is, how many floats stand before it.
float first(const Llama2cFile& file, Llama2cPart part, std::int64_t layer = 0) {
  return load<float>(file.tensor(part, layer).data.data());
}

std::string message_of(const std::string& bytes) {
  try {
    Llama2cFile::parse(bytes_of(bytes), "stories.bin");
  } catch (const FormatError& e) {
    return e.what();
  }
  return "no error";
}

TEST(Llama2c, PlacesTheTensorsOfALegacyFile) {
  for (const bool shared : {true, false}) {
    const std::string bytes = legacy(shared);
    const auto file = Llama2cFile::parse(bytes_of(bytes), "stories.bin");
    EXPECT_EQ(file.version(), 0U);
    EXPECT_EQ(file.shape().shared_classifier, shared);
    EXPECT_EQ(file.shape().vocabulary, 10);
    EXPECT_EQ(file.shape().context, 6);
    EXPECT_EQ(first(file, Llama2cPart::token_embd), 0);
    EXPECT_EQ(first(file, Llama2cPart::attn_norm, 1), 80 + 8);
    EXPECT_EQ(first(file, Llama2cPart::attn_q), 96);
    EXPECT_EQ(first(file, Llama2cPart::attn_k, 1), 96 + 128 + 32);
    EXPECT_EQ(first(file, Llama2cPart::attn_output), 96 + 128 + 2 * 64);
    EXPECT_EQ(first(file, Llama2cPart::ffn_norm), 96 + 128 + 128 + 128);
    EXPECT_EQ(first(file, Llama2cPart::ffn_gate), 96 + 128 + 128 + 128 + 16);
    EXPECT_EQ(first(file, Llama2cPart::ffn_down), 496 + 2 * 96);
    EXPECT_EQ(first(file, Llama2cPart::ffn_up), 496 + 4 * 96);
    EXPECT_EQ(first(file, Llama2cPart::output_norm), 496 + 6 * 96);
    EXPECT_EQ(file.tensor(Llama2cPart::ffn_down, 1).rows, 8);
    EXPECT_EQ(file.tensor(Llama2cPart::ffn_down, 1).columns, 12);
    EXPECT_EQ(file.tensor(Llama2cPart::attn_k).rows, 4);
    EXPECT_EQ(file.tensor(Llama2cPart::attn_q, 1).offset, 28U + 4 * (96 + 64));
    if (shared) {
      EXPECT_THROW(file.tensor(Llama2cPart::output), LogicError);
    } else {
      EXPECT_EQ(first(file, Llama2cPart::output), 496 + 6 * 96 + 8 + 12);
    }
    EXPECT_THROW(file.tensor(Llama2cPart::attn_q, 2), LogicError);
  }
}

TEST(Llama2c, PlacesTheTensorsOfVersion1) {
  for (const bool shared : {true, false}) {
    const std::string bytes = version1(shared);
    const auto file = Llama2cFile::parse(bytes_of(bytes), "stories.bin");
    EXPECT_EQ(file.version(), 1U);
    EXPECT_EQ(file.shape().shared_classifier, shared);
    EXPECT_EQ(first(file, Llama2cPart::attn_norm, 1), 8);
    EXPECT_EQ(first(file, Llama2cPart::ffn_norm), 16);
    EXPECT_EQ(first(file, Llama2cPart::output_norm), 32);
    EXPECT_EQ(first(file, Llama2cPart::token_embd), 40);
    EXPECT_EQ(first(file, Llama2cPart::attn_q), 120);
    EXPECT_EQ(first(file, Llama2cPart::attn_output, 1), 120 + 128 + 128 + 64);
    EXPECT_EQ(first(file, Llama2cPart::ffn_gate), 120 + 384);
    EXPECT_EQ(first(file, Llama2cPart::ffn_down), 120 + 384 + 192);
    EXPECT_EQ(first(file, Llama2cPart::ffn_up), 120 + 384 + 384);
    if (!shared) {
      EXPECT_EQ(first(file, Llama2cPart::output), 120 + 384 + 576);
    }
  }
}

TEST(Llama2c, DamagedFilesAreRefusedWithTheFault) {
  const auto with = [](std::string bytes, std::size_t at, std::int32_t value) {
    std::memcpy(bytes.data() + at, &value, 4);
    return bytes;
  };
  const auto expect = [](const std::string& bytes, const std::string& part) {
    EXPECT_NE(message_of(bytes).find(part), std::string::npos) << message_of(bytes);
  };
  EXPECT_EQ(message_of(legacy(true)), "no error");
  expect("", "offset 0 (dim)");
  expect(legacy(true).substr(0, 27), "offset 24 (max_seq_len)");
  expect(legacy(true).substr(0, legacy(true).size() - 1), "expected a file of");
  expect(legacy(true) + "x", "expected a file of");
  for (const std::size_t at : {0U, 4U, 8U, 12U, 16U, 24U}) {
    expect(with(legacy(true), at, 0), fmt::format("offset {}", at));
    expect(with(legacy(true), at, -5), fmt::format("offset {}", at));
  }
  expect(with(legacy(true), 20, 0), "offset 20 (vocabulary size)");
  expect(with(legacy(true), 20, INT32_MIN), "expected a file of");
  expect(with(legacy(true), 12, 3), "a divisor of dim 8");
  expect(with(legacy(true), 16, 3), "a divisor of n_heads 4");
  expect(with(with(with(legacy(true), 0, INT32_MAX), 4, INT32_MAX), 8, INT32_MAX), "(n_heads)");
  std::string huge = with(with(with(legacy(true), 0, 1 << 30), 4, INT32_MAX), 8, INT32_MAX);
  expect(huge, "a shape that a file can have");
  expect(with(version1(true), 4, 2), "1 (float32)");
  expect(with(version1(true), 28, -10), "offset 28 (vocabulary size)");
  expect(version1(true).substr(0, 200), "expected a file of");
  expect(version1(true) + "1234", "expected a file of");
}

TEST(Llama2c, IsKnownByItsMagicOrItsName) {
  const test::TemporaryFolder folder;
  const auto write = [&](const std::string& name, const std::string& bytes) {
    std::ofstream(folder / name, std::ios::binary) << bytes;
    return folder / name;
  };
  EXPECT_TRUE(is_llama2c(write("a.bin", legacy(true))));
  EXPECT_TRUE(is_llama2c(write("a.model", version1(true))));
  EXPECT_FALSE(is_llama2c(write("a.gguf", legacy(true))));
  EXPECT_FALSE(is_llama2c(write("b.bin", "GGUF....")));
  EXPECT_THROW(is_llama2c(folder / "none.bin"), IoError);
  EXPECT_EQ(Llama2cFile::open(write("c.bin", legacy(true))).shape().hidden, 8);
}

}  // namespace
}  // namespace rpt::io

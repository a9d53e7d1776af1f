// SPDX-License-Identifier: MIT
// Against Hugging Face's tokenizers: tokenizers_golden.json, written by tokenizers_golden.py beside it.
#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "rpt/core/atomic_file.h"
#include "rpt/text/byte_level.h"
#include "rpt/text/pre_tokenizer.h"
#include "rpt/text/tokenizer.h"
#include "rpt/text/tokenizer_json.h"
#include "tests/shared_data.h"

namespace rpt::text {
namespace {

const nlohmann::json& golden() {
  static const nlohmann::json kGolden =
      nlohmann::json::parse(core::read_file(test::source_dir() / "tests/unit/text/tokenizers_golden.json"));
  return kGolden;
}

PreTokenizer pre_tokenizer_of(const nlohmann::json& definition) {
  const std::string file = "golden";
  const TokenizerJsonTree tree = parse_tokenizer_json(definition.dump(), file);
  return PreTokenizer(read_pre_tokenizer(JsonNode(tree.rest, "pre_tokenizer", file)), file);
}

TEST(Golden, PreTokenizersSplitAsTheirs) {
  std::size_t compared = 0;
  for (const auto& entry : golden()["pre_tokenizers"]) {
    SCOPED_TRACE(entry["pre_tokenizer"].dump());
    const PreTokenizer pre_tokenizer = pre_tokenizer_of(entry["pre_tokenizer"]);
    MatchScratch scratch;
    for (const auto& row : entry["rows"]) {
      const std::string text = row[0];
      std::vector<std::string> theirs = row[1];
      if (pre_tokenizer.is_byte_level()) {
        for (std::string& piece : theirs) piece = from_byte_level(piece).value();
      }
      std::vector<std::string> ours;
      pre_tokenizer.split({text, 0}, true, scratch, [&](const TextSpan& span) { ours.emplace_back(span.text); });
      EXPECT_EQ(ours, theirs) << nlohmann::json(text).dump();
      ++compared;
    }
  }
  EXPECT_GT(compared, 700u);
}

TEST(Golden, EncodingsAreTheirs) {
  std::size_t compared = 0;
  for (const auto& entry : golden()["encodings"]) {
    SCOPED_TRACE(entry["name"].get<std::string>());
    const Tokenizer tokenizer = Tokenizer::from_tokenizer_json(entry["tokenizer"].dump(), "golden");
    for (const auto& row : entry["rows"]) {
      SCOPED_TRACE(row["text"].dump());
      const std::string text = row["text"];
      const EncodedText encoded = tokenizer.encode_with_offsets(text);
      EXPECT_EQ(encoded.ids, row["ids"].get<std::vector<std::int32_t>>());
      // Theirs are in characters, so a token that ends inside of one differs; and what a normaliser puts in front of a
      // character covers that character. Where characters are left out theirs lose count.
      const bool ascii = std::all_of(text.begin(), text.end(), [](char c) { return static_cast<signed char>(c) >= 0; });
      if (ascii && entry["tokenizer"]["normalizer"].is_null() && encoded.dropped_bytes == 0) {
        EXPECT_EQ(encoded.ends, row["ends"].get<std::vector<std::uint64_t>>());
      }
      EXPECT_EQ(tokenizer.encode(text, {.special = true}), row["special_ids"].get<std::vector<std::int32_t>>());
      EXPECT_EQ(tokenizer.decode(encoded.ids), row["decoded"].get<std::string>());
      ++compared;
    }
  }
  EXPECT_GT(compared, 200u);
}

}  // namespace
}  // namespace rpt::text

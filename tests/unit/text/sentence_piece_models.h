// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace rpt::test {

/// One piece of a made-up tokenizer.model, its type by the numbers of sentencepiece_model.proto.
struct ProtoPiece {
  std::string text;
  float score = 0;
  std::uint32_t type = 1;
};

/// A tokenizer.model to be made up.
struct ProtoModel {
  std::vector<ProtoPiece> pieces;
  std::uint32_t model_type = 2;
  bool byte_fallback = true, space_prefix = true, remove_extra_whitespaces = false, escape_whitespaces = true;
  bool whitespace_as_suffix = false;
  std::string charsmap{}, denormalizer_charsmap{};
};

/// <unk>, <s>, </s>, the 256 bytes if asked, then `pieces` with falling scores.
ProtoModel proto_model(const std::vector<std::string>& pieces, bool byte_fallback = true);

/// Its bytes.
std::string serialize(const ProtoModel& model);

/// llama2.c's tokenizer.bin.
std::string llama2c_file(const std::vector<ProtoPiece>& pieces, std::uint32_t longest = 64);

}  // namespace rpt::test

// SPDX-License-Identifier: MIT
#include "tests/unit/text/sentence_piece_models.h"

#include <fmt/format.h>

#include <bit>

namespace rpt::test {

namespace {

void put_varint(std::string& out, std::uint64_t value) {
  for (; value >= 0x80; value >>= 7) out += static_cast<char>(static_cast<std::uint8_t>(value | 0x80));
  out += static_cast<char>(static_cast<std::uint8_t>(value));
}

void put_field(std::string& out, std::uint32_t number, std::uint64_t value) {
  put_varint(out, number << 3);
  put_varint(out, value);
}

void put_field(std::string& out, std::uint32_t number, std::string_view bytes) {
  put_varint(out, number << 3 | 2);
  put_varint(out, bytes.size());
  out += bytes;
}

void put_u32(std::string& out, std::uint32_t value) {
  for (unsigned shift = 0; shift < 32; shift += 8) out += static_cast<char>(static_cast<std::uint8_t>(value >> shift));
}

void put_float(std::string& out, std::uint32_t number, float value) {
  put_varint(out, number << 3 | 5);
  put_u32(out, std::bit_cast<std::uint32_t>(value));
}

}  // namespace

ProtoModel proto_model(const std::vector<std::string>& pieces, bool byte_fallback) {
  ProtoModel model{.pieces = {{"<unk>", 0, 2}, {"<s>", 0, 3}, {"</s>", 0, 3}}, .byte_fallback = byte_fallback};
  for (unsigned byte = 0; byte_fallback && byte < 256; ++byte) {
    model.pieces.push_back({fmt::format("<0x{:02X}>", byte), 0, 6});
  }
  float score = 0;
  for (const std::string& piece : pieces) model.pieces.push_back({piece, score -= 1});
  return model;
}

std::string serialize(const ProtoModel& model) {
  std::string out;
  for (const ProtoPiece& piece : model.pieces) {
    std::string message;
    put_field(message, 1, piece.text);
    put_float(message, 2, piece.score);
    if (piece.type != 1) put_field(message, 3, piece.type);
    put_field(out, 1, message);
  }
  std::string trainer;
  put_field(trainer, 3, model.model_type);
  put_field(trainer, 4, model.pieces.size());
  put_field(trainer, 24, std::uint64_t{model.whitespace_as_suffix});
  put_field(trainer, 35, std::uint64_t{model.byte_fallback});
  put_field(trainer, 43, ~std::uint64_t{0});
  put_field(out, 2, trainer);
  std::string normalizer;
  put_field(normalizer, 1, "identity");
  put_field(normalizer, 2, model.charsmap);
  put_field(normalizer, 3, std::uint64_t{model.space_prefix});
  put_field(normalizer, 4, std::uint64_t{model.remove_extra_whitespaces});
  put_field(normalizer, 5, std::uint64_t{model.escape_whitespaces});
  put_field(out, 3, normalizer);
  if (!model.denormalizer_charsmap.empty()) {
    std::string denormalizer;
    put_field(denormalizer, 2, model.denormalizer_charsmap);
    put_field(out, 5, denormalizer);
  }
  return out;
}

std::string llama2c_file(const std::vector<ProtoPiece>& pieces, std::uint32_t longest) {
  std::string out;
  put_u32(out, longest);
  for (const ProtoPiece& piece : pieces) {
    put_u32(out, std::bit_cast<std::uint32_t>(piece.score));
    put_u32(out, static_cast<std::uint32_t>(piece.text.size()));
    out += piece.text;
  }
  return out;
}

}  // namespace rpt::test

// SPDX-License-Identifier: MIT
#include <array>
#include <bit>
#include <optional>

#include "rpt/core/error.h"
#include "rpt/text/tokenizer_state.h"
#include "rpt/text/utf8.h"

namespace rpt::text {

namespace {

/// One field of a protobuf message.
struct ProtoField {
  enum class Wire : std::uint8_t { varint = 0, fixed64 = 1, bytes = 2, fixed32 = 5 };
  std::uint64_t number;
  Wire wire;
  std::uint64_t value;     ///< of varint, fixed32 and fixed64
  std::string_view bytes;  ///< of bytes
  std::uint64_t offset;    ///< in the file, of the field's tag
  std::uint64_t inside;    ///< in the file, of the first of `bytes`
};

/// Reads the fields of a message one after another and never beyond its end. Throws FormatError.
/// Source: protobuf.dev/programming-guides/encoding
class ProtoReader {
 public:
  ProtoReader(std::string_view bytes, const std::string& file, std::string place, std::uint64_t base = 0)
      : bytes_(bytes), file_(file), place_(std::move(place)), base_(base) {}

  /// The next field, or nothing at the end.
  std::optional<ProtoField> next() {
    if (at_ == bytes_.size()) return std::nullopt;
    ProtoField field{.offset = base_ + at_};
    const std::uint64_t tag = varint();
    field.number = tag >> 3;
    const auto wire = static_cast<std::uint8_t>(tag & 7);
    if (field.number == 0) fail(field.offset, "a field number above 0", "0");
    field.wire = static_cast<ProtoField::Wire>(wire);
    switch (field.wire) {
      case ProtoField::Wire::varint:
        field.value = varint();
        break;
      case ProtoField::Wire::fixed64:
        field.value = fixed(8);
        break;
      case ProtoField::Wire::fixed32:
        field.value = fixed(4);
        break;
      case ProtoField::Wire::bytes: {
        const std::uint64_t size = varint();
        if (size > bytes_.size() - at_) {
          fail(field.offset, fmt::format("{} bytes", size), fmt::format("{} up to the end", bytes_.size() - at_));
        }
        field.inside = base_ + at_;
        field.bytes = bytes_.substr(at_, static_cast<std::size_t>(size));
        at_ += static_cast<std::size_t>(size);
        break;
      }
      default:
        fail(field.offset, "wire type 0, 1, 2 or 5", fmt::format("{}", wire));
    }
    return field;
  }

  void expect(const ProtoField& field, ProtoField::Wire wire) const {
    if (field.wire != wire) {
      fail(field.offset, fmt::format("field {} of wire type {}", field.number, static_cast<unsigned>(wire)),
           fmt::format("type {}", static_cast<unsigned>(field.wire)));
    }
  }
  [[noreturn]] void fail(std::uint64_t offset, const std::string& expected, const std::string& found) const {
    throw FormatError(file_, offset, place_, expected, found);
  }

 private:
  std::uint64_t varint() {
    const std::size_t begin = at_;
    std::uint64_t value = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
      if (at_ == bytes_.size()) fail(base_ + begin, "a whole integer", "the end");
      const auto byte = static_cast<unsigned char>(bytes_[at_++]);
      value |= static_cast<std::uint64_t>(byte & 0x7F) << shift;
      if (byte < 0x80) return value;
    }
    fail(base_ + begin, "an integer of at most 10 bytes", "a longer one");
  }

  std::uint64_t fixed(std::size_t size) {
    if (size > bytes_.size() - at_) {
      fail(base_ + at_, fmt::format("{} bytes", size), fmt::format("{} up to the end", bytes_.size() - at_));
    }
    std::uint64_t value = 0;
    for (std::size_t i = 0; i < size; ++i) {
      value |= static_cast<std::uint64_t>(static_cast<unsigned char>(bytes_[at_ + i])) << (8 * i);
    }
    at_ += size;
    return value;
  }

  std::string_view bytes_;
  const std::string& file_;
  std::string place_;
  std::uint64_t base_;
  std::size_t at_ = 0;
};

/// The types of sentencepiece_model.proto, which numbers byte and unused otherwise than GGUF.
std::optional<TokenType> piece_type(std::uint64_t type) {
  switch (type) {
    case 1:
      return TokenType::normal;
    case 2:
      return TokenType::unknown;
    case 3:
      return TokenType::control;
    case 4:
      return TokenType::user_defined;
    case 5:
      return TokenType::unused;
    case 6:
      return TokenType::byte;
    default:
      return std::nullopt;
  }
}

/// One reading of one ModelProto. Field numbers: sentencepiece_model.proto.
class ModelReader {
 public:
  ModelReader(std::string_view bytes, std::vector<AddedPiece> added, const std::string& file)
      : texts_(std::make_shared<const Texts>(Texts{std::string(bytes), std::move(added)})), file_(file) {}

  std::shared_ptr<TokenizerState> run() {
    ProtoReader model(texts_->model, file_, "SentencePiece model");
    while (const auto field = model.next()) {
      if (field->number < 1 || field->number > 5) continue;
      model.expect(*field, ProtoField::Wire::bytes);
      if (field->number == 1) read_piece(*field);
      if (field->number == 2) read_trainer(*field);
      if (field->number == 3) read_normalizer(*field);
      if (field->number == 5) read_denormalizer(*field);
    }
    if (parts_.pieces.empty()) throw FormatError(file_, 0, "SentencePiece model", "pieces", "none");
    for (const AddedPiece& added : texts_->added) {
      parts_.pieces.push_back(added.text);
      parts_.rules.scores.push_back(0);
      parts_.types.push_back(added.special ? TokenType::control : TokenType::user_defined);
    }
    refuse_what_differs();
    parts_.file = file_;
    parts_.byte_fallback = byte_fallback_ != 0;
    parts_.user_defined_inside_text = true;
    if (texts_->added.empty()) parts_.rules.model_file = texts_->model;
    parts_.keep_alive = texts_;
    auto state = make_sentence_piece(std::move(parts_));
    if (byte_fallback_ != 0 && !state->model.holds_every_byte()) {
      throw FormatError(file_, 0, "pieces", "all 256 bytes, because byte_fallback is set", "not all of them");
    }
    read_ids(*state);
    return state;
  }

 private:
  [[noreturn]] void refuse(const std::string& what) const {
    throw ConfigError(fmt::format("{}: {} is not supported", file_, what));
  }

  void read_piece(const ProtoField& message) {
    const std::size_t index = parts_.pieces.size();
    ProtoReader piece(message.bytes, file_, fmt::format("piece {}", index), message.inside);
    if (index == kMaxTokens) piece.fail(message.offset, fmt::format("at most {} pieces", kMaxTokens), "more");
    std::string_view text;
    float score = 0;
    TokenType type = TokenType::normal;
    while (const auto field = piece.next()) {
      if (field->number == 1) {
        piece.expect(*field, ProtoField::Wire::bytes);
        text = field->bytes;
      } else if (field->number == 2) {
        piece.expect(*field, ProtoField::Wire::fixed32);
        score = std::bit_cast<float>(static_cast<std::uint32_t>(field->value));
      } else if (field->number == 3) {
        piece.expect(*field, ProtoField::Wire::varint);
        const auto known = piece_type(field->value);
        if (!known) piece.fail(field->offset, "a type from 1 to 6", fmt::format("{}", field->value));
        type = *known;
      }
    }
    if (text.empty()) piece.fail(message.offset, "a text", "none");
    parts_.pieces.push_back(text);
    parts_.rules.scores.push_back(score);
    parts_.types.push_back(type);
  }

  void read_trainer(const ProtoField& message) {
    ProtoReader trainer(message.bytes, file_, "trainer_spec", message.inside);
    while (const auto field = trainer.next()) {
      std::uint64_t* const value = trainer_value(field->number);
      if (value == nullptr) continue;
      trainer.expect(*field, ProtoField::Wire::varint);
      *value = field->value;
    }
  }

  std::uint64_t* trainer_value(std::uint64_t number) {
    switch (number) {
      case 3:
        return &model_type_;
      case 24:
        return &treat_whitespace_as_suffix_;
      case 35:
        return &byte_fallback_;
      case 40:
        return &unk_id_;
      case 41:
        return &bos_id_;
      case 42:
        return &eos_id_;
      case 43:
        return &pad_id_;
      default:
        return nullptr;
    }
  }

  void read_normalizer(const ProtoField& message) {
    ProtoReader normalizer(message.bytes, file_, "normalizer_spec", message.inside);
    while (const auto field = normalizer.next()) {
      if (field->number == 2) {
        normalizer.expect(*field, ProtoField::Wire::bytes);
        if (!field->bytes.empty()) refuse("a normaliser with a precompiled_charsmap");
      } else if (field->number >= 3 && field->number <= 5) {
        normalizer.expect(*field, ProtoField::Wire::varint);
        (field->number == 3   ? parts_.rules.space_prefix
         : field->number == 4 ? remove_extra_whitespaces_
                              : escape_whitespaces_) = field->value != 0;
      }
    }
  }

  void read_denormalizer(const ProtoField& message) const {
    ProtoReader denormalizer(message.bytes, file_, "denormalizer_spec", message.inside);
    while (const auto field = denormalizer.next()) {
      if (field->number != 2) continue;
      denormalizer.expect(*field, ProtoField::Wire::bytes);
      if (!field->bytes.empty()) refuse("a denormaliser with a precompiled_charsmap");
    }
  }

  void refuse_what_differs() const {
    constexpr std::array<std::string_view, 5> kModels = {"0", "UNIGRAM", "BPE", "WORD", "CHAR"};
    if (model_type_ != 2) {
      refuse(fmt::format("the model type {}", model_type_ < kModels.size()
                                                  ? std::string(kModels[static_cast<std::size_t>(model_type_)])
                                                  : fmt::format("{}", model_type_)));
    }
    if (remove_extra_whitespaces_) refuse("remove_extra_whitespaces");
    if (!escape_whitespaces_) refuse("escape_whitespaces = false");
    if (treat_whitespace_as_suffix_ != 0) refuse("treat_whitespace_as_suffix");
    for (std::size_t i = 0; i < parts_.pieces.size(); ++i) {
      const std::string_view piece = parts_.pieces[i];
      const bool spaces = piece.find(' ') != std::string_view::npos || piece.find(kSpaceSign) != std::string_view::npos;
      if (parts_.types[i] == TokenType::unused) refuse("an unused piece");
      if (parts_.types[i] == TokenType::user_defined && spaces) {
        refuse(fmt::format("the user-defined piece '{}', which holds a space,", for_message(piece)));
      }
    }
  }

  /// An id of the trainer's, which is -1 for none and counts only where the piece is of the type it should be.
  std::optional<std::int32_t> id_of(const Vocabulary& vocabulary, const char* name, std::uint64_t value,
                                    TokenType type) const {
    const auto id = static_cast<std::int64_t>(value);
    if (id < 0) return std::nullopt;
    if (!vocabulary.holds(id)) {
      throw FormatError(file_, 0, fmt::format("trainer_spec.{}", name),
                        fmt::format("an id below {}", vocabulary.size()), fmt::format("{}", id));
    }
    const auto piece = static_cast<std::int32_t>(id);
    return vocabulary.type(piece) == type ? std::optional(piece) : std::nullopt;
  }

  void read_ids(TokenizerState& state) const {
    const auto& vocabulary = state.vocabulary;
    (void)id_of(vocabulary, "unk_id", unk_id_, TokenType::unknown);
    state.special.bos = id_of(vocabulary, "bos_id", bos_id_, TokenType::control);
    state.special.adds_bos = state.special.bos.has_value();
    state.special.pad = id_of(vocabulary, "pad_id", pad_id_, TokenType::control);
    if (const auto eos = id_of(vocabulary, "eos_id", eos_id_, TokenType::control)) state.special.ends.push_back(*eos);
    find_special_ids_by_name(vocabulary, state.special);
  }

  /// What the pieces point into.
  struct Texts {
    std::string model;
    std::vector<AddedPiece> added;
  };
  std::shared_ptr<const Texts> texts_;
  const std::string& file_;
  SentencePieceParts parts_;
  // The defaults of sentencepiece_model.proto.
  std::uint64_t model_type_ = 1, treat_whitespace_as_suffix_ = 0, byte_fallback_ = 0;
  std::uint64_t unk_id_ = 0, bos_id_ = 1, eos_id_ = 2, pad_id_ = ~std::uint64_t{0};
  bool remove_extra_whitespaces_ = true, escape_whitespaces_ = true;
};

}  // namespace

Tokenizer Tokenizer::from_sentencepiece(std::string_view bytes, const std::string& file_name,
                                        std::vector<AddedPiece> added) {
  return Tokenizer(ModelReader(bytes, std::move(added), file_name).run());
}

}  // namespace rpt::text

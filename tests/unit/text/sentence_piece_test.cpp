// SPDX-License-Identifier: MIT
#include <gtest/gtest.h>

#include <random>

#include "rpt/core/atomic_file.h"
#include "rpt/core/error.h"
#include "rpt/text/sentence_piece.h"
#include "rpt/text/tokenizer.h"
#include "rpt/text/utf8.h"
#include "tests/message_of.h"
#include "tests/shared_data.h"
#include "tests/unit/text/sentence_piece_models.h"
#ifdef RPT_HAS_SENTENCEPIECE
#include <sentencepiece_processor.h>
#endif

namespace rpt::text {
namespace {

using test::message_of;
using Ids = std::vector<std::int32_t>;

constexpr const char* kLlama2 = "data/tokenizers/llama2/tokenizer.model";

Tokenizer small(const std::vector<std::string>& pieces) {
  return Tokenizer::from_sentencepiece(test::serialize(test::proto_model(pieces)), "small.model");
}

Tokenizer llama2() {
  return Tokenizer::from_sentencepiece(core::read_file(test::shared(kLlama2)), "tokenizer.model");
}

/// Scalar values of every size, with runs of spaces and letters among them.
std::string random_text(std::mt19937& random, std::size_t characters, bool with_space_sign) {
  std::string text;
  for (std::size_t i = 0; i < characters; ++i) {
    char32_t c = U' ';
    switch (random() % 8) {
      case 0:
        break;
      case 1:
        text.append(random() % 5, ' ');
        c = U'\n';
        break;
      case 2:
        c = static_cast<char32_t>(random() % 0x80);
        break;
      case 3:
        c = static_cast<char32_t>(0x80 + random() % 0x780);
        break;
      case 4:
        c = static_cast<char32_t>(0x800 + random() % 0xD000);
        break;
      case 5:
        c = static_cast<char32_t>(0x10000 + random() % 0x100000);
        break;
      default:
        c = static_cast<char32_t>('a' + random() % 26);
    }
    if (c == U'\u2581' && !with_space_sign) c = U'_';
    append_utf8(text, c);
  }
  return text;
}

TEST(SentencePiece, MergesTheHighestScoreFirstAndTheLeftmostOfEquals) {
  // ab before bc, whatever comes first in the text; of the two ways through aaa the left one.
  const Tokenizer t = small({"ab", "bc", "aa", "abc", "a", "b", "c", "\u2581"});
  const auto texts = [&](std::string_view text) {
    std::vector<std::string> out;
    for (const std::int32_t id : t.encode(text)) out.emplace_back(t.token_text(id));
    return out;
  };
  EXPECT_EQ(texts("abc"), (std::vector<std::string>{"\u2581", "abc"}));
  EXPECT_EQ(texts("bcab"), (std::vector<std::string>{"\u2581", "bc", "ab"}));
  EXPECT_EQ(texts("aaa"), (std::vector<std::string>{"\u2581", "aa", "a"}));
  EXPECT_EQ(texts("aab"), (std::vector<std::string>{"\u2581", "a", "ab"}));
  EXPECT_EQ(texts("d\u00e9"), (std::vector<std::string>{"\u2581", "<0x64>", "<0xC3>", "<0xA9>"}));
  EXPECT_EQ(texts(""), std::vector<std::string>{});
}

TEST(SentencePiece, CoversTheTextWithItsTokens) {
  const Tokenizer t = small({"\u2581a", "b", "a", "\u2581"});
  const EncodedText encoded = t.encode_with_offsets("a  ab\xffz");
  EXPECT_EQ(encoded.ends, (std::vector<std::uint64_t>{1, 2, 4, 5, 6, 7}));
  EXPECT_EQ(encoded.dropped_bytes, 0U);
  EXPECT_EQ(t.decode(encoded.ids), "a  ab\xffz");
  EXPECT_EQ(t.piece(encoded.ids[0]), " a");
}

TEST(SentencePiece, SpecialTokensBeginATextAnew) {
  const Tokenizer t = small({"\u2581a", "a", "\u2581", "s", "<", ">", "/"});
  const std::int32_t a = t.find(" a").value(), end = t.find("</s>").value();
  EXPECT_EQ(t.bos_id(), 1);
  EXPECT_TRUE(t.adds_bos());
  EXPECT_EQ(t.end_ids(), Ids{end});
  EXPECT_EQ(t.encode("a</s>a", {.special = true}), (Ids{a, end, a}));
  EXPECT_EQ(t.encode("a</s>a").size(), 6U);
  for (const bool special : {false, true}) {
    for (const char* text : {"<s>a</s> a", "</s></s>", " a</s>", "a<s>", "<unk> a<unk>a"}) {
      EXPECT_EQ(t.decode(t.encode(text, {.special = special})), text);
    }
  }
  EXPECT_EQ(t.find("\n"), 3 + 10);
  EXPECT_EQ(t.type(t.find("\n").value()), TokenType::byte);
  EXPECT_FALSE(t.find("aa").has_value());
  EXPECT_FALSE(t.gguf_pre().has_value());
}

TEST(SentencePiece, CutsWordsOnlyWhereNoPieceReachesOver) {
  const auto borders = [](const std::vector<std::string_view>& pieces, std::string_view text) {
    std::vector<TokenType> types(pieces.size(), TokenType::normal);
    const WordBorders found(Vocabulary(pieces, types, nullptr, "test"));
    std::vector<std::size_t> out;
    for (std::size_t at = 0; at < text.size();) out.push_back(at = found.next(text, at));
    return out;
  };
  EXPECT_EQ(borders({"\u2581", "\u2581a"}, "a  b c"), (std::vector<std::size_t>{1, 2, 4, 6}));
  EXPECT_EQ(borders({"\u2581", "\u2581\u2581"}, "a  b c"), (std::vector<std::size_t>{1, 4, 6}));
  EXPECT_EQ(borders({"\u2581", "b\u2581c"}, "a  b c"), (std::vector<std::size_t>{1, 2, 6}));
  EXPECT_EQ(borders({"\u2581", "\u00e9\u2581c"}, "\u00e9 b \u00e9\xc3 c"), (std::vector<std::size_t>{4, 8, 10}));
  EXPECT_EQ(borders({"\u2581a"}, "a  b c"), std::vector<std::size_t>{6}) << "no piece for the space";
}

TEST(SentencePiece, RefusesByName) {
  const auto refused = [](const std::function<void(test::ProtoModel&)>& change) {
    test::ProtoModel model = test::proto_model({"a", "\u2581"});
    change(model);
    return message_of([&] { (void)Tokenizer::from_sentencepiece(test::serialize(model), "m"); });
  };
  EXPECT_EQ(refused([](auto&) {}), "no error");
  EXPECT_EQ(refused([](auto& m) { m.model_type = 1; }), "m: the model type UNIGRAM is not supported");
  EXPECT_EQ(refused([](auto& m) { m.model_type = 77; }), "m: the model type 77 is not supported");
  EXPECT_NE(refused([](auto& m) { m.charsmap = "x"; }).find("precompiled_charsmap"), std::string::npos);
  EXPECT_NE(refused([](auto& m) { m.denormalizer_charsmap = "x"; }).find("denormaliser"), std::string::npos);
  EXPECT_NE(refused([](auto& m) { m.remove_extra_whitespaces = true; }).find("remove_extra"), std::string::npos);
  EXPECT_NE(refused([](auto& m) { m.escape_whitespaces = false; }).find("escape_whitespaces"), std::string::npos);
  EXPECT_NE(refused([](auto& m) { m.whitespace_as_suffix = true; }).find("suffix"), std::string::npos);
  EXPECT_NE(refused([](auto& m) { m.pieces.push_back({"u", 0, 5}); }).find("unused"), std::string::npos);
  EXPECT_NE(refused([](auto& m) { m.pieces.push_back({"a b", 0, 4}); }).find("'a b'"), std::string::npos);
}

TEST(SentencePiece, SaysWhatIsDamaged) {
  const auto damaged = [](const std::function<void(test::ProtoModel&)>& change) {
    test::ProtoModel model = test::proto_model({"a", "\u2581"});
    change(model);
    return message_of([&] { (void)Tokenizer::from_sentencepiece(test::serialize(model), "m"); });
  };
  EXPECT_NE(damaged([](auto& m) { m.pieces.clear(); }).find("expected pieces, found none"), std::string::npos);
  EXPECT_NE(damaged([](auto& m) { m.pieces[5].text.clear(); }).find("(piece 5): expected a text, found none"),
            std::string::npos);
  EXPECT_NE(damaged([](auto& m) { m.pieces[5].type = 9; }).find("(piece 5): expected a type from 1 to 6, found 9"),
            std::string::npos);
  EXPECT_NE(damaged([](auto& m) { m.pieces.back().score = NAN; }).find("expected a finite number"), std::string::npos);
  EXPECT_NE(damaged([](auto& m) { m.pieces.back().text = "a"; }).find("the text of token 259"), std::string::npos);
  EXPECT_NE(damaged([](auto& m) { m.pieces.back().text = "\xff"; }).find("UTF-8"), std::string::npos);
  EXPECT_NE(damaged([](auto& m) { m.pieces.back().text = std::string(513, 'a'); }).find("at most 512 bytes"),
            std::string::npos);
  EXPECT_NE(damaged([](auto& m) { m.pieces[7].type = 1; }).find("no error"), std::string::npos) << "still a byte";
  EXPECT_NE(damaged([](auto& m) { m.pieces[7].text = "<0xZZ>"; }).find("all 256 bytes"), std::string::npos);
  EXPECT_NE(damaged([](auto& m) { m.pieces[1].type = 2; }).find("one unknown piece, found 0 and 1"), std::string::npos);
  const auto bytes = [](std::string_view file) {
    return message_of([&] { (void)Tokenizer::from_sentencepiece(file, "m"); });
  };
  EXPECT_EQ(bytes("\x0a\xff"), "m: at offset 1 (SentencePiece model): expected a whole integer, found the end");
  EXPECT_EQ(bytes("\x0a\x05x"), "m: at offset 0 (SentencePiece model): expected 5 bytes, found 1 up to the end");
  EXPECT_EQ(bytes("\x0a\x02\x0a\x05"), "m: at offset 2 (piece 0): expected 5 bytes, found 0 up to the end");
  EXPECT_EQ(bytes("\x0d"), "m: at offset 1 (SentencePiece model): expected 4 bytes, found 0 up to the end");
  EXPECT_EQ(bytes("\x0b"), "m: at offset 0 (SentencePiece model): expected wire type 0, 1, 2 or 5, found 3");
  EXPECT_EQ(bytes(std::string(12, '\xff')),
            "m: at offset 0 (SentencePiece model): expected an integer of at most 10 bytes, found a longer one");
  EXPECT_NE(bytes("\x08\x01").find("expected field 1 of wire type 2, found type 0"), std::string::npos);
  // Cut anywhere, a file is refused or, between two fields, read as a smaller one.
  const std::string whole = test::serialize(test::proto_model({"a", "\u2581"}));
  for (std::size_t size = 0; size < whole.size(); size += 7) EXPECT_NE(bytes(whole.substr(0, size)), "no error");
}

TEST(Llama2c, SaysWhatIsDamaged) {
  std::vector<test::ProtoPiece> pieces = {{"<unk>"}, {"\n<s>\n"}, {"\n</s>\n"}, {" a", -1}, {"a", -2}, {" ", -3}};
  const auto opened = [&](std::uint32_t longest = 64, std::size_t cut = 0) {
    std::string file = test::llama2c_file(pieces, longest);
    file.resize(file.size() - cut);
    return message_of([&] { (void)Tokenizer::from_llama2c(file, "t.bin"); });
  };
  EXPECT_EQ(opened(), "no error");
  EXPECT_EQ(opened(64, 1), "t.bin: at offset 71 (piece 5): expected 1 bytes, found 0 up to the end");
  EXPECT_EQ(opened(64, 6), "t.bin: at offset 63 (piece 5): expected 4 bytes, found 3 up to the end");
  EXPECT_EQ(opened(4), "t.bin: at offset 4 (piece 0): expected at most 4 bytes, found 5");
  EXPECT_EQ(message_of([] { (void)Tokenizer::from_llama2c("abc", "t.bin"); }),
            "t.bin: at offset 0 (size of the longest piece): expected 4 bytes, found 3 up to the end");
  pieces[1].text = "<x>";
  EXPECT_EQ(opened(), "t.bin: at offset 4 (piece 1): expected <s>, found '<x>'");
  pieces.resize(1);
  EXPECT_EQ(opened(), "t.bin: at offset 4 (piece 1): expected <s>, found the end");
  const Tokenizer t = Tokenizer::from_llama2c(
      test::llama2c_file({{"<unk>"}, {"\n<s>\n"}, {"\n</s>\n"}, {"<0x0A>"}, {" a", -1}, {"a", -2}, {" ", -3}}),
      "t.bin");
  EXPECT_EQ(t.encode("a a\nb"), (Ids{4, 4, 3, 0}));
  EXPECT_EQ(t.token_text(4), "\u2581a");
  EXPECT_EQ(t.type(3), TokenType::byte);
  EXPECT_TRUE(t.adds_bos());
  EXPECT_EQ(t.bos_id(), 1);
  EXPECT_EQ(t.end_ids(), Ids{2});
}

GgufVocabulary small_gguf() {
  GgufVocabulary gguf{.file = "test.gguf", .model = "llama"};
  gguf.tokens = {"<unk>", "<s>", "</s>", "\u2581", "\u2581a", "a", "<x>", "[PAD7]"};
  gguf.types = {2, 3, 3, 1, 1, 1, 4, 5};
  gguf.scores = {0, 0, 0, -3, -1, -2, 0, 0};
  return gguf;
}

TEST(SentencePiece, ReadsGgufKeys) {
  const Tokenizer t = Tokenizer::from_gguf(small_gguf());
  EXPECT_EQ(t.encode("a<x>a a"), (Ids{4, 6, 4, 4})) << "user-defined tokens end a text";
  EXPECT_EQ(t.decode(Ids{4, 6, 4, 4}), "a<x>a a");
  EXPECT_EQ(t.encode("a?!a"), (Ids{4, 0, 5})) << "unknown characters side by side are one";
  EXPECT_TRUE(t.adds_bos());
  EXPECT_EQ(t.bos_id(), 1);
  EXPECT_EQ(t.end_ids(), Ids{2});
  GgufVocabulary without = small_gguf();
  without.add_space_prefix = false;
  without.add_bos = false;
  const Tokenizer plain = Tokenizer::from_gguf(std::move(without));
  EXPECT_EQ(plain.encode("a a"), (Ids{5, 4}));
  EXPECT_EQ(plain.decode(Ids{4, 5}), " aa");
  EXPECT_FALSE(plain.adds_bos());
  const auto fault = [](const std::function<void(GgufVocabulary&)>& change) {
    GgufVocabulary gguf = small_gguf();
    change(gguf);
    return message_of([&] { (void)Tokenizer::from_gguf(std::move(gguf)); });
  };
  EXPECT_NE(fault([](auto& g) { g.scores.pop_back(); }).find("expected 8, found 7"), std::string::npos);
  EXPECT_NE(fault([](auto& g) { g.types.clear(); }).find("token_type"), std::string::npos);
  EXPECT_NE(fault([](auto& g) { g.types[0] = 3; }).find("an unknown piece or all 256 bytes"), std::string::npos);
}

TEST(SentencePiece, WrittenJsonEncodesTheSame) {
  for (const bool prefix : {true, false}) {
    GgufVocabulary gguf = small_gguf();
    gguf.add_space_prefix = prefix;
    const Tokenizer t = Tokenizer::from_gguf(std::move(gguf));
    const Tokenizer read = Tokenizer::from_tokenizer_json(t.to_tokenizer_json(), "written");
    for (const char* text : {"a a", "a<x> a", " a", "?? a", "<s>a</s>"}) {
      for (const bool special : {false, true}) {
        EXPECT_EQ(read.encode(text, {.special = special}), t.encode(text, {.special = special})) << text;
      }
    }
    EXPECT_EQ(read.decode(t.encode("a a")), "a a");
    EXPECT_EQ(read.bos_id(), t.bos_id());
    EXPECT_EQ(read.end_ids(), t.end_ids());
    EXPECT_TRUE(read.adds_bos());
  }
  // ?a is a piece, ? is none: only SentencePiece can say that.
  const Tokenizer holes = small({"?a", "a", "\u2581"});
  EXPECT_EQ(holes.encode("?a?").size(), 3U);
  EXPECT_EQ(holes.decode(holes.encode("?a?")), "?a?");
  EXPECT_THROW((void)holes.to_tokenizer_json(), ConfigError);
  test::ProtoModel model = test::proto_model({"a", "\u2581"});
  model.pieces.push_back({"<x>", 0, 4});
  const Tokenizer inside = Tokenizer::from_sentencepiece(test::serialize(model), "m");
  EXPECT_FALSE(inside.fits_gguf_llama());
  EXPECT_THROW((void)inside.to_tokenizer_json(), ConfigError);
  EXPECT_NE(inside.to_tokenizer_config_json().find("LlamaTokenizer"), std::string::npos);
}

TEST(SentencePiece, SameIdsFromModelAndBin) {
  RPT_NEEDS_SHARED(kLlama2);
  const Tokenizer model = llama2();
  const Tokenizer bin =
      Tokenizer::from_llama2c(core::read_file(test::shared("data/tokenizers/llama2/tokenizer.bin")), "tokenizer.bin");
  ASSERT_EQ(bin.vocab_size(), model.vocab_size());
  for (std::int32_t id = 0; id < model.vocab_size(); ++id) {
    ASSERT_EQ(bin.token_text(id), model.token_text(id));
    ASSERT_EQ(bin.type(id), model.type(id)) << id;
  }
  const std::string wiki = core::read_file(test::shared("data/wikitext-2-raw/wiki.test.raw")).substr(0, 300'000);
  EXPECT_EQ(bin.encode(wiki), model.encode(wiki));
  EXPECT_EQ(bin.end_ids(), model.end_ids());
  EXPECT_EQ(model.bos_id(), 1);
  EXPECT_TRUE(model.fits_gguf_llama());
  EXPECT_EQ(model.sentence_piece()->model_file.size(), 499'723U);
  EXPECT_TRUE(bin.sentence_piece()->model_file.empty());
  const Tokenizer json = Tokenizer::from_tokenizer_json(bin.to_tokenizer_json(), "written");
  EXPECT_EQ(json.encode(wiki), model.encode(wiki));
  EXPECT_EQ(json.decode(json.encode(wiki)), wiki);
}

TEST(SentencePiece, DecodeOfEncodeIsTheText) {
  RPT_NEEDS_SHARED(kLlama2);
  const Tokenizer t = llama2();
  std::mt19937 random(7);
  for (int round = 0; round < 2000; ++round) {
    std::string text = random_text(random, random() % 80, false);
    if (round % 4 == 0) text += static_cast<char>(0x80 + random() % 0x80);  // no UTF-8
    const EncodedText encoded = t.encode_with_offsets(text, {.special = round % 2 == 0});
    ASSERT_EQ(t.decode(encoded.ids), text);
    ASSERT_EQ(encoded.dropped_bytes, 0U);
    ASSERT_EQ(encoded.ends.empty() ? 0U : encoded.ends.back(), text.size());
    // As generation does it, token by token.
    std::string pieces;
    for (const std::int32_t id : encoded.ids) pieces += t.piece(id);
    ASSERT_EQ(pieces, text.empty() ? "" : " " + text);
  }
}

#ifdef RPT_HAS_SENTENCEPIECE

Ids oracle_ids(const sentencepiece::SentencePieceProcessor& oracle, std::string_view text) {
  std::vector<int> ids;
  EXPECT_TRUE(oracle.Encode(text, &ids).ok());
  return {ids.begin(), ids.end()};
}

TEST(SentencePieceOracle, Llama2OnVariedText) {
  RPT_NEEDS_SHARED(kLlama2);
  const Tokenizer tokenizer = llama2();
  sentencepiece::SentencePieceProcessor oracle;
  ASSERT_TRUE(oracle.LoadFromSerializedProto(core::read_file(test::shared(kLlama2))).ok());
  const auto compare = [&](std::string_view text) {
    const Ids ids = tokenizer.encode(text);
    ASSERT_EQ(ids, oracle_ids(oracle, text)) << text.substr(0, 200);
    std::string decoded;
    ASSERT_TRUE(oracle.Decode(std::vector<int>(ids.begin(), ids.end()), &decoded).ok());
    ASSERT_EQ(tokenizer.decode(ids), decoded);
  };
  for (const char* file : {"data/wikitext-2-raw/wiki.test.raw", "data/text/tinystories/tinystories_944K.txt",
                           "data/text/shakespeare/tinyshakespeare.txt", "data/text/sotu/sotu.txt"}) {
    SCOPED_TRACE(file);
    const std::string text = core::read_file(test::shared(file));
    ASSERT_NO_FATAL_FAILURE(compare(std::string_view(text).substr(0, valid_utf8_prefix(text.substr(0, 120'000)))));
  }
  for (const auto& book : std::filesystem::directory_iterator(test::shared("data/text/classic-books"))) {
    if (book.path().extension() != ".md") continue;
    std::string text = core::read_file(book.path());
    text = text.substr(0, 4000);
    SCOPED_TRACE(book.path().string());
    ASSERT_NO_FATAL_FAILURE(compare(std::string_view(text).substr(0, valid_utf8_prefix(text))));
  }
  std::mt19937 random(1);
  for (int round = 0; round < 2000; ++round) ASSERT_NO_FATAL_FAILURE(compare(random_text(random, random() % 60, true)));
}

/// Random vocabularies: equal scores, characters that are no pieces, pieces over several words, user-defined ones.
TEST(SentencePieceOracle, MadeUpVocabularies) {
  std::mt19937 random(5);
  const std::vector<std::string> letters = {"a", "b", "c", "\u00e9", "\u2581", "\u2581", "\U0001F600"};
  const auto some_letters = [&](std::size_t count) {
    std::string text;
    for (std::size_t i = 0; i < count; ++i) text += letters[random() % letters.size()];
    return text;
  };
  std::size_t tokens = 0;
  for (int round = 0; round < 300; ++round) {
    test::ProtoModel model = test::proto_model({}, round % 2 == 0);
    model.space_prefix = round % 3 != 0;
    std::vector<std::string> pieces;
    for (std::size_t i = 0; i < 4 + random() % 40; ++i) pieces.push_back(some_letters(1 + random() % 4));
    if (round % 5 != 0) pieces.insert(pieces.end(), letters.begin(), letters.end() - 1);
    std::sort(pieces.begin(), pieces.end());
    pieces.erase(std::unique(pieces.begin(), pieces.end()), pieces.end());
    for (const std::string& piece : pieces) {
      const bool user = round % 7 == 0 && random() % 8 == 0 && piece.find("\u2581") == std::string::npos;
      model.pieces.push_back({piece, -static_cast<float>(random() % 12), user ? 4U : 1U});
    }
    const std::string file = test::serialize(model);
    sentencepiece::SentencePieceProcessor oracle;
    ASSERT_TRUE(oracle.LoadFromSerializedProto(file).ok());
    const Tokenizer tokenizer = Tokenizer::from_sentencepiece(file, "m");
    for (int i = 0; i < 20; ++i) {
      std::string text = some_letters(random() % 40);
      for (std::size_t at; (at = text.find("\u2581")) != std::string::npos && random() % 8 != 0;)
        text.replace(at, 3, " ");
      const Ids ids = tokenizer.encode(text);
      ASSERT_EQ(ids, oracle_ids(oracle, text)) << "round " << round << ": '" << text << "'";
      tokens += ids.size();
    }
  }
  EXPECT_GT(tokens, 50'000U);
}

#else

TEST(SentencePieceOracle, IsInstalled) {
  FAIL() << "tools/build.sh installs libsentencepiece-dev";
}

#endif

TEST(SentencePieceModel, AddedTokensStandBehindThePieces) {
  const std::string bytes = test::serialize(test::proto_model({"\u2581", "a", "b", "ab"}));
  const Tokenizer plain = Tokenizer::from_sentencepiece(bytes, "m");
  const std::int32_t n = plain.vocab_size();
  const Tokenizer t = Tokenizer::from_sentencepiece(bytes, "m", {{"<|im_end|>", true}, {"<tool>", false}});
  EXPECT_EQ(t.vocab_size(), n + 2);
  EXPECT_EQ(t.type(n), TokenType::control);
  EXPECT_EQ(t.type(n + 1), TokenType::user_defined);
  EXPECT_EQ(t.encode("ab ab"), plain.encode("ab ab"));
  EXPECT_EQ(t.encode("ab<|im_end|>", {.special = true}).back(), n);
  EXPECT_EQ(t.encode("ab<tool>").back(), n + 1);
  EXPECT_EQ(t.decode(t.encode("ab<tool>")), "ab<tool>");
  EXPECT_EQ(t.end_ids().back(), n);
  EXPECT_FALSE(plain.sentence_piece()->model_file.empty());
  EXPECT_TRUE(t.sentence_piece()->model_file.empty());
  EXPECT_NE(message_of([&] { (void)Tokenizer::from_sentencepiece(bytes, "m", {{"a", true}}); }), "no error");
}

}  // namespace
}  // namespace rpt::text

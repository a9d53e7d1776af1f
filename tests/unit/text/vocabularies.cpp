// SPDX-License-Identifier: MIT
#include "tests/unit/text/vocabularies.h"

#include <algorithm>
#include <bit>
#include <nlohmann/json.hpp>

#include "rpt/core/atomic_file.h"
#include "rpt/core/sha256.h"
#include "rpt/text/byte_level.h"
#include "rpt/text/pre_tokenizer.h"
#include "tests/shared_data.h"

namespace rpt::test {

namespace {

std::vector<std::string> lines_of(const std::string& relative) {
  const std::string text = core::read_file(shared("data/tokenizers/" + relative));
  std::vector<std::string> lines;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    lines.push_back(text.substr(at, end - at));
    at = end + 1;
  }
  return lines;
}

std::shared_ptr<const VocabularyTexts> make_texts(const std::vector<std::string>& tokens,
                                                  const std::vector<std::string>& merges, std::size_t normal) {
  auto texts = std::make_shared<VocabularyTexts>();
  std::size_t size = 0;
  for (const auto* list : {&tokens, &merges}) {
    for (const std::string& text : *list) size += text.size();
  }
  texts->arena.reserve(size);
  const auto add = [&](const std::string& text) {
    const std::size_t at = texts->arena.size();
    texts->arena += text;
    return std::string_view(texts->arena).substr(at);
  };
  for (const std::string& token : tokens) {
    texts->tokens.push_back(add(token));
    texts->types.push_back(texts->tokens.size() <= normal ? 1 : 3);
  }
  for (const std::string& merge : merges) texts->merges.push_back(add(merge));
  return texts;
}

}  // namespace

std::shared_ptr<const VocabularyTexts> llama3_texts() {
  std::vector<std::string> tokens = lines_of("llama3/vocab.txt");
  const std::size_t normal = tokens.size();
  for (const std::string& token : lines_of("llama3/special_tokens.txt")) tokens.push_back(token);
  return make_texts(tokens, lines_of("llama3/merges.txt"), normal);
}

std::shared_ptr<const VocabularyTexts> gpt2_texts() {
  const auto vocab = nlohmann::json::parse(core::read_file(shared("data/tokenizers/gpt2/vocab.json")));
  std::vector<std::string> tokens(vocab.size());
  for (const auto& [token, id] : vocab.items()) tokens.at(id.get<std::size_t>()) = token;
  std::vector<std::string> merges = lines_of("gpt2/merges.txt");
  merges.erase(merges.begin());  // "#version: 0.2"
  return make_texts(tokens, merges, tokens.size() - 1);
}

std::shared_ptr<const VocabularyTexts> small_texts() {
  std::vector<std::string> tokens(256);
  for (unsigned byte = 0; byte < 256; ++byte) {
    text::append_byte_level(tokens[byte], std::string(1, static_cast<char>(static_cast<std::uint8_t>(byte))));
  }
  const std::vector<std::string> merges = {"h e", "l l", "he ll", "hell o", "Ġ hello", "a a", "aa aa", "a b", "Ġ Ġ"};
  for (std::string merge : merges) tokens.push_back(merge.erase(merge.find(' '), 1));
  const std::size_t normal = tokens.size();
  for (const char* special : {"<|begin_of_text|>", "<|eot_id|>", "<|end_of_text|>"}) tokens.emplace_back(special);
  return make_texts(tokens, merges, normal);
}

text::GgufVocabulary gguf_vocabulary(const std::shared_ptr<const VocabularyTexts>& texts, const std::string& pre) {
  text::GgufVocabulary gguf{.file = "test.gguf", .model = "gpt2", .pre = pre};
  gguf.tokens = texts->tokens;
  gguf.types = texts->types;
  gguf.merges = texts->merges;
  gguf.keep_alive = texts;
  return gguf;
}

text::Tokenizer llama3_from_gguf() {
  return text::Tokenizer::from_gguf(gguf_vocabulary(llama3_texts(), "llama-bpe"));
}
text::Tokenizer gpt2_from_gguf() {
  return text::Tokenizer::from_gguf(gguf_vocabulary(gpt2_texts(), "gpt-2"));
}
text::Tokenizer small_tokenizer(const std::string& pre) {
  return text::Tokenizer::from_gguf(gguf_vocabulary(small_texts(), pre));
}

text::Tokenizer llama3_from_tiktoken() {
  const std::string file = core::read_file(shared("data/tokenizers/llama3/tokenizer.model"));
  return text::Tokenizer::from_tiktoken(file, {}, "tokenizer.model");
}

std::string llama3_tokenizer_json(bool merges_as_pairs) {
  const auto texts = llama3_texts();
  nlohmann::json vocab = nlohmann::json::object(), merges = nlohmann::json::array(), added = nlohmann::json::array();
  for (std::size_t i = 0; i < texts->tokens.size(); ++i) {
    if (texts->types[i] == 1) {
      vocab[std::string(texts->tokens[i])] = i;
    } else {
      added.push_back({{"id", i},
                       {"content", texts->tokens[i]},
                       {"single_word", false},
                       {"lstrip", false},
                       {"rstrip", false},
                       {"normalized", false},
                       {"special", true}});
    }
  }
  for (const std::string_view merge : texts->merges) {
    const std::size_t space = merge.find(' ');
    if (merges_as_pairs) {
      merges.push_back({merge.substr(0, space), merge.substr(space + 1)});
    } else {
      merges.push_back(merge);
    }
  }
  const nlohmann::json byte_level = {
      {"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}, {"use_regex", false}};
  const nlohmann::json split = {{"type", "Split"},
                                {"pattern", {{"Regex", text::kLlama3Expression}}},
                                {"behavior", "Isolated"},
                                {"invert", false}};
  return nlohmann::json{{"version", "1.0"},
                        {"added_tokens", added},
                        {"normalizer", nullptr},
                        {"pre_tokenizer", {{"type", "Sequence"}, {"pretokenizers", {split, byte_level}}}},
                        {"decoder", byte_level},
                        {"model", {{"type", "BPE"}, {"ignore_merges", true}, {"vocab", vocab}, {"merges", merges}}}}
      .dump();
}

std::string ids_sha256(const std::vector<std::int32_t>& ids) {
  static_assert(std::endian::native == std::endian::little);
  return core::sha256_hex(std::as_bytes(std::span(ids)));
}

}  // namespace rpt::test

// SPDX-License-Identifier: MIT
#include <algorithm>

#include "rpt/core/atomic_file.h"
#include "rpt/core/error.h"
#include "rpt/io/gguf.h"
#include "rpt/model/assemble.h"
#include "rpt/model/model.h"
#include "rpt/model/side_tokens.h"
#include "rpt/text/utf8.h"

namespace rpt::model {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kFileLimit = 64 << 20;

text::Tokenizer open_tokenizer_json(const fs::path& path) {
  return text::Tokenizer::from_tokenizer_json(core::read_file(path, kFileLimit), path.string());
}

SideTokens read_side_tokens(const fs::path& folder) {
  const auto read = [&](const char* name) {
    const fs::path path = folder / name;
    return SideFile{path.string(), fs::exists(path) ? core::read_file(path, kFileLimit) : std::string()};
  };
  return parse_side_tokens(read("tokenizer_config.json"), read("special_tokens_map.json"), read("added_tokens.json"));
}

text::Tokenizer open_sentencepiece(const std::string& bytes, const SideTokens& side, const std::string& file) {
  text::Tokenizer plain = text::Tokenizer::from_sentencepiece(bytes, file);
  std::vector<text::AddedPiece> added;
  for (SideToken& t : tokens_behind(plain.vocab_size(), side)) added.push_back({std::move(t.text), t.special});
  return added.empty() ? std::move(plain) : text::Tokenizer::from_sentencepiece(bytes, file, std::move(added));
}

/// Side tokens stand for Llama 3's of the same ids, whose reserved ones have other names in other versions.
text::Tokenizer open_tiktoken(const std::string& bytes, const SideTokens& side, const std::string& file) {
  constexpr std::int64_t kLlama3Ranks = 128'000;
  const bool open_end = !bytes.empty() && bytes.back() != '\n';
  const std::int64_t ranks = std::count(bytes.begin(), bytes.end(), '\n') + (open_end ? 1 : 0);
  std::vector<std::string> special;
  if (ranks == kLlama3Ranks) special = text::llama3_special_tokens();
  for (auto it = side.lower_bound(ranks); it != side.end() && it->first < ranks + std::ssize(special); ++it) {
    special[static_cast<std::size_t>(it->first - ranks)] = it->second.text;
  }
  for (SideToken& t : tokens_behind(ranks + std::ssize(special), side)) special.push_back(std::move(t.text));
  return text::Tokenizer::from_tiktoken(bytes, std::move(special), file);
}

/// SentencePiece and tiktoken use the same name. A protobuf begins with the tag of its first piece, which is a line
/// feed; tiktoken's lines begin with base64. Tokens that are in the file must have the texts that `side` gives them.
text::Tokenizer open_tokenizer_model(const fs::path& path, const SideTokens& side) {
  const std::string bytes = core::read_file(path, kFileLimit);
  text::Tokenizer tokenizer = bytes.starts_with('\n') ? open_sentencepiece(bytes, side, path.string())
                                                      : open_tiktoken(bytes, side, path.string());
  for (const auto& [id, token] : side) {
    const auto found = tokenizer.token_text(static_cast<std::int32_t>(id));  // there is one for each by now
    if (found == token.text) continue;
    throw ConfigError(fmt::format("{}: the token {} is \"{}\", in {} it is \"{}\"", token.file, id,
                                  text::for_message(token.text), path.string(), text::for_message(found)));
  }
  return tokenizer;
}

text::Tokenizer open_gguf_vocabulary(const fs::path& path, std::vector<std::string>& warnings) {
  const auto file = std::make_shared<const io::GgufFile>(io::GgufFile::open_keys(path));
  const auto rows = static_cast<std::int64_t>(
      file->find_strings("tokenizer.ggml.tokens").value_or(std::vector<std::string_view>{}).size());
  auto vocabulary = read_gguf_vocabulary(*file, file, rows, warnings);
  if (!vocabulary) throw ConfigError(path.string() + ": holds no vocabulary");
  return text::Tokenizer::from_gguf(*std::move(vocabulary));
}

}  // namespace

std::optional<text::GgufVocabulary> read_gguf_vocabulary(const io::GgufFile& file,
                                                         const std::shared_ptr<const void>& keep_alive,
                                                         std::int64_t rows, std::vector<std::string>& warnings,
                                                         const std::string& pre) {
  const auto kind = file.find_string("tokenizer.ggml.model");
  if (!kind || *kind == "no_vocab" || *kind == "none") return std::nullopt;
  text::GgufVocabulary v;
  v.file = file.name();
  v.model = *kind;
  if (!pre.empty()) {
    v.pre = pre;
  } else if (const auto said = file.find_string("tokenizer.ggml.pre")) {
    v.pre = *said;
  } else if (v.model == "gpt2") {
    warnings.push_back(file.name() + ": no tokenizer.ggml.pre, the pre-tokenizer is taken from the vocabulary's size");
  }
  v.tokens = file.get_strings("tokenizer.ggml.tokens");
  v.types = file.find_i32s("tokenizer.ggml.token_type").value_or(std::vector<std::int32_t>{});
  if (v.model == "llama") {
    v.scores = file.get_f32s("tokenizer.ggml.scores");
    v.add_space_prefix = file.find_bool("tokenizer.ggml.add_space_prefix");
  } else {
    v.merges = file.find_strings("tokenizer.ggml.merges").value_or(std::vector<std::string_view>{});
  }
  const auto id = [&](const char* name) -> std::optional<std::int64_t> {
    const auto value = file.find_i64(fmt::format("tokenizer.ggml.{}_token_id", name));
    if (!value || *value < 0 || *value >= rows) return std::nullopt;
    return value;
  };
  v.bos_id = id("bos");
  v.eos_id = id("eos");
  v.eot_id = id("eot");
  v.eom_id = id("eom");
  v.unk_id = id("unknown");
  v.pad_id = id("padding");
  v.add_bos = file.find_bool("tokenizer.ggml.add_bos_token");
  v.keep_alive = keep_alive;
  return v;
}

std::optional<text::Tokenizer> open_tokenizer_files(const fs::path& folder) {
  if (const fs::path json = folder / "tokenizer.json"; fs::exists(json)) return open_tokenizer_json(json);
  if (const fs::path model = folder / "tokenizer.model"; fs::exists(model)) {
    return open_tokenizer_model(model, read_side_tokens(folder));
  }
  return std::nullopt;
}

text::Tokenizer open_vocabulary(const fs::path& path, std::vector<std::string>& warnings) {
  std::error_code error;
  if (!fs::exists(path, error)) throw IoError(fmt::format("{}: no such file or directory", path.string()));
  if (fs::is_directory(path, error)) {
    auto found = open_tokenizer_files(path);
    if (!found) throw ConfigError(path.string() + ": holds neither tokenizer.json nor tokenizer.model");
    return *std::move(found);
  }
  const std::string extension = path.extension().string();
  if (extension == ".json") return open_tokenizer_json(path);
  if (extension == ".model") return open_tokenizer_model(path, {});
  if (extension == ".bin") return text::Tokenizer::from_llama2c(core::read_file(path, kFileLimit), path.string());
  return open_gguf_vocabulary(path, warnings);
}

}  // namespace rpt::model

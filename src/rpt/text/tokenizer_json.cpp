// SPDX-License-Identifier: MIT
#include "rpt/text/tokenizer_json.h"

#include <algorithm>

#include "rpt/core/error.h"
#include "rpt/text/tokenizer_state.h"
#include "rpt/text/utf8.h"

namespace rpt::text {

namespace {

/// One entry of added_tokens.
struct AddedEntry {
  TokenizerJsonTree::Text text;
  std::int64_t id;
  bool special, normalized, strip_left, strip_right;
};

/// One reading of one file: the parts in the order in which they need each other.
class Reader {
 public:
  Reader(std::string_view json, const std::string& file)
      : file_(file), tree_(std::make_shared<TokenizerJsonTree>(parse_tokenizer_json(json, file))) {}

  std::shared_ptr<TokenizerState> run() {
    const JsonNode root(tree_->rest, "", file_);
    const JsonNode model = root.at("model");
    check_model(model);
    state_->normalizer = read_normalizer(root.get("normalizer"));
    state_->pre_tokenizer = PreTokenizer(read_pre_tokenizer(root.get("pre_tokenizer")), file_ + ": pre_tokenizer");
    read_added_tokens(root.get("added_tokens"));
    build_vocabulary(model);
    build_model(model);
    build_added_sets();
    build_decoder(root.get("decoder"));
    read_special_ids(root.get("post_processor"));
    return state_;
  }

 private:
  [[noreturn]] void fail(const std::string& place, const std::string& expected, const std::string& found) const {
    throw FormatError(file_, 0, place, expected, found);
  }

  void check_model(const JsonNode& model) const {
    model.expect_only({"type", "dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix", "fuse_unk",
                       "byte_fallback", "ignore_merges", "vocab", "merges"});
    // Files from before 2020 have no type; only byte-pair models have merges.
    if (const auto type = model.get("type"); type && type->text() != "BPE") {
      type->refuse(fmt::format("the model '{}' is not supported", for_message(type->text())));
    }
    if (!tree_->has_vocab) model.fail("an object 'vocab'", "none");
    if (!tree_->has_merges) model.fail("an array 'merges'", "none");
    if (model.get("dropout")) model.refuse("dropout is not supported");
    for (const char* option : {"continuing_subword_prefix", "end_of_word_suffix"}) {
      const auto value = model.get(option);
      if (value && !value->text().empty()) value->refuse("not supported");
    }
  }

  void read_added_tokens(const std::optional<JsonNode>& node) {
    if (!node) return;
    for (const JsonNode& item : node->items()) {
      item.expect_only({"id", "content", "single_word", "lstrip", "rstrip", "normalized", "special"});
      const std::string content = item.at("content").text();
      if (item.boolean("single_word", false)) item.refuse("single_word is not supported");
      const bool special = item.boolean("special", false);
      const bool normalized = item.boolean("normalized", !special);
      if (normalized && !state_->normalizer.empty()) item.refuse("normalized with a normalizer is not supported");
      added_.push_back({{tree_->arena.size(), content.size()},
                        item.at("id").integer(),
                        special,
                        normalized,
                        item.boolean("lstrip", false),
                        item.boolean("rstrip", false)});
      tree_->arena += content;
    }
  }

  /// Ids must be 0…V−1, each once, but an added token may also stand in the vocab.
  void build_vocabulary(const JsonNode& model) {
    const std::size_t most = tree_->vocab.size() + added_.size();
    std::vector<std::string_view> tokens(most);
    std::vector<TokenType> types(most, TokenType::normal);
    std::size_t count = 0;
    const auto slot = [&](const std::string& place, std::int64_t id) -> std::string_view& {
      if (id < 0 || id >= static_cast<std::int64_t>(most)) {
        fail(place, "ids without holes", fmt::format("id {} among {} tokens", id, most));
      }
      count = std::max(count, static_cast<std::size_t>(id) + 1);
      return tokens[static_cast<std::size_t>(id)];
    };
    for (const TokenizerJsonTree::Entry& entry : tree_->vocab) {
      const std::string_view text = tree_->view(entry.token);
      std::string_view& token = slot("model.vocab", entry.id);
      if (text.empty()) fail("model.vocab", "tokens with a text", "an empty one");
      if (!token.empty()) fail("model.vocab", "each id once", fmt::format("id {} twice", entry.id));
      token = text;
    }
    for (std::size_t i = 0; i < added_.size(); ++i) {
      const std::string place = fmt::format("added_tokens[{}]", i);
      const std::string_view text = tree_->view(added_[i].text);
      std::string_view& token = slot(place, added_[i].id);
      if (text.empty()) fail(place, "a token with a text", "an empty one");
      if (!token.empty() && token != text) {
        fail(place, fmt::format("the token '{}' of the vocab", for_message(token)),
             fmt::format("'{}'", for_message(text)));
      }
      token = text;
      types[static_cast<std::size_t>(added_[i].id)] = added_[i].special ? TokenType::control : TokenType::user_defined;
    }
    tokens.resize(count);
    types.resize(count);
    const auto hole = std::find(tokens.begin(), tokens.end(), std::string_view());
    if (hole != tokens.end()) fail("model.vocab", "ids without holes", fmt::format("no id {}", hole - tokens.begin()));
    mark_byte_tokens(model, tokens, types);
    mark_unknown_token(model, tokens, types);
    state_->vocabulary = Vocabulary(std::move(tokens), std::move(types), tree_, file_);
  }

  void mark_byte_tokens(const JsonNode& model, const std::vector<std::string_view>& tokens,
                        std::vector<TokenType>& types) const {
    if (!model.boolean("byte_fallback", false)) return;
    for (std::size_t i = 0; i < tokens.size(); ++i) {
      const bool is_byte = tokens[i].size() == 6 && tokens[i].starts_with("<0x") && tokens[i].ends_with('>');
      if (is_byte && types[i] == TokenType::normal) types[i] = TokenType::byte;
    }
  }

  void mark_unknown_token(const JsonNode& model, const std::vector<std::string_view>& tokens,
                          std::vector<TokenType>& types) {
    const auto unknown = model.get("unk_token");
    if (!unknown) return;
    const std::string text = unknown->text();
    const auto found = std::find(tokens.begin(), tokens.end(), text);
    if (found == tokens.end()) unknown->fail("a token of the vocab", fmt::format("'{}'", for_message(text)));
    unknown_id_ = static_cast<std::int32_t>(found - tokens.begin());
    types[static_cast<std::size_t>(unknown_id_)] = TokenType::unknown;
  }

  void build_model(const JsonNode& model) {
    const BytePairOptions options{.byte_level = state_->pre_tokenizer.is_byte_level(),
                                  .ignore_merges = model.boolean("ignore_merges", false),
                                  .byte_fallback = model.boolean("byte_fallback", false),
                                  .fuse_unknown = model.boolean("fuse_unk", false),
                                  .unknown_id = unknown_id_};
    if (tree_->merges.size() > kMaxMerges) {
      fail("model.merges", fmt::format("at most {}", kMaxMerges), fmt::format("{}", tree_->merges.size()));
    }
    state_->model = BytePairModel(state_->vocabulary, options, tree_->merges.size());
    MergeReader reader(state_->vocabulary, state_->model, file_);
    for (const TokenizerJsonTree::Merge& merge : tree_->merges) {
      if (merge.joined) {
        reader.add(tree_->view(merge.left));
      } else {
        reader.add(tree_->view(merge.left), tree_->view(merge.right));
      }
    }
    reader.finish();
  }

  void build_added_sets() {
    std::vector<AddedToken> raw, normalized;
    for (const AddedEntry& entry : added_) {
      const auto id = static_cast<std::int32_t>(entry.id);
      (entry.normalized ? normalized : raw)
          .push_back({.text = state_->vocabulary.text(id),
                      .id = id,
                      .only_if_asked = state_->vocabulary.type(id) != TokenType::user_defined,
                      .strip_left = entry.strip_left,
                      .strip_right = entry.strip_right});
    }
    state_->raw_added = AddedTokens(std::move(raw));
    state_->normalized_added = AddedTokens(std::move(normalized));
  }

  /// Without a decoder, tokens are joined as bytes.
  void build_decoder(const std::optional<JsonNode>& node) {
    std::vector<DecoderStep> steps = read_decoder(node);
    const bool byte_level = state_->model.options().byte_level;
    if (!node && byte_level) steps.push_back({.kind = DecoderStep::Kind::byte_level});
    const bool decodes = std::any_of(
        steps.begin(), steps.end(), [](const DecoderStep& step) { return step.kind == DecoderStep::Kind::byte_level; });
    if (decodes != byte_level) {
      node->refuse("a ByteLevel pre-tokenizer and a ByteLevel decoder are supported only together");
    }
    state_->decoder = Decoder(std::move(steps));
  }

  void read_special_ids(const std::optional<JsonNode>& post_processor) {
    if (const std::optional<std::int64_t> leading = read_leading_token(post_processor)) {
      if (!state_->vocabulary.holds(*leading)) {
        fail("post_processor", fmt::format("an id below {}", state_->vocabulary.size()), fmt::format("{}", *leading));
      }
      state_->special.bos = static_cast<std::int32_t>(*leading);
      state_->special.adds_bos = true;
    }
    find_special_ids_by_name(state_->vocabulary, state_->special);
  }

  const std::string& file_;
  std::shared_ptr<TokenizerJsonTree> tree_;
  std::shared_ptr<TokenizerState> state_ = std::make_shared<TokenizerState>();
  std::vector<AddedEntry> added_;
  std::int32_t unknown_id_ = -1;
};

}  // namespace

Tokenizer Tokenizer::from_tokenizer_json(std::string_view json, const std::string& file_name) {
  std::shared_ptr<TokenizerState> state = Reader(json, file_name).run();
  state->tokenizer_json = json;
  return Tokenizer(std::move(state));
}

}  // namespace rpt::text

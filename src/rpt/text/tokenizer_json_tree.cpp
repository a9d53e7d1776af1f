// SPDX-License-Identifier: MIT
#include "rpt/text/tokenizer_json_tree.h"

#include <limits>
#include <nlohmann/json.hpp>

#include "rpt/core/error.h"
#include "rpt/text/utf8.h"

namespace rpt::text {

const JsonValue* JsonValue::member(std::string_view key) const {
  for (const auto& [name, value] : members) {
    if (name == key) return &value;
  }
  return nullptr;
}

namespace {

constexpr std::size_t kMaxDepth = 64;
constexpr std::size_t kMaxMembers = 1000;  // of an object in the tree, whose members are searched one by one

/// What stands behind "… parse error at line 1, column 2: " in the parser's message.
std::string_view syntax_complaint(std::string_view message) {
  const std::size_t column = message.find("column ");
  const std::size_t colon = column == std::string_view::npos ? column : message.find(": ", column);
  return colon == std::string_view::npos ? message : message.substr(colon + 2);
}

/// Builds the tree from the parser's events.
class Events final : public nlohmann::json_sax<nlohmann::json> {
 public:
  Events(const std::string& file, TokenizerJsonTree& out) : file_(file), out_(out) {}

  bool null() override { return scalar({}); }
  bool boolean(bool value) override { return scalar({.kind = JsonValue::Kind::boolean, .boolean = value}); }
  bool number_integer(number_integer_t value) override {
    return scalar({.kind = JsonValue::Kind::integer, .integer = value});
  }
  bool number_unsigned(number_unsigned_t value) override {
    if (!std::in_range<std::int64_t>(value)) fail("an integer below 2^63", fmt::format("{}", value));
    return scalar({.kind = JsonValue::Kind::integer, .integer = static_cast<std::int64_t>(value)});
  }
  bool number_float(number_float_t, const string_t&) override { return scalar({.kind = JsonValue::Kind::real}); }
  bool binary(binary_t&) override { fail("JSON", "binary"); }

  bool string(string_t& value) override {
    if (state_ == State::merges) {
      add_merge({store(value), {}, true});
    } else if (state_ == State::merge_pair) {
      if (pair_size_ == 2) fail("two tokens", "more");
      (pair_size_ == 0 ? pair_.left : pair_.right) = store(value);
      ++pair_size_;
    } else {
      return scalar({.kind = JsonValue::Kind::string, .string = value});
    }
    return true;
  }

  bool key(string_t& name) override {
    if (state_ == State::vocab) {
      token_ = store(name);
      return true;
    }
    const JsonValue& object = *stack_.back();
    if (object.members.size() == kMaxMembers) fail(fmt::format("at most {} members", kMaxMembers), "more");
    if (object.member(name) != nullptr) fail("a member once", fmt::format("'{}' twice", for_message(name)));
    stack_.back()->members.emplace_back(name, JsonValue{});
    return true;
  }

  bool start_object(std::size_t) override {
    if (state_ == State::tree && at_model_member("vocab")) {
      state_ = State::vocab;
      out_.has_vocab = true;
      return true;
    }
    return open(JsonValue::Kind::object);
  }

  bool end_object() override {
    if (state_ == State::vocab) {
      state_ = State::tree;
    } else {
      stack_.pop_back();
    }
    return true;
  }

  bool start_array(std::size_t) override {
    if (state_ == State::tree && at_model_member("merges")) {
      state_ = State::merges;
      out_.has_merges = true;
      return true;
    }
    if (state_ == State::merges) {
      state_ = State::merge_pair;
      pair_ = {{}, {}, false};
      pair_size_ = 0;
      return true;
    }
    return open(JsonValue::Kind::array);
  }

  bool end_array() override {
    if (state_ == State::merge_pair) {
      if (pair_size_ != 2) fail("two tokens", fmt::format("{}", pair_size_));
      state_ = State::merges;
      add_merge(pair_);
    } else if (state_ == State::merges) {
      state_ = State::tree;
    } else {
      stack_.pop_back();
    }
    return true;
  }

  bool parse_error(std::size_t position, const std::string&, const nlohmann::json::exception& error) override {
    throw FormatError(file_, position, "JSON", "a JSON text", for_message(syntax_complaint(error.what())));
  }

 private:
  enum class State { tree, vocab, merges, merge_pair };

  [[noreturn]] void fail(const std::string& expected, const std::string& found) const {
    throw FormatError(file_, 0, path(), expected, found);
  }

  std::string path() const {
    switch (state_) {
      case State::vocab:
        return fmt::format("model.vocab, entry {}", out_.vocab.size());
      case State::merges:
      case State::merge_pair:
        return fmt::format("model.merges[{}]", out_.merges.size());
      case State::tree:
        break;
    }
    std::string names;
    for (const JsonValue* value : stack_) {
      if (value->kind == JsonValue::Kind::array) names += fmt::format("[{}]", value->items.size());
      if (value->kind == JsonValue::Kind::object && !value->members.empty()) {
        if (!names.empty()) names += '.';
        names += for_message(value->members.back().first);
      }
    }
    return names.empty() ? "JSON" : names;
  }

  TokenizerJsonTree::Text store(const std::string& text) {
    out_.arena += text;
    return {out_.arena.size() - text.size(), text.size()};
  }

  void add_merge(const TokenizerJsonTree::Merge& merge) { out_.merges.push_back(merge); }

  /// True where the value that comes now is the member `name` of the member `model` of the whole.
  bool at_model_member(std::string_view name) const {
    return stack_.size() == 2 && stack_[0]->kind == JsonValue::Kind::object &&
           stack_[0]->members.back().first == "model" && stack_[1]->kind == JsonValue::Kind::object &&
           stack_[1]->members.back().first == name;
  }

  bool scalar(JsonValue value) {
    switch (state_) {
      case State::tree:
        place(std::move(value));
        break;
      case State::vocab:
        if (value.kind != JsonValue::Kind::integer) fail("an id", "another value");
        out_.vocab.push_back({token_, value.integer});
        break;
      case State::merges:
      case State::merge_pair:
        fail("a merge", "another value");
    }
    return true;
  }

  bool open(JsonValue::Kind kind) {
    if (state_ != State::tree) fail("no nesting", "an array or object");
    if (stack_.size() == kMaxDepth) fail(fmt::format("at most {} levels", kMaxDepth), "more");
    stack_.push_back(&place({.kind = kind}));
    return true;
  }

  /// Puts a value where it belongs. Only the innermost container grows, so the pointers on the stack stay good.
  JsonValue& place(JsonValue value) {
    if (stack_.empty()) return out_.rest = std::move(value);
    JsonValue& top = *stack_.back();
    if (top.kind == JsonValue::Kind::object) return top.members.back().second = std::move(value);
    return top.items.emplace_back(std::move(value));
  }

  const std::string& file_;
  TokenizerJsonTree& out_;
  State state_ = State::tree;
  std::vector<JsonValue*> stack_;
  TokenizerJsonTree::Text token_{};  // the key of the vocab entry whose id comes next
  TokenizerJsonTree::Merge pair_{};
  std::size_t pair_size_ = 0;
};

}  // namespace

TokenizerJsonTree parse_tokenizer_json(std::string_view json, const std::string& file) {
  TokenizerJsonTree tree;
  Events events(file, tree);
  nlohmann::json::sax_parse(json.begin(), json.end(), &events);
  return tree;
}

}  // namespace rpt::text

// SPDX-License-Identifier: MIT
#include <algorithm>
#include <array>
#include <tuple>

#include "rpt/core/error.h"
#include "rpt/text/tokenizer_json.h"
#include "rpt/text/utf8.h"

namespace rpt::text {

namespace {

constexpr std::size_t kMaxSteps = 64;

/// Appends a step. Steps nest when they run, so there is a limit.
template <typename Step>
void add_step(std::vector<Step>& steps, Step step, const JsonNode& node) {
  if (steps.size() == kMaxSteps) node.refuse(fmt::format("more than {} steps", kMaxSteps));
  steps.push_back(std::move(step));
}

std::string not_empty(const JsonNode& node) {
  std::string text = node.text();
  if (text.empty()) node.fail("a text", "an empty one");
  return text;
}

SplitBehavior read_behavior(const JsonNode& node) {
  constexpr std::array<std::pair<std::string_view, SplitBehavior>, 5> kBehaviors = {
      {{"Removed", SplitBehavior::removed},
       {"Isolated", SplitBehavior::isolated},
       {"MergedWithPrevious", SplitBehavior::merged_with_previous},
       {"MergedWithNext", SplitBehavior::merged_with_next},
       {"Contiguous", SplitBehavior::contiguous}}};
  const std::string name = node.text();
  for (const auto& [known, behavior] : kBehaviors) {
    if (known == name) return behavior;
  }
  node.refuse(fmt::format("the behavior '{}' is not supported", for_message(name)));
}

/// `{"String": s}` or `{"Regex": s}`; which of the two it is, and s.
std::pair<bool, std::string> read_pattern(const JsonNode& node) {
  node.expect_only({"String", "Regex"});
  const auto expression = node.get("Regex");
  if (expression && node.get("String")) node.fail("a String or a Regex", "both");
  return {expression.has_value(), not_empty(expression ? *expression : node.at("String"))};
}

void read_pre_tokenizer(const JsonNode& node, std::vector<PreTokenizerStep>& steps) {
  using Kind = PreTokenizerStep::Kind;
  const std::string type = node.at("type").text();
  PreTokenizerStep step;
  if (type == "Sequence") {
    node.expect_only({"type", "pretokenizers"});
    for (const JsonNode& item : node.at("pretokenizers").items()) read_pre_tokenizer(item, steps);
    return;
  }
  if (type == "Split") {
    node.expect_only({"type", "pattern", "behavior", "invert"});
    std::tie(step.is_expression, step.pattern) = read_pattern(node.at("pattern"));
    step.behavior = read_behavior(node.at("behavior"));
    step.invert = node.boolean("invert", false);
  } else if (type == "ByteLevel") {
    node.expect_only({"type", "add_prefix_space", "trim_offsets", "use_regex"});
    step.kind = Kind::byte_level;
    step.add_prefix_space = node.boolean("add_prefix_space", true);
    step.use_regex = node.boolean("use_regex", true);
  } else if (type == "Digits") {
    node.expect_only({"type", "individual_digits"});
    step.kind = Kind::digits;
    step.individual_digits = node.boolean("individual_digits", false);
  } else if (type == "Punctuation") {
    node.expect_only({"type", "behavior"});
    step.kind = Kind::punctuation;
    if (const auto behavior = node.get("behavior")) step.behavior = read_behavior(*behavior);
  } else if (type == "Whitespace" || type == "WhitespaceSplit") {
    node.expect_only({"type"});
    step.kind = type == "Whitespace" ? Kind::whitespace : Kind::whitespace_split;
  } else {
    node.refuse(fmt::format("the pre-tokenizer '{}' is not supported", for_message(type)));
  }
  add_step(steps, std::move(step), node);
}

void read_normalizer(const JsonNode& node, std::vector<NormalizerStep>& steps) {
  const std::string type = node.at("type").text();
  if (type == "Sequence") {
    node.expect_only({"type", "normalizers"});
    for (const JsonNode& item : node.at("normalizers").items()) read_normalizer(item, steps);
  } else if (type == "Prepend") {
    node.expect_only({"type", "prepend"});
    add_step(steps, {NormalizerStep::Kind::prepend, "", node.at("prepend").text()}, node);
  } else if (type == "Replace") {
    node.expect_only({"type", "pattern", "content"});
    auto [is_expression, from] = read_pattern(node.at("pattern"));
    if (is_expression) node.refuse("a Replace with an expression is not supported");
    add_step(steps, {NormalizerStep::Kind::replace, std::move(from), node.at("content").text()}, node);
  } else {
    node.refuse(fmt::format("the normalizer '{}' is not supported", for_message(type)));
  }
}

std::size_t read_count(const JsonNode& node) {
  const std::int64_t count = node.integer();
  if (count < 0 || count > 1000) node.fail("0 to 1000", fmt::format("{}", count));
  return static_cast<std::size_t>(count);
}

void read_decoder(const JsonNode& node, std::vector<DecoderStep>& steps) {
  using Kind = DecoderStep::Kind;
  const std::string type = node.at("type").text();
  if (type == "Sequence") {
    node.expect_only({"type", "decoders"});
    for (const JsonNode& item : node.at("decoders").items()) read_decoder(item, steps);
    return;
  }
  DecoderStep step{.kind = Kind::fuse};
  if (type == "ByteLevel") {
    step.kind = Kind::byte_level;
  } else if (type == "ByteFallback") {
    step.kind = Kind::byte_fallback;
  } else if (type == "Replace") {
    step.kind = Kind::replace;
    auto [is_expression, from] = read_pattern(node.at("pattern"));
    if (is_expression) node.refuse("a Replace with an expression is not supported");
    step.from = std::move(from);
    step.to = node.at("content").text();
  } else if (type == "Strip") {
    step.kind = Kind::strip;
    step.from = not_empty(node.at("content"));
    step.start = read_count(node.at("start"));
    step.stop = read_count(node.at("stop"));
  } else if (type != "Fuse") {
    node.refuse(fmt::format("the decoder '{}' is not supported", for_message(type)));
  }
  const bool fused = std::any_of(steps.begin(), steps.end(), [](const auto& s) { return s.kind == Kind::fuse; });
  if (fused && (step.kind == Kind::byte_level || step.kind == Kind::byte_fallback)) {
    node.refuse(fmt::format("the decoder '{}' behind Fuse is not supported", type));
  }
  add_step(steps, std::move(step), node);
}

std::optional<std::int64_t> template_leading_token(const JsonNode& node) {
  const std::vector<JsonNode> single = node.at("single").items();
  std::vector<JsonNode> leading;
  for (const JsonNode& item : single) {
    const auto special = item.get("SpecialToken");
    if (!special) break;
    leading.push_back(*special);
  }
  if (leading.size() == single.size()) node.at("single").fail("a Sequence", "none");
  if (leading.empty()) return std::nullopt;
  if (leading.size() > 1) node.refuse("a template with more than one token before the text is not supported");
  const JsonNode ids = node.at("special_tokens").at(leading[0].at("id").text()).at("ids");
  if (ids.items().size() != 1) ids.refuse("a special token of several ids is not supported");
  return ids.items()[0].integer();
}

}  // namespace

void JsonNode::fail(const std::string& expected, const std::string& found) const {
  throw FormatError(*file_, 0, path_, expected, found);
}

void JsonNode::refuse(const std::string& what) const {
  throw ConfigError(fmt::format("{}: {}: {}", *file_, path_, what));
}

std::optional<JsonNode> JsonNode::get(std::string_view key) const {
  if (!is_object()) fail("an object", "another value");
  const JsonValue* member = value_->member(key);
  if (member == nullptr || member->kind == JsonValue::Kind::null) return std::nullopt;
  return JsonNode(*member, (path_.empty() ? "" : path_ + ".") + for_message(key), *file_);
}

JsonNode JsonNode::at(std::string_view key) const {
  auto member = get(key);
  if (!member) fail(fmt::format("a member '{}'", for_message(key)), "none");
  return *std::move(member);
}

std::vector<JsonNode> JsonNode::items() const {
  if (value_->kind != JsonValue::Kind::array) fail("an array", "another value");
  std::vector<JsonNode> out;
  for (const JsonValue& item : value_->items) out.emplace_back(item, fmt::format("{}[{}]", path_, out.size()), *file_);
  return out;
}

std::string JsonNode::text() const {
  if (!is_string()) fail("a text", "another value");
  return value_->string;
}

std::int64_t JsonNode::integer() const {
  if (value_->kind != JsonValue::Kind::integer) fail("an integer", "another value");
  return value_->integer;
}

bool JsonNode::boolean() const {
  if (value_->kind != JsonValue::Kind::boolean) fail("true or false", "another value");
  return value_->boolean;
}

bool JsonNode::boolean(std::string_view key, bool otherwise) const {
  const auto member = get(key);
  return member ? member->boolean() : otherwise;
}

void JsonNode::expect_only(std::initializer_list<std::string_view> known) const {
  if (!is_object()) fail("an object", "another value");
  for (const auto& [name, value] : value_->members) {
    if (std::find(known.begin(), known.end(), name) == known.end()) {
      refuse(fmt::format("the option '{}' is not supported", for_message(name)));
    }
  }
}

std::vector<NormalizerStep> read_normalizer(const std::optional<JsonNode>& node) {
  std::vector<NormalizerStep> steps;
  if (node) read_normalizer(*node, steps);
  return steps;
}

std::vector<PreTokenizerStep> read_pre_tokenizer(const std::optional<JsonNode>& node) {
  std::vector<PreTokenizerStep> steps;
  if (node) read_pre_tokenizer(*node, steps);
  return steps;
}

std::vector<DecoderStep> read_decoder(const std::optional<JsonNode>& node) {
  std::vector<DecoderStep> steps;
  if (node) read_decoder(*node, steps);
  return steps;
}

std::optional<std::int64_t> read_leading_token(const std::optional<JsonNode>& node) {
  if (!node) return std::nullopt;
  const std::string type = node->at("type").text();
  if (type == "TemplateProcessing") return template_leading_token(*node);
  if (type == "ByteLevel") return std::nullopt;
  if (type != "Sequence") node->refuse(fmt::format("the post-processor '{}' is not supported", for_message(type)));
  std::optional<std::int64_t> found;
  for (const JsonNode& item : node->at("processors").items()) {
    const std::optional<std::int64_t> id = read_leading_token(item);
    if (found && id) node->refuse("two templates are not supported");
    if (id) found = id;
  }
  return found;
}

}  // namespace rpt::text

// SPDX-License-Identifier: MIT
#pragma once
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "rpt/text/decoder.h"
#include "rpt/text/normalizer.h"
#include "rpt/text/pre_tokenizer.h"
#include "rpt/text/tokenizer_json_tree.h"

namespace rpt::text {

/// A value of a tokenizer.json with its place in the file. What it cannot give as asked it throws as FormatError.
class JsonNode {
 public:
  JsonNode(const JsonValue& value, std::string path, const std::string& file)
      : value_(&value), path_(std::move(path)), file_(&file) {}

  /// The member of this object, or nothing where it is absent or null.
  std::optional<JsonNode> get(std::string_view key) const;
  /// The member, which must be there.
  JsonNode at(std::string_view key) const;
  /// The elements of this array.
  std::vector<JsonNode> items() const;
  std::string text() const;
  std::int64_t integer() const;
  bool boolean() const;
  bool boolean(std::string_view key, bool otherwise) const;

  /// Throws ConfigError where this object has a member besides `known`.
  void expect_only(std::initializer_list<std::string_view> known) const;
  /// "file: path: what"
  [[noreturn]] void refuse(const std::string& what) const;
  [[noreturn]] void fail(const std::string& expected, const std::string& found) const;

  bool is_string() const { return value_->kind == JsonValue::Kind::string; }
  bool is_object() const { return value_->kind == JsonValue::Kind::object; }
  const std::string& path() const { return path_; }
  const std::string& file() const { return *file_; }

 private:
  const JsonValue* value_;
  std::string path_;
  const std::string* file_;
};

/// The parts of a tokenizer.json around the model. An absent node means none. Each throws FormatError for what is
/// malformed and ConfigError, with the name, for kinds and options that are not supported.
std::vector<NormalizerStep> read_normalizer(const std::optional<JsonNode>& node);
std::vector<PreTokenizerStep> read_pre_tokenizer(const std::optional<JsonNode>& node);
std::vector<DecoderStep> read_decoder(const std::optional<JsonNode>& node);
/// The id of the token that the template puts before a text.
std::optional<std::int64_t> read_leading_token(const std::optional<JsonNode>& node);

}  // namespace rpt::text

// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace rpt::text {

/// A JSON value of the small parts of a tokenizer.json.
struct JsonValue {
  enum class Kind { null, boolean, integer, real, string, array, object };
  Kind kind = Kind::null;
  bool boolean = false;
  std::int64_t integer = 0;
  std::string string{};
  std::vector<JsonValue> items{};                            ///< array
  std::vector<std::pair<std::string, JsonValue>> members{};  ///< object, in order of the file

  /// The member of an object, or nullptr.
  const JsonValue* member(std::string_view key) const;
};

/// A tokenizer.json, taken apart. `model.vocab` and `model.merges` make up nearly all of such a file (hundreds of
/// thousands of values), so they are kept flat and not in the tree.
struct TokenizerJsonTree {
  /// A text inside `arena`.
  struct Text {
    std::size_t offset, size;
  };
  struct Entry {
    Text token;
    std::int64_t id;
  };
  struct Merge {
    Text left, right;
    bool joined;  ///< written "left right": all of it is in `left`
  };
  std::string_view view(Text text) const { return std::string_view(arena).substr(text.offset, text.size); }

  std::string arena;
  std::vector<Entry> vocab;
  std::vector<Merge> merges;
  bool has_vocab = false, has_merges = false;
  JsonValue rest;
};

/// Parses. Throws FormatError with the byte offset for what is no JSON, and without one for members that come twice,
/// nesting deeper than 64, and a vocab or merges of another form than a BPE model has.
TokenizerJsonTree parse_tokenizer_json(std::string_view json, const std::string& file);

}  // namespace rpt::text

// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace rpt::model {

/// A token that stands beside a tokenizer.model.
struct SideToken {
  std::string text;
  bool special = true;
  std::string file;  ///< that says so
};
using SideTokens = std::map<std::int64_t, SideToken>;

/// A file of a Hugging Face directory: its path, for errors, and its text, which is empty where there is no such file.
struct SideFile {
  std::string path;
  std::string text;
};

/// The tokens, by id, that tokenizer_config.json (added_tokens_decoder) and added_tokens.json name. The latter does not
/// say which are special: those are that tokenizer_config.json or special_tokens_map.json give a role. Throws:
/// FormatError for a text that is no JSON object; ConfigError for a token without id or text, with a flag that cannot
/// be honoured, or that two files call by different texts.
SideTokens parse_side_tokens(const SideFile& tokenizer_config, const SideFile& special_tokens_map,
                             const SideFile& added_tokens);

/// The side tokens behind the first `known` ids, in order. Throws: ConfigError where an id is left out.
std::vector<SideToken> tokens_behind(std::int64_t known, const SideTokens& tokens);

}  // namespace rpt::model

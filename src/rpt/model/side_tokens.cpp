// SPDX-License-Identifier: MIT
#include "rpt/model/side_tokens.h"

#include <charconv>
#include <nlohmann/json.hpp>
#include <set>

#include "rpt/core/error.h"
#include "rpt/text/utf8.h"

namespace rpt::model {
namespace {

using Json = nlohmann::json;

Json parse_object(const SideFile& file) {
  if (file.text.empty()) return Json::object();
  try {
    Json json = Json::parse(file.text);
    if (json.is_object()) return json;
  } catch (const Json::parse_error& e) {
    throw FormatError(file.path, e.byte, "JSON", "a JSON object", "a syntax error there");
  } catch (const Json::exception&) {  // a number beyond double
    throw FormatError(file.path, 0, "JSON", "numbers that a double can hold", "a larger one");
  }
  throw FormatError(file.path, 0, "JSON", "a JSON object", "another value");
}

void add_side_token(std::int64_t id, SideToken token, SideTokens& tokens) {
  if (id < 0 || token.text.empty()) {
    throw ConfigError(fmt::format("{}: an added token with the id {} and the text \"{}\"", token.file, id,
                                  text::for_message(token.text)));
  }
  const auto [at, is_new] = tokens.try_emplace(id, token);
  if (is_new || at->second.text == token.text) return;
  throw ConfigError(fmt::format("{}: the token {} is \"{}\", in {} it is \"{}\"", token.file, id,
                                text::for_message(token.text), at->second.file, text::for_message(at->second.text)));
}

/// The texts that a tokenizer_config.json or special_tokens_map.json gives a role: "eos_token": "</s>" and the like.
void collect_roles(const Json& config, std::set<std::string>& texts) {
  const auto add = [&](const Json& value) {
    if (value.is_string()) texts.insert(value.get<std::string>());
    if (value.is_object() && value.contains("content") && value["content"].is_string()) texts.insert(value["content"]);
  };
  for (const auto& [key, value] : config.items()) {
    if (key.ends_with("_token")) add(value);
    if (key != "additional_special_tokens" || !value.is_array()) continue;
    for (const Json& token : value) add(token);
  }
}

/// One entry of added_tokens_decoder.
SideToken side_token(const Json& value, const std::string& key, const std::string& file) {
  if (!value.is_object() || !value.contains("content") || !value["content"].is_string()) {
    throw ConfigError(fmt::format("{}: the added token \"{}\" has no text", file, text::for_message(key)));
  }
  const auto is_set = [&value](const char* flag) {
    return value.contains(flag) && value[flag].is_boolean() && value[flag].get<bool>();
  };
  SideToken token{value["content"], is_set("special"), file};
  for (const char* flag : {"lstrip", "rstrip", "single_word"}) {
    if (!is_set(flag)) continue;
    throw ConfigError(
        fmt::format("{}: {} of the added token \"{}\" is not supported", file, flag, text::for_message(token.text)));
  }
  return token;
}

}  // namespace

SideTokens parse_side_tokens(const SideFile& tokenizer_config, const SideFile& special_tokens_map,
                             const SideFile& added_tokens) {
  SideTokens tokens;
  const Json config = parse_object(tokenizer_config);
  if (const auto decoder = config.find("added_tokens_decoder"); decoder != config.end() && decoder->is_object()) {
    for (const auto& [key, value] : decoder->items()) {
      std::int64_t id = -1;
      const auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), id);
      const bool whole = error == std::errc() && end == key.data() + key.size();
      add_side_token(whole ? id : -1, side_token(value, key, tokenizer_config.path), tokens);
    }
  }
  std::set<std::string> roles;
  collect_roles(config, roles);
  collect_roles(parse_object(special_tokens_map), roles);
  const Json added = parse_object(added_tokens);
  for (const auto& [text, id] : added.items()) {
    add_side_token(id.is_number_integer() ? id.get<std::int64_t>() : -1,
                   {text, roles.contains(text), added_tokens.path}, tokens);
  }
  return tokens;
}

std::vector<SideToken> tokens_behind(std::int64_t known, const SideTokens& tokens) {
  std::vector<SideToken> behind;
  for (auto it = tokens.lower_bound(known); it != tokens.end(); ++it) {
    const std::int64_t next = known + std::ssize(behind);
    if (it->first != next) {
      throw ConfigError(fmt::format("{}: names a token {} (\"{}\"), and none is known for {}", it->second.file,
                                    it->first, text::for_message(it->second.text), next));
    }
    behind.push_back(it->second);
  }
  return behind;
}

}  // namespace rpt::model

// SPDX-License-Identifier: MIT
// The JSON files beside a tokenizer.model, one after another with a zero byte between: any bytes give tokens that stand
// behind each other, or one rpt::Error.
#include <cstdint>
#include <string_view>

#include "rpt/core/error.h"
#include "rpt/model/side_tokens.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string_view rest(reinterpret_cast<const char*>(data), size);
  const auto next = [&](const char* name) {
    const std::string_view text = rest.substr(0, rest.find('\0'));
    rest.remove_prefix(text.size() < rest.size() ? text.size() + 1 : text.size());
    return rpt::model::SideFile{name, std::string(text)};
  };
  const auto config = next("tokenizer_config.json");
  const auto roles = next("special_tokens_map.json");
  const auto added = next("added_tokens.json");
  try {
    const auto tokens = rpt::model::parse_side_tokens(config, roles, added);
    const auto behind = rpt::model::tokens_behind(3, tokens);
    RPT_CHECK(behind.size() <= tokens.size(), "{} of {}", behind.size(), tokens.size());
    for (const auto& token : behind) RPT_CHECK(!token.text.empty(), "a token without text");
  } catch (const rpt::Error&) {
  }
  return 0;
}

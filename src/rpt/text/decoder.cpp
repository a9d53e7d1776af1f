// SPDX-License-Identifier: MIT
#include "rpt/text/decoder.h"

#include <algorithm>
#include <charconv>

#include "rpt/core/error.h"
#include "rpt/text/byte_level.h"

namespace rpt::text {

namespace {

std::string replace_all(std::string_view text, const std::string& from, const std::string& to, std::size_t limit) {
  std::string out;
  std::size_t at = 0;
  for (std::size_t found; (found = text.find(from, at)) != std::string_view::npos; at = found + from.size()) {
    out += text.substr(at, found - at);
    out += to;
    if (out.size() > limit) throw ConfigError(fmt::format("the decoder makes a text over {} bytes", limit));
  }
  out += text.substr(at);
  return out;
}

/// `<0xNN>` → the byte; anything else as it is.
std::string byte_of(std::string text) {
  if (text.size() != 6 || !text.starts_with("<0x") || text[5] != '>') return text;
  unsigned byte = 0;
  const auto [end, error] = std::from_chars(text.data() + 3, text.data() + 5, byte, 16);
  if (error != std::errc() || end != text.data() + 5) return text;
  return std::string(1, static_cast<char>(static_cast<std::uint8_t>(byte)));
}

std::string_view strip(std::string_view text, const DecoderStep& step) {
  for (std::size_t i = 0; i < step.start && text.starts_with(step.from); ++i) text.remove_prefix(step.from.size());
  for (std::size_t i = 0; i < step.stop && text.ends_with(step.from); ++i) text.remove_suffix(step.from.size());
  return text;
}

std::string apply(const DecoderStep& step, std::string text, std::size_t limit) {
  switch (step.kind) {
    case DecoderStep::Kind::byte_level:
      return from_byte_level(text).value_or(text);
    case DecoderStep::Kind::replace:
      return replace_all(text, step.from, step.to, limit);
    case DecoderStep::Kind::byte_fallback:
      return byte_of(std::move(text));
    case DecoderStep::Kind::strip:
      return std::string(strip(text, step));
    case DecoderStep::Kind::fuse:
      break;
  }
  return text;
}

/// Steps that feed each other could fill any memory, so there is a limit to what they make of a text.
std::string apply(const std::vector<DecoderStep>& steps, std::string text) {
  const std::size_t limit = 64 * text.size() + (std::size_t{64} << 10);
  for (const DecoderStep& step : steps) text = apply(step, std::move(text), limit);
  return text;
}

}  // namespace

Decoder::Decoder(std::vector<DecoderStep> steps, std::vector<TokenType> prefix_behind)
    : prefix_behind_(std::move(prefix_behind)) {
  const auto is_fuse = [](const DecoderStep& step) { return step.kind == DecoderStep::Kind::fuse; };
  const auto fuse = std::find_if(steps.begin(), steps.end(), is_fuse);
  token_steps_.assign(steps.begin(), fuse);
  text_steps_.assign(fuse, steps.end());
}

std::string Decoder::piece(const Vocabulary& vocabulary, std::int32_t id) const {
  std::string text(vocabulary.text(id));
  if (vocabulary.is_literal(id)) return text;
  return apply(token_steps_, std::move(text));
}

std::string Decoder::decode(const Vocabulary& vocabulary, std::span<const std::int32_t> ids) const {
  std::string text;
  bool has_prefix = !prefix_behind_.empty();
  for (const std::int32_t id : ids) {
    std::string bytes = piece(vocabulary, id);
    if (has_prefix && !vocabulary.is_literal(id) && bytes.starts_with(' ')) bytes.erase(0, 1);
    has_prefix = std::find(prefix_behind_.begin(), prefix_behind_.end(), vocabulary.type(id)) != prefix_behind_.end();
    text += bytes;
  }
  return apply(text_steps_, std::move(text));
}

}  // namespace rpt::text

// SPDX-License-Identifier: MIT
#include "rpt/text/pre_tokenizer.h"

#include <cctype>

#include "rpt/core/error.h"
#include "rpt/text/byte_level.h"
#include "rpt/text/utf8.h"

namespace rpt::text {

const std::string_view kGpt2Expression =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
const std::string_view kLlama3Expression = R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3})"
                                           R"(| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

namespace {

PreTokenizerStep split_step(std::string_view expression) {
  return {.pattern = std::string(expression)};
}

PreTokenizerStep byte_level_step(bool use_regex) {
  return {.kind = PreTokenizerStep::Kind::byte_level, .use_regex = use_regex};
}

/// The expression that matches exactly this text.
std::string quoted(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (static_cast<unsigned char>(c) < 0x80 && std::ispunct(static_cast<unsigned char>(c)) != 0) out += '\\';
    out += c;
  }
  return out;
}

/// A stretch of a text, either a match of the pattern or a gap between two.
struct Segment {
  std::size_t begin, end;
  bool matched;
};

/// Calls `use` with the segments of `text` in order; together they cover it. An empty match right behind another match
/// does not count.
template <typename Use>
void for_each_segment(const Pattern& pattern, std::string_view text, MatchScratch& scratch, const Use& use) {
  std::size_t covered = 0, from = 0;
  std::optional<std::size_t> last_end;
  while (from <= text.size()) {
    const std::optional<Pattern::Match> match = pattern.find(text, from, scratch);
    if (!match) break;
    if (match->begin == match->end && last_end == match->end) {
      from += from < text.size() ? decode_utf8(text.substr(from)).size : 1;
      continue;
    }
    if (covered < match->begin) use(Segment{covered, match->begin, false});
    use(Segment{match->begin, match->end, true});
    covered = from = match->end;
    last_end = match->end;
  }
  if (covered < text.size()) use(Segment{covered, text.size(), false});
}

/// Joins segments as the behaviour says. `behavior` is neither isolated nor removed.
std::vector<Segment> join_segments(const std::vector<Segment>& segments, SplitBehavior behavior) {
  std::vector<Segment> out;
  bool previous = false;
  for (std::size_t i = 0; i < segments.size(); ++i) {
    const Segment& s = segments[i];
    bool join = false;
    switch (behavior) {
      case SplitBehavior::contiguous:
        join = i > 0 && s.matched == previous;
        break;
      case SplitBehavior::merged_with_previous:
        join = i > 0 && s.matched && !previous;
        break;
      // A match takes what follows it, unless that is a match too.
      case SplitBehavior::merged_with_next:
        join = i > 0 && !s.matched && previous;
        break;
      default:
        RPT_CHECK(false, "nothing to join");
    }
    if (join) {
      out.back().end = s.end;
    } else {
      out.push_back(s);
    }
    previous = s.matched;
  }
  return out;
}

}  // namespace

const std::vector<NamedPreTokenizer>& named_pre_tokenizers() {
  static const std::vector<NamedPreTokenizer> kNamed = {
      {"llama-bpe", {split_step(kLlama3Expression), byte_level_step(false)}, true, true},
      {"gpt-2", {byte_level_step(true)}, false, false},
      {"smollm",
       {{.kind = PreTokenizerStep::Kind::digits, .individual_digits = true}, byte_level_step(true)},
       false,
       false},
      // As llama.cpp defines them.
      {"default",
       {split_step(R"([\p{P}\$\+<=>\^~\|]+)"),
        split_step(R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S))"),
        split_step(R"(\p{N}+)"), split_step("[0-9][0-9][0-9]"), byte_level_step(false)},
       false,
       false},
      {"falcon",
       {split_step(R"([\p{P}\$\+<=>\^~\|`]+)"),
        split_step(R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S))"),
        split_step("[0-9][0-9][0-9]"), byte_level_step(false)},
       false,
       false},
  };
  return kNamed;
}

const NamedPreTokenizer* find_pre_tokenizer(std::string_view name) {
  if (name == "llama3" || name == "llama-v3" || name == "falcon3") name = "llama-bpe";
  for (const NamedPreTokenizer& named : named_pre_tokenizers()) {
    if (named.name == name) return &named;
  }
  return nullptr;
}

PreTokenizer::PreTokenizer(std::vector<PreTokenizerStep> steps, const std::string& place) : steps_(std::move(steps)) {
  for (const PreTokenizerStep& step : steps_) add_stage(step, place);
}

void PreTokenizer::add_stage(const PreTokenizerStep& step, const std::string& place) {
  Stage stage{.behavior = step.behavior, .invert = step.invert, .on_byte_level_form = byte_level_};
  std::string expression;
  using Kind = PreTokenizerStep::Kind;
  switch (step.kind) {
    case Kind::split:
      expression = step.is_expression ? step.pattern : quoted(step.pattern);
      break;
    case Kind::byte_level:
      if (byte_level_) throw ConfigError(place + ": a second ByteLevel is not supported");
      byte_level_ = true;
      stage.add_prefix_space = step.add_prefix_space;
      if (step.use_regex) expression = kGpt2Expression;
      break;
    case Kind::digits:
      expression = step.individual_digits ? R"(\p{N})" : R"(\p{N}+)";
      break;
    case Kind::punctuation:
      expression = R"([!-/:-@\[-`{-~\p{P}])";
      break;
    // Its \w also holds the two joiners.
    case Kind::whitespace:
      expression = R"([\w\x{200c}\x{200d}]+|[^\w\s\x{200c}\x{200d}]+)";
      stage.invert = true;
      break;
    case Kind::whitespace_split:
      expression = R"(\s)";
      break;
  }
  if (step.kind == Kind::whitespace || step.kind == Kind::whitespace_split) stage.behavior = SplitBehavior::removed;
  if (!expression.empty()) stage.pattern = Pattern(expression, place);
  if (!stage.pattern.empty() || stage.add_prefix_space) stages_.push_back(std::move(stage));
}

/// One call of split: the steps are nested, each piece goes through all of them before the next one is cut.
struct PreTokenizer::Run {
  const std::vector<Stage>& stages;
  bool begins_text;
  MatchScratch& scratch;
  const Sink& sink;

  void from_stage(std::size_t index, TextSpan span) const {
    if (span.text.empty()) return;
    if (index == stages.size()) return sink(span);
    const Stage& stage = stages[index];
    std::string prefixed;
    if (stage.add_prefix_space && begins_text && !span.text.starts_with(' ')) {
      prefixed.reserve(span.text.size() + 1);
      prefixed = ' ';
      prefixed += span.text;
      span = {prefixed, span.base - 1};
    }
    if (stage.pattern.empty()) return from_stage(index + 1, span);
    const auto next = [&](std::size_t begin, std::size_t end) {
      from_stage(index + 1, {span.text.substr(begin, end - begin), span.base + begin});
    };
    if (!stage.on_byte_level_form) return cut(stage, span.text, next);
    std::string form;
    append_byte_level(form, span.text);
    // A character of the form is a byte of the text; pieces come in order.
    std::size_t form_at = 0, text_at = 0;
    const auto advance = [&](std::size_t to) {
      for (; form_at < to; ++form_at) text_at += (static_cast<unsigned char>(form[form_at]) & 0xC0) != 0x80 ? 1 : 0;
      return text_at;
    };
    cut(stage, form, [&](std::size_t begin, std::size_t end) {
      const std::size_t text_begin = advance(begin);
      next(text_begin, advance(end));
    });
  }

  template <typename Next>
  void cut(const Stage& stage, std::string_view text, const Next& next) const {
    if (stage.behavior == SplitBehavior::isolated || stage.behavior == SplitBehavior::removed) {
      const bool drop_matches = stage.behavior == SplitBehavior::removed;
      for_each_segment(stage.pattern, text, scratch, [&](const Segment& s) {
        if (!drop_matches || s.matched == stage.invert) next(s.begin, s.end);
      });
      return;
    }
    std::vector<Segment> segments;
    for_each_segment(stage.pattern, text, scratch, [&](Segment s) {
      s.matched = s.matched != stage.invert;
      segments.push_back(s);
    });
    for (const Segment& s : join_segments(segments, stage.behavior)) next(s.begin, s.end);
  }
};

void PreTokenizer::split(const TextSpan& span, bool begins_text, MatchScratch& scratch, const Sink& sink) const {
  Run{stages_, begins_text, scratch, sink}.from_stage(0, span);
}

void PreTokenizer::split_bytes(std::string_view text, MatchScratch& scratch, const Sink& sink) const {
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t valid = valid_utf8_prefix(text.substr(at));
    split({text.substr(at, valid), at}, at == 0, scratch, sink);
    at += valid;
    const std::size_t bad = at;
    while (at < text.size()) {
      const Utf8Char c = decode_utf8(text.substr(at));
      if (c.valid) break;
      at += c.size;
    }
    if (at > bad) sink({text.substr(bad, at - bad), bad});
  }
}

}  // namespace rpt::text

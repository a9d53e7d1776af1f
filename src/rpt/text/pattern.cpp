// SPDX-License-Identifier: MIT
#define PCRE2_CODE_UNIT_WIDTH 8
#include "rpt/text/pattern.h"

#include <pcre2.h>

#include <algorithm>
#include <array>

#include "rpt/core/error.h"
#include "rpt/text/utf8.h"

namespace rpt::text {

namespace {

constexpr std::size_t kMaxExpression = 1 << 16;           // bytes of a translated expression
constexpr std::size_t kJitStack = std::size_t{64} << 20;  // bytes at most; pages are taken as they are needed
constexpr std::uint32_t kHeapKibibytes = 256 << 10;       // for the interpreter, where there is no JIT compiler
constexpr std::uint64_t kSteps = 10'000'000, kStepsPerByte = 64;

/// Frees what PCRE2 made.
template <auto free_function>
struct Free {
  template <typename T>
  void operator()(T* pointer) const {
    free_function(pointer);
  }
};

std::string error_text(int code) {
  std::array<PCRE2_UCHAR, 256> buffer{};
  pcre2_get_error_message(code, buffer.data(), buffer.size());
  return reinterpret_cast<const char*>(buffer.data());
}

}  // namespace

struct MatchScratch::Buffers {
  std::unique_ptr<pcre2_match_data, Free<pcre2_match_data_free>> data{pcre2_match_data_create(1, nullptr)};
  std::unique_ptr<pcre2_match_context, Free<pcre2_match_context_free>> context{pcre2_match_context_create(nullptr)};
  std::unique_ptr<pcre2_jit_stack, Free<pcre2_jit_stack_free>> stack{
      pcre2_jit_stack_create(std::size_t{32} << 10, kJitStack, nullptr)};
};

MatchScratch::MatchScratch() : buffers_(std::make_unique<Buffers>()) {
  if (!buffers_->data || !buffers_->context) throw EnvironmentError("no memory for matching expressions");
  pcre2_set_heap_limit(buffers_->context.get(), kHeapKibibytes);
  // Without a stack of its own (PCRE2 built without JIT gives none) the machine's stack serves.
  pcre2_jit_stack_assign(buffers_->context.get(), nullptr, buffers_->stack.get());
}
MatchScratch::~MatchScratch() = default;
MatchScratch::MatchScratch(MatchScratch&&) noexcept = default;
MatchScratch& MatchScratch::operator=(MatchScratch&&) noexcept = default;

struct Pattern::Compiled {
  std::unique_ptr<pcre2_code, Free<pcre2_code_free>> code;
  std::string expression;  // as written, for messages
};

Pattern::Pattern(std::string_view expression, const std::string& place) {
  const std::string translated = translate_expression(expression, place);
  if (translated.size() > kMaxExpression) {
    throw ConfigError(
        fmt::format("{}: an expression of {} bytes, at most {}", place, translated.size(), kMaxExpression));
  }
  int error = 0;
  std::size_t offset = 0;
  const std::unique_ptr<pcre2_compile_context, Free<pcre2_compile_context_free>> context(
      pcre2_compile_context_create(nullptr));
  if (!context) throw EnvironmentError("no memory for compiling expressions");
  pcre2_set_newline(context.get(), PCRE2_NEWLINE_LF);
  // Oniguruma's ^ and $ hold at every line.
  constexpr std::uint32_t kOptions = PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C;
  pcre2_code* code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(translated.data()), translated.size(), kOptions, &error,
                                   &offset, context.get());
  if (code == nullptr) {
    throw ConfigError(
        fmt::format("{}: the expression {} does not compile: {}", place, for_message(expression), error_text(error)));
  }
  auto compiled = std::make_shared<Compiled>();
  compiled->code.reset(code);
  compiled->expression = expression;
  // Where there is no JIT compiler, pcre2_match interprets.
  pcre2_jit_compile(code, PCRE2_JIT_COMPLETE);
  compiled_ = std::move(compiled);
}

std::optional<Pattern::Match> Pattern::find(std::string_view subject, std::size_t from, MatchScratch& scratch) const {
  MatchScratch::Buffers& buffers = *scratch.buffers_;
  const std::uint64_t steps = kSteps + kStepsPerByte * subject.size();
  pcre2_set_match_limit(buffers.context.get(), static_cast<std::uint32_t>(std::min<std::uint64_t>(steps, UINT32_MAX)));
  const int result = pcre2_match(compiled_->code.get(), reinterpret_cast<PCRE2_SPTR>(subject.data()), subject.size(),
                                 from, PCRE2_NO_UTF_CHECK, buffers.data.get(), buffers.context.get());
  if (result == PCRE2_ERROR_NOMATCH) return std::nullopt;
  if (result < 0) {
    throw ConfigError(fmt::format("the pre-tokenizer's expression {} fails on a text of {} bytes: {}",
                                  for_message(compiled_->expression), subject.size(), error_text(result)));
  }
  const std::size_t* bounds = pcre2_get_ovector_pointer(buffers.data.get());
  return Match{bounds[0], bounds[1]};
}

std::string Pattern::unicode_version() {
  std::array<char, 64> buffer{};
  pcre2_config(PCRE2_CONFIG_UNICODE_VERSION, buffer.data());
  return buffer.data();
}

}  // namespace rpt::text

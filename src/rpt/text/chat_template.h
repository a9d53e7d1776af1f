// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <ctime>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace rpt::text {

/// One turn of a conversation.
struct Message {
  std::string role;  ///< "system", "user", "assistant", …
  std::string content;
};

struct RenderOptions {
  bool add_generation_prompt = false;  ///< ends with what begins the assistant's next turn
  /// Special tokens as they are written; a template finds those that are absent undefined.
  std::optional<std::string> bos_token, eos_token, pad_token, unk_token;
  std::optional<std::time_t> now;                      ///< what strftime_now tells; the clock's time where absent
  std::uint64_t max_steps = 10'000'000;                ///< evaluations that a rendering may take
  std::uint64_t max_bytes = std::uint64_t{256} << 20;  ///< of all texts that it may make on the way
};

/// A chat template as models are published with: the part of Jinja that those templates use, rendered as transformers'
/// apply_chat_template does (trim_blocks, lstrip_blocks, loop controls, no autoescape). `tools` and `documents` are
/// none. Anything outside of that part is refused by name and line, never rendered differently. A handle: copies share
/// one immutable template.
///
/// Left out on purpose: upper, lower, capitalize and title of text outside ASCII, printing lists with such text,
/// string formatting with %, integers beyond 64 bits, `call`, `filter`, `with`, `include`, `import`, `extends`,
/// `block`, recursive loops.
class ChatTemplate {
 public:
  /// `where` is named in errors. Throws ConfigError naming line and construct for what is damaged or not supported.
  static ChatTemplate parse(std::string_view source, const std::string& where);

  /// The conversation as the text that the model was trained on. Throws ConfigError where the template refuses the
  /// conversation (raise_exception), where it does what Python would refuse, and where it takes too long.
  std::string render(std::span<const Message> messages, const RenderOptions& options) const;

 private:
  struct State;
  explicit ChatTemplate(std::shared_ptr<const State> state);
  std::shared_ptr<const State> state_;
};

}  // namespace rpt::text

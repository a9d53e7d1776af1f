// SPDX-License-Identifier: MIT
#include "rpt/text/chat_template.h"

#include <vector>

#include "rpt/core/error.h"
#include "rpt/text/jinja_evaluator.h"
#include "rpt/text/jinja_syntax.h"
#include "rpt/text/utf8.h"

namespace rpt::text {

struct ChatTemplate::State {
  std::string where;
  std::vector<jinja::Statement> statements;
};

ChatTemplate::ChatTemplate(std::shared_ptr<const State> state) : state_(std::move(state)) {}

ChatTemplate ChatTemplate::parse(std::string_view source, const std::string& where) {
  if (!is_valid_utf8(source)) throw ConfigError(fmt::format("{}: the chat template is no UTF-8", where));
  return ChatTemplate(std::make_shared<const State>(State{where, jinja::parse(source, where)}));
}

std::string ChatTemplate::render(std::span<const Message> messages, const RenderOptions& options) const {
  jinja::Limits limits;
  limits.steps = options.max_steps;
  limits.bytes = options.max_bytes;
  jinja::Runtime runtime(state_->where, limits);
  jinja::Scope& scope = runtime.new_scope(nullptr);
  jinja::List& list = runtime.new_list(jinja::List::Form::list);
  for (const Message& message : messages) {
    jinja::Dict& dict = runtime.new_dict();
    dict.entries.emplace_back(runtime.text("role"), runtime.text(message.role));
    dict.entries.emplace_back(runtime.text("content"), runtime.text(message.content));
    list.items.push_back({&dict});
  }
  scope.set("messages", {&list});
  scope.set("tools", {jinja::None()});
  scope.set("documents", {jinja::None()});
  scope.set("add_generation_prompt", {options.add_generation_prompt});
  const auto token = [&](std::string_view name, const std::optional<std::string>& text) {
    if (text) scope.set(name, runtime.text(*text));
  };
  token("bos_token", options.bos_token);
  token("eos_token", options.eos_token);
  token("pad_token", options.pad_token);
  token("unk_token", options.unk_token);
  return jinja::Evaluator(runtime, options.now).run(state_->statements, scope);
}

}  // namespace rpt::text

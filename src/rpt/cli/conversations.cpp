// SPDX-License-Identifier: MIT
#include "rpt/cli/conversations.h"

#include <fmt/format.h>

#include "rpt/cli/scoring.h"
#include "rpt/core/atomic_file.h"
#include "rpt/core/error.h"
#include "rpt/generate/prompt.h"

namespace rpt::cli {

text::ChatTemplate open_chat_template(const model::Model& model, const std::filesystem::path& file) {
  constexpr std::uint64_t kMostBytes = std::uint64_t{1} << 20;
  if (!file.empty()) return text::ChatTemplate::parse(core::read_file(file, kMostBytes), file.string());
  if (model.chat_template.empty()) {
    throw ConfigError(
        fmt::format("{}: has no chat template; --template FILE gives one (Jinja, as in "
                    "tokenizer_config.json)",
                    model.path.string()));
  }
  return text::ChatTemplate::parse(model.chat_template, model.path.string() + ": chat template");
}

train::ConversationEncoder conversation_encoder(const model::Model& model, const std::filesystem::path& file) {
  const auto prompter = std::make_shared<const generate::ChatPrompter>(model, open_chat_template(model, file));
  return [prompter](std::span<const text::Message> messages) { return prompter->encode_answers(messages); };
}

std::vector<train::Document> load_conversations(const std::string& text_name) {
  const text::TextSource source = find_text(text_name);
  if (source.rule != text::DocumentRule::jsonl || !text::holds_conversations(text::load_text(source))) return {};
  const train::Source all{.text = text_name};
  return train::load_documents({&all, 1}, text_roots());
}

std::vector<text::EncodedConversation> encode_conversations(std::span<const train::Document> conversations,
                                                            const train::ConversationEncoder& encoder) {
  std::vector<text::EncodedConversation> encoded;
  for (const train::Document& c : conversations) encoded.push_back(train::encode_conversation_of(c, encoder));
  return encoded;
}

}  // namespace rpt::cli

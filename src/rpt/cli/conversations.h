// SPDX-License-Identifier: MIT
#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "rpt/model/model.h"
#include "rpt/text/chat_template.h"
#include "rpt/train/token_stream.h"

namespace rpt::cli {

/// The chat template in `file`, or the model's own where that is empty. Throws: ConfigError where there is none, or one
/// that cannot be honoured; IoError.
text::ChatTemplate open_chat_template(const model::Model& model, const std::filesystem::path& file);

/// Encodes conversations by that template. The model must outlive it. Throws as open_chat_template.
train::ConversationEncoder conversation_encoder(const model::Model& model, const std::filesystem::path& file);

/// The conversations that TEXT on a command line holds; none where it is a text. Throws as text::load_text and
/// text::split_conversations.
std::vector<train::Document> load_conversations(const std::string& text_name);

/// All of them encoded. Throws as train::encode_conversation_of.
std::vector<text::EncodedConversation> encode_conversations(std::span<const train::Document> conversations,
                                                            const train::ConversationEncoder& encoder);

}  // namespace rpt::cli

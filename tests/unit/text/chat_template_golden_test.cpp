// SPDX-License-Identifier: MIT
#include <gtest/gtest.h>

#include <cstdlib>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "rpt/core/atomic_file.h"
#include "rpt/core/error.h"
#include "rpt/text/chat_template.h"
#include "tests/shared_data.h"

namespace rpt::text {
namespace {

using Json = nlohmann::json;

std::filesystem::path golden(const std::string& name) {
  return test::source_dir() / "tests/golden/chat" / name;
}

Json read(const std::filesystem::path& path) {
  return Json::parse(core::read_file(path));
}

std::vector<Message> messages_of(const Json& conversation) {
  std::vector<Message> messages;
  for (const Json& m : conversation) messages.push_back({m["role"], m["content"]});
  return messages;
}

/// What became of a rendering.
struct Outcome {
  std::string text;
  std::string error;
};

Outcome outcome(const std::string& source, const std::vector<Message>& messages, const RenderOptions& options) {
  try {
    return {ChatTemplate::parse(source, "t").render(messages, options), ""};
  } catch (const ConfigError& e) {
    return {"", e.what()};
  }
}

std::optional<std::string> optional_text(const Json& value) {
  return value.is_null() ? std::nullopt : std::optional(value.get<std::string>());
}

TEST(ChatTemplate, PublishedTemplatesRenderAsTransformersDoes) {
  const Json goldens = read(golden("rendered.json"));
  const Json templates = read(golden("templates.json"));
  EXPECT_GE(templates.size(), 16U);
  std::size_t rendered = 0;
  std::size_t refused = 0;
  for (const Json& c : goldens["cases"]) {
    const std::string name = c["template"];
    SCOPED_TRACE(name + " " + c["conversation"].get<std::string>());
    RenderOptions options;
    options.add_generation_prompt = c["prompt"];
    options.bos_token = optional_text(templates[name]["bos_token"]);
    options.eos_token = optional_text(templates[name]["eos_token"]);
    const Outcome ours = outcome(core::read_file(golden(name + ".jinja")),
                                 messages_of(goldens["conversations"][c["conversation"].get<std::string>()]), options);
    if (c.contains("text")) {
      ++rendered;
      EXPECT_EQ(ours.error, "");
      EXPECT_EQ(ours.text, c["text"]);
      continue;
    }
    ++refused;
    EXPECT_NE(ours.error.find("t: line "), std::string::npos) << ours.text;
    if (c["error"] == "refused") {
      EXPECT_NE(ours.error.find("the template refuses the conversation: " + c["message"].get<std::string>()),
                std::string::npos)
          << ours.error;
    }
  }
  EXPECT_GT(rendered, 400U);
  EXPECT_GT(refused, 20U);
}

/// Renders every snippet as jinja2 did. What ours refuses as not supported although jinja2 renders it goes to
/// `refused`.
void compare_snippets(const Json& goldens, std::set<std::string>& refused) {
  const std::vector<Message> messages = messages_of(goldens["messages"]);
  RenderOptions options;
  options.add_generation_prompt = true;
  options.bos_token = "<s>";
  options.eos_token = "</s>";
  for (const Json& c : goldens["cases"]) {
    const Outcome ours = outcome(c["template"], messages, options);
    SCOPED_TRACE(c["template"].get<std::string>());
    if (c.contains("error")) {
      EXPECT_NE(ours.error, "") << c["error"] << ", ours gives " << ours.text;
    } else if (ours.error.find("not supported") != std::string::npos) {
      refused.insert(c["template"]);
    } else {
      EXPECT_EQ(ours.error, "");
      EXPECT_EQ(ours.text, c["text"]);
    }
  }
}

TEST(ChatTemplate, SnippetsRenderAsJinjaDoes) {
  const Json goldens = read(golden("snippets.json"));
  EXPECT_GT(goldens["cases"].size(), 150U);
  std::set<std::string> refused;
  compare_snippets(goldens, refused);
  EXPECT_EQ(refused, std::set<std::string>({"{{ '%s' % 'a' }}", "{{ 2 ** 3 }}",
                                            "{{ (messages | map(attribute='role') | list).index('user') }}"}));
}

/// What is refused by name although Jinja renders it: % with a text on its left, which formats, and slices of constants
/// that have none, which Jinja folds to nothing while it fails for the same values at run time.
TEST(ChatTemplate, RandomSnippetsRenderAsJinjaDoes) {
  const Json goldens = read(golden("random.json"));
  ASSERT_GT(goldens["cases"].size(), 990U);
  std::set<std::string> refused;
  compare_snippets(goldens, refused);
  for (const std::string& snippet : refused) {
    EXPECT_TRUE(snippet.find(" % ") != std::string::npos || snippet.find(":]") != std::string::npos ||
                snippet.find("[:") != std::string::npos)
        << snippet;
  }
  EXPECT_LT(refused.size(), 10U);
}

}  // namespace
}  // namespace rpt::text

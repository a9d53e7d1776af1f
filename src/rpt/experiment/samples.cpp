// SPDX-License-Identifier: MIT
#include "rpt/experiment/samples.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <sstream>
#include <utility>
#include <vector>

#include "rpt/core/error.h"
#include "rpt/evaluate/perplexity.h"
#include "rpt/generate/prompt.h"
#include "rpt/generate/session.h"
#include "rpt/text/utf8.h"

namespace rpt::experiment {

namespace {

std::vector<std::int32_t> ids_of(const model::Model& model, std::string_view prompt) {
  return generate::encode_prompt(model, prompt, {.special = false}).ids;
}

}  // namespace

void require_prompt(const model::Model& model, std::string_view prompt) {
  const std::size_t tokens = ids_of(model, prompt).size();
  if (tokens == 0) throw ConfigError(fmt::format("the prompt \"{}\" has no token", text::for_message(prompt)));
  if (std::cmp_greater(tokens, model.config.context)) {
    throw ConfigError(fmt::format("{}: the prompt \"{}\" has {} tokens, the model's context is {}", model.path.string(),
                                  text::for_message(prompt), tokens, model.config.context));
  }
}

std::string generated(const model::Model& model, std::string_view prompt, std::int64_t tokens) {
  generate::GenerationOptions options;
  options.max_tokens = tokens;
  const std::vector<std::int32_t> ids = ids_of(model, prompt);
  generate::Session session(model, generate::room_for(model, static_cast<std::int64_t>(ids.size()), options),
                            options.sampling);
  session.append(ids);
  generate::TextWriter writer(model, options, [](std::string_view) {});
  while (writer.wants_more() && writer.accept(session.next_token())) {
  }
  return std::string(prompt) + writer.finish().text;
}

bool is_loop(std::string_view text) {
  constexpr std::size_t kLast = 6;
  std::vector<std::string> words;
  std::istringstream in{std::string(text)};
  for (std::string word; in >> word;) words.push_back(word);
  if (words.size() <= 3) return false;
  const std::size_t last = std::min(kLast, words.size());
  return std::set<std::string>(words.end() - static_cast<std::ptrdiff_t>(last), words.end()).size() <= 2;
}

void add_samples(StageFigures& figures, const model::Model& model, const text::Corpus& sentences) {
  bool coherent = true;
  for (std::size_t i = 0; i < kSamplePrompts.size(); ++i) {
    std::string text = generated(model, kSamplePrompts[i], kSampleTokens);
    coherent = coherent && !is_loop(text);
    figures.texts[fmt::format("sample {}", i + 1)] = std::move(text);
  }
  figures.numbers["coherent"] = coherent ? 1 : 0;
  if (sentences.documents.empty()) return;
  figures.numbers["sentences_nll"] = evaluate::perplexity(model, sentences, {}, 0).mean_nll;
}

}  // namespace rpt::experiment

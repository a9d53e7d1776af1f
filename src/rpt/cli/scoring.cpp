// SPDX-License-Identifier: MIT
#include "rpt/cli/scoring.h"

#include "rpt/cli/context.h"
#include "rpt/core/error.h"

namespace rpt::cli {

void add_scoring_options(CLI::App& app, ScoringOptions& o) {
  app.add_option(
         "--text", o.text,
         "UTF-8 file, or wikitext-2:train|validation|test, wikitext-2-raw:validation|test, sotu:train|test, facts:test")
      ->required();
  app.add_option("--protocol", o.protocol, "full, llama.cpp, legacy, lm-eval")
      ->check(CLI::IsMember({"full", "llama.cpp", "legacy", "lm-eval"}))
      ->capture_default_str();
  app.add_option("--context", o.context, "Tokens of a window (0: the protocol's own)")->check(check_whole_number);
  app.add_option("--stride", o.stride, "Tokens from window to window, full only (0: half the context)")
      ->check(check_whole_number);
  app.add_option("--bos", o.bos, "Begin-of-text token before a text: auto, yes, no")
      ->check(CLI::IsMember({"auto", "yes", "no"}))
      ->capture_default_str();
}

evaluate::ProtocolOptions protocol_options(const ScoringOptions& o) {
  evaluate::ProtocolOptions out;
  out.protocol = evaluate::parse_protocol(o.protocol);
  out.context = o.context;
  out.stride = o.stride;
  if (o.bos != "auto") out.bos = o.bos == "yes";
  return out;
}

evaluate::ScoringPlan plan_scoring(const text::Corpus& corpus, const model::Model& model, const ScoringOptions& o) {
  try {
    return evaluate::plan_scoring(corpus, evaluate::text_model(model), protocol_options(o));
  } catch (const ConfigError& e) {
    // With nothing chosen by hand it is the text that does not fit.
    if (o.context == 0 && o.stride == 0 && o.bos == "auto") throw;
    throw UsageError(e.what());
  }
}

std::vector<std::filesystem::path> text_roots() {
  std::vector<std::filesystem::path> roots;
  for (const auto& root : data_roots()) roots.push_back(root / "data");
  return roots;
}

text::TextSource find_text(const std::string& name) {
  return text::resolve_text(name, text_roots());
}

std::filesystem::path text_path(const std::string& name) {
  return name.empty() ? std::filesystem::path() : find_text(name).path;
}

std::vector<text::TextSource> find_texts(const std::string& name) {
  return text::resolve_texts(name, text_roots());
}

text::Corpus load_scoring_text(const ScoringOptions& o) {
  return text::load_corpus(find_text(o.text));
}

}  // namespace rpt::cli

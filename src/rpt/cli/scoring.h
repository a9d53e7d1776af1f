// SPDX-License-Identifier: MIT
#pragma once
#include <CLI/CLI.hpp>
#include <cstdint>
#include <string>

#include "rpt/evaluate/plan.h"
#include "rpt/model/model.h"
#include "rpt/text/corpus.h"

namespace rpt::cli {

/// The options of every command that scores a text.
struct ScoringOptions {
  std::string text;
  std::string protocol = "full";
  std::int64_t context = 0;
  std::int64_t stride = 0;
  std::string bos = "auto";
};

void add_scoring_options(CLI::App& app, ScoringOptions& options);

/// The same as the evaluation understands them.
evaluate::ProtocolOptions protocol_options(const ScoringOptions& options);

/// Lays out what is to be scored. Throws UsageError for options that do not fit protocol or model.
evaluate::ScoringPlan plan_scoring(const text::Corpus& corpus, const model::Model& model,
                                   const ScoringOptions& options);

/// Folders in which embedded texts are looked for.
std::vector<std::filesystem::path> text_roots();

/// What TEXT on a command line means. Throws as text::resolve_text.
text::TextSource find_text(const std::string& name);

/// The same where a folder means the texts below it. Throws as text::resolve_texts.
std::vector<text::TextSource> find_texts(const std::string& name);

/// The file that TEXT means; an empty path where there is no TEXT. Throws as find_text.
std::filesystem::path text_path(const std::string& name);

/// The text by name or path. Throws as text::load_corpus.
text::Corpus load_scoring_text(const ScoringOptions& options);

}  // namespace rpt::cli

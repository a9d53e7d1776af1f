// SPDX-License-Identifier: MIT
#pragma once
#include <CLI/CLI.hpp>
#include <cstdint>
#include <string>

#include "rpt/evaluate/plan.h"
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

/// The text by name or path. Throws as text::load_corpus.
text::Corpus load_scoring_text(const ScoringOptions& options);

}  // namespace rpt::cli

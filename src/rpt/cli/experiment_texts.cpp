// SPDX-License-Identifier: MIT
#include "rpt/cli/experiment_texts.h"

#include "rpt/cli/scoring.h"
#include "rpt/train/hold_out.h"

namespace rpt::cli {
namespace {

/// The test part of an embedded text, by its name; empty for others.
std::string test_of(const std::string& text) {
  const std::size_t colon = text.rfind(":train");
  return colon != std::string::npos && colon + 6 == text.size() ? text.substr(0, colon) + ":test" : "";
}

}  // namespace

experiment::Texts load_experiment_texts(const std::string& text, std::string& test, std::uint64_t seed) {
  train::Source source;
  source.text = text;
  const auto roots = text_roots();
  std::vector<train::Document> documents = train::load_documents({&source, 1}, roots);
  if (test.empty()) test = test_of(text);
  experiment::Texts texts;
  if (test.empty()) {
    train::HoldOutSplit split = train::hold_out(std::move(documents), {0.05, seed});
    texts.train = std::move(split.train);
    texts.test = train::corpus_of(split.held_out);
    test = text + " (held out)";
  } else {
    texts.train = std::move(documents);
    texts.test = text::load_corpus(find_text(test));
  }
  return texts;
}

}  // namespace rpt::cli

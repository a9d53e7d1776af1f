// SPDX-License-Identifier: MIT
#include "rpt/cli/calibration.h"

#include <fmt/format.h>

#include <algorithm>

#include "rpt/cli/scoring.h"
#include "rpt/core/error.h"
#include "rpt/core/timer.h"

namespace rpt::cli {
namespace {

std::vector<std::string> load_documents(const std::string& name) {
  return text::load_corpus(find_text(name)).documents;
}

}  // namespace

std::vector<CLI::Option*> add_calibration_options(CLI::App& app, CalibrationOptions& o) {
  CLI::Option* text = app.add_option("--calibration", o.text,
                                     "Text whose activations are looked at: UTF-8 file or name of an embedded text")
                          ->check(check_not_empty);
  CLI::Option* tokens = app.add_option("--calibration-tokens", o.tokens, "Tokens of it, from its beginning")
                            ->check(CLI::Range(1, 1 << 24))
                            ->capture_default_str();
  CLI::Option* length = app.add_option("--calibration-length", o.length, "Tokens of a sequence, at most")
                            ->check(CLI::Range(2, 1 << 20))
                            ->capture_default_str();
  return {text, tokens, length};
}

prune::CalibrationText describe_calibration(const CalibrationOptions& o, const model::Model& model) {
  return {o.text, prune::documents_sha256(load_documents(o.text)), std::min(o.length, model.config.context), o.tokens};
}

prune::Calibration calibrate_on(const prune::CalibrationText& described, const model::Model& model,
                                prune::Moments moments, const Context& context) {
  const std::vector<std::string> documents = load_documents(described.text);
  if (const std::string hash = prune::documents_sha256(documents); hash != described.sha256) {
    throw ConfigError(
        fmt::format("{}: the text is another one than that of the recipe (sha256 {:.16}…, expected {:.16}…)",
                    described.text, hash, described.sha256));
  }
  const core::Stopwatch watch;
  const auto sequences = prune::calibration_sequences(model, documents, described.length, described.tokens);
  prune::Calibration calibration = prune::calibrate(model, sequences, moments);
  context.detail(fmt::format("{} tokens of {} read in {:.1f} s", calibration.tokens, described.text, watch.seconds()));
  return calibration;
}

}  // namespace rpt::cli

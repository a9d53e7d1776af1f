// SPDX-License-Identifier: MIT
#include "rpt/cli/experiment_options.h"

#include <fmt/format.h>

#include "rpt/cli/scoring.h"
#include "rpt/cli/stop_signals.h"
#include "rpt/core/error.h"
#include "rpt/text/utf8.h"
#include "rpt/train/hold_out.h"

namespace rpt::cli {
namespace {

/// The test part of an embedded text, by its name; empty for others.
std::string test_of(const std::string& text) {
  const std::size_t colon = text.rfind(":train");
  return colon != std::string::npos && colon + 6 == text.size() ? text.substr(0, colon) + ":test" : "";
}

/// Refuses a text whose bytes are no UTF-8, as the first of them is found in its file.
void require_utf8(const text::TextSource& source) {
  const std::string bytes = text::load_text(source);
  const std::size_t at = text::valid_utf8_prefix(bytes);
  if (at == bytes.size()) return;
  throw FormatError(source.path.string(), at, "text", "UTF-8",
                    fmt::format("byte 0x{:02x}", static_cast<unsigned char>(bytes[at])));
}

}  // namespace

experiment::Texts load_experiment_texts(const std::string& text, std::string& test, std::uint64_t seed) {
  for (const text::TextSource& read : find_texts(text)) require_utf8(read);
  if (!test.empty()) require_utf8(find_text(test));
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

train::TrainConfig default_tune() {
  train::TrainConfig tune;
  tune.steps = 300;
  tune.checkpoint_every = 100;
  tune.optimiser.lr = 1e-3;
  tune.optimiser.relative = true;
  tune.optimiser.clipping = train::Clipping::tensor;
  tune.optimiser.weight_decay = 0.01;
  tune.hold_out = 0;
  return tune;
}

void add_experiment_options(CLI::App& app, std::string& text, std::string& test, train::TrainConfig& tune) {
  app.add_option("--text", text, "Text to fine-tune on")->capture_default_str();
  app.add_option("--test", test, "Text to score (default: the embedded text's test part, else a part held out)");
  app.add_option("--steps", tune.steps, "Steps of each fine-tune")
      ->check(CLI::Range(1, 10'000'000))
      ->capture_default_str();
  app.add_option("--batch", tune.batch, "Sequences a step")->check(CLI::Range(1, 65536))->capture_default_str();
  app.add_option("--context", tune.context, "Tokens a sequence")->check(CLI::Range(2, 1 << 20))->capture_default_str();
  app.add_option("--lr", tune.optimiser.lr, "Peak learning rate, in units of each tensor's rms")
      ->check(between(0.0, 1.0))
      ->capture_default_str();
}

void complete_tune(train::TrainConfig& tune, const std::string& text, std::uint64_t seed, const std::string& command) {
  tune.seed = seed;
  train::Source source;
  source.text = text;
  tune.data = {source};
  train::validate(tune, command);
}

experiment::Surroundings surroundings_of(Context& context) {
  experiment::Surroundings around;
  around.machine = describe_machine();
  around.progress = &context.progress();
  around.say = [&context](const std::string& line) { context.say(line); };
  around.interrupted = StopSignals::asked;
  return around;
}

}  // namespace rpt::cli

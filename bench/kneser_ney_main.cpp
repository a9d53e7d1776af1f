// SPDX-License-Identifier: MIT
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <filesystem>
#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include "bench/kneser_ney.h"
#include "rpt/cli/scoring.h"
#include "rpt/cli/training.h"
#include "rpt/core/atomic_file.h"
#include "rpt/core/error.h"
#include "rpt/evaluate/perplexity.h"
#include "rpt/evaluate/saved_nlls.h"
#include "rpt/report/record.h"
#include "rpt/text/tokenizer.h"
#include "rpt/train/token_stream.h"
#include "rpt/train/train_config.h"

// Learns n-grams from what `rpt train CONFIG` learns from, and scores texts as `rpt perplexity` does.

namespace {

namespace fs = std::filesystem;
using namespace rpt;

struct Options {
  std::string config;
  int order = 5;
  std::vector<std::string> texts;
  std::vector<std::string> save_nll;  // none, or one for each text
  std::string save_training_text;
  std::string json;
};

Options parse(CLI::App& app, int argc, char** argv) {
  Options o;
  app.add_option("CONFIG", o.config, "Configuration of `rpt train`: of it count tokenizer, data, hold_out and seed")
      ->required();
  app.add_option("--text", o.texts, "Text to score, as in `rpt perplexity`; may be given several times")
      ->allow_extra_args(false)
      ->required();
  app.add_option("--save-nll", o.save_nll, "Write the NLL of every scored token to this file; one for each --text")
      ->allow_extra_args(false);
  app.add_option("--order", o.order, "Tokens of the longest n-grams")->capture_default_str();
  app.add_option("--save-training-text", o.save_training_text, "Write the texts that are learnt to this file");
  app.add_option("--json", o.json, "Write the figures to this file");
  app.parse(argc, argv);
  if (!o.save_nll.empty() && o.save_nll.size() != o.texts.size()) {
    throw CLI::ValidationError("--save-nll", "give one for each --text");
  }
  return o;
}

struct Baseline {
  text::Tokenizer tokenizer;
  std::unique_ptr<bench::KneserNey> model;
  report::Record figures;
};

void save_documents(const std::string& path, const std::vector<train::Document>& documents) {
  core::AtomicFile file(path);
  for (const train::Document& document : documents) file.write(document.text + "\n");
  file.commit();
}

Baseline learn(const Options& options) {
  const train::TrainConfig config = train::parse_train_config(core::read_file(options.config), options.config);
  const fs::path base = fs::path(options.config).parent_path();
  const fs::path vocabulary = cli::find_path(config.tokenizer, base) / "tokenizer.json";
  Baseline b{text::Tokenizer::from_tokenizer_json(core::read_file(vocabulary), vocabulary.string()), nullptr, {}};
  if (!b.tokenizer.bos_id()) {
    throw ConfigError(fmt::format("{}: has no begin-of-text token to tell documents apart", vocabulary.string()));
  }
  std::vector<train::Document> documents = cli::load_training_texts(config, base).train;
  // Counts of counts say how much a text repeats itself; texts that are given twice would feign it.
  for (train::Document& document : documents) document.repeat = 1;
  if (!options.save_training_text.empty()) save_documents(options.save_training_text, documents);
  const train::TokenStream stream = train::encode_documents(documents, b.tokenizer, train::separators_of(b.tokenizer));
  b.model =
      std::make_unique<bench::KneserNey>(stream.tokens, *b.tokenizer.bos_id(), b.tokenizer.vocab_size(), options.order);

  std::cout << fmt::format("{} tokens in {} documents\n", stream.tokens.size(), stream.documents);
  b.figures.set("order", options.order);
  b.figures.set("training_tokens", stream.tokens.size());
  b.figures.set("training_documents", stream.documents);
  b.figures.set("training_sha256", stream.sha256);
  std::vector<report::Record> levels;
  for (int length = 1; length <= options.order; ++length) {
    const bench::Discounts& d = b.model->discounts(length);
    std::cout << fmt::format("{}-grams: {}, discounts {:.4f} {:.4f} {:.4f}\n", length, b.model->ngrams(length), d[0],
                             d[1], d[2]);
    report::Record& level = levels.emplace_back();
    level.set("length", length);
    level.set("ngrams", b.model->ngrams(length));
    level.set("discounts", std::vector<double>(d.begin(), d.end()));
  }
  b.figures.set("ngrams", levels);
  return b;
}

/// Scores text number `i`.
report::Record score(const Options& options, std::size_t i, const Baseline& b) {
  const evaluate::TextModel text_model = {
      .encode = [&](std::string_view text) { return b.tokenizer.encode_with_offsets(text); },
      .adds_bos = true,
      .bos_id = b.tokenizer.bos_id(),
      .eos_id = b.tokenizer.eos_id(),
      .context = 2048};  // the protocol's own; windows overlap by far more than an n-gram
  const evaluate::ScoringPlan plan =
      evaluate::plan_scoring(text::load_corpus(cli::find_text(options.texts[i])), text_model, {});
  bench::KneserNeyScorer scorer(*b.model);
  const evaluate::PerplexityResult r = evaluate::perplexity(plan, scorer, 0);
  if (!options.save_nll.empty()) evaluate::save_nlls(options.save_nll[i], plan.scored, r.nlls);

  const double nll = r.mean_nll * static_cast<double>(r.scored_tokens);
  std::cout << fmt::format("{}: {:.4f} bits per byte, NLL {:.1f} nats, {} tokens, {} bytes, {} documents\n",
                           options.texts[i], r.bits_per_byte.value_or(0), nll, r.scored_tokens, plan.bytes,
                           r.documents);
  report::Record figures;
  figures.set("text", options.texts[i]);
  figures.set("documents", r.documents);
  figures.set("scored_tokens", r.scored_tokens);
  figures.set("bytes", plan.bytes);
  figures.set("nll", nll);
  figures.set("perplexity", r.perplexity);
  figures.set("bits_per_byte", r.bits_per_byte);
  figures.set("documents_nll", r.by_document.nll);
  figures.set("documents_tokens", r.by_document.tokens);
  return figures;
}

void run(const Options& options) {
  Baseline baseline = learn(options);
  std::vector<report::Record> texts;
  for (std::size_t i = 0; i < options.texts.size(); ++i) texts.push_back(score(options, i, baseline));
  baseline.figures.set("texts", texts);
  if (!options.json.empty()) core::write_file_atomic(options.json, baseline.figures.to_json() + "\n");
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Interpolated modified Kneser-Ney n-grams over the tokens of a training configuration", "kneser_ney");
  try {
    run(parse(app, argc, argv));
    return 0;
  } catch (const CLI::ParseError& e) {
    return app.exit(e) == 0 ? 0 : 2;
  } catch (const std::exception& e) {
    std::cerr << "kneser_ney: " << e.what() << '\n';
    return 3;
  }
}

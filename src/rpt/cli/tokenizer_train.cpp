// SPDX-License-Identifier: MIT
#include <fmt/format.h>

#include <iostream>
#include <optional>

#include "rpt/cli/context.h"
#include "rpt/cli/scoring.h"
#include "rpt/core/atomic_file.h"
#include "rpt/core/error.h"
#include "rpt/core/timer.h"
#include "rpt/text/byte_pair_trainer.h"

namespace rpt::cli {
namespace {

namespace fs = std::filesystem;

struct TokenizerTrainOptions {
  std::vector<std::string> paths;  ///< TEXT… OUT
  text::BytePairTrainerOptions trainer;
  std::vector<std::string> special_tokens;
  bool force = false;
};

constexpr const char* kTokenizer = "tokenizer.json";
constexpr const char* kTokenizerConfig = "tokenizer_config.json";

/// Refuses a folder that holds anything but a vocabulary, such as a model: to replace it would be to remove that.
/// Throws OutputError.
void require_vocabulary_alone(const fs::path& folder) {
  const auto other = core::find_foreign(folder, {kTokenizer, kTokenizerConfig});
  if (!other) return;
  throw OutputError(fmt::format("{}: holds {}; --force replaces a folder of {} and {} alone: write to another one",
                                folder.string(), other->filename().string(), kTokenizer, kTokenizerConfig));
}

/// Where the vocabulary goes: a folder with its two files, or a single .json file. Nothing appears before commit().
class Output {
 public:
  /// Refuses what cannot be written, or what `force` would have to replace, before any work.
  Output(const fs::path& path, bool force) : path_(path) {
    std::error_code error;
    if (path.extension() == ".json") {
      if (!force && fs::exists(path, error)) {
        throw OutputError(fmt::format("{}: exists; --force replaces it", path.string()));
      }
      file_.emplace(path);
      return;
    }
    if (fs::exists(path, error) && !fs::is_directory(path, error)) {
      throw UsageError(fmt::format("OUT is {}, neither a folder nor a .json file", path.string()));
    }
    if (force && fs::exists(path, error)) require_vocabulary_alone(path);
    folder_.emplace(path, force);
  }

  void commit(const text::Tokenizer& tokenizer) {
    if (file_) {
      file_->write(tokenizer.to_tokenizer_json());
      file_->commit();
    } else {
      core::write_file_atomic(folder_->path() / kTokenizer, tokenizer.to_tokenizer_json());
      core::write_file_atomic(folder_->path() / kTokenizerConfig, tokenizer.to_tokenizer_config_json());
      std::error_code none;
      if (fs::exists(path_, none)) require_vocabulary_alone(path_);  // something may have come meanwhile
      folder_->commit();
    }
  }

 private:
  fs::path path_;
  std::optional<core::AtomicFile> file_;
  std::optional<core::AtomicDirectory> folder_;
};

text::BytePairTrainer make_trainer(const TokenizerTrainOptions& options) {
  text::BytePairTrainerOptions trainer = options.trainer;
  if (!options.special_tokens.empty()) trainer.special_tokens = options.special_tokens;
  try {
    return text::BytePairTrainer(std::move(trainer));
  } catch (const ConfigError& e) {
    throw UsageError(e.what());
  }
}

/// Hands the texts to the trainer: many at a time, so that all threads have work, but never all of them.
void count_texts(const std::vector<text::TextSource>& sources, text::BytePairTrainer& trainer,
                 core::ProgressSink& progress) {
  constexpr std::uint64_t kBatch = std::uint64_t{16} << 20;  // bytes
  std::vector<std::string> documents;
  std::uint64_t bytes = 0, texts = 0;
  progress.begin(sources.size(), "texts", "counting words");
  for (std::size_t i = 0; i < sources.size(); ++i) {
    for (std::string& document : text::load_corpus(sources[i]).documents) {
      bytes += document.size();
      documents.push_back(std::move(document));
    }
    ++texts;
    if (bytes < kBatch && i + 1 < sources.size()) continue;
    trainer.add(documents);
    documents.clear();
    progress.advance(texts);
    bytes = texts = 0;
  }
  progress.finish();
}

void report_training(const std::string& out, std::size_t texts, const text::TrainedBytePairs& trained, double seconds,
                     Context& context) {
  const std::size_t vocabulary = trained.vocabulary.special_tokens.size() + 256 + trained.vocabulary.merges.size();
  std::optional<double> bytes_per_token;
  if (trained.tokens > 0) bytes_per_token = static_cast<double>(trained.bytes) / static_cast<double>(trained.tokens);
  context.out() << fmt::format(
      "{} written in {:.1f} s: {} tokens from {} {} ({} bytes, {} distinct pre-tokens); {:.3f} bytes per token\n", out,
      seconds, vocabulary, texts, texts == 1 ? "text" : "texts", trained.bytes, trained.distinct_pre_tokens,
      bytes_per_token.value_or(0.0));
  report::Record figures;
  figures.set("output", out);
  figures.set("texts", texts);
  figures.set("bytes", trained.bytes);
  figures.set("pre_tokens", trained.pre_tokens);
  figures.set("distinct_pre_tokens", trained.distinct_pre_tokens);
  figures.set("vocabulary", vocabulary);
  figures.set("merges", trained.vocabulary.merges.size());
  figures.set("tokens", trained.tokens);
  figures.set("bytes_per_token", bytes_per_token);
  figures.set("seconds", seconds);
  context.write_json("tokenizer train", out, figures);
}

int run_tokenizer_train(const TokenizerTrainOptions& options, Context& context) {
  const std::string& out = options.paths.back();
  std::vector<text::TextSource> sources;
  for (std::size_t i = 0; i + 1 < options.paths.size(); ++i) {
    for (text::TextSource& source : find_texts(options.paths[i])) sources.push_back(std::move(source));
  }
  text::BytePairTrainer trainer = make_trainer(options);
  for (const text::TextSource& source : sources) require_apart({source.path}, out);
  Output output(out, options.force);

  const core::Stopwatch watch;
  count_texts(sources, trainer, context.progress());
  const text::TrainedBytePairs trained = trainer.train(context.progress());
  const auto tokenizer = text::Tokenizer::from_byte_pairs(trained.vocabulary, out);
  output.commit(tokenizer);
  if (tokenizer.vocab_size() < options.trainer.vocabulary_size) {
    context.say(fmt::format("warning: {} tokens instead of {}, since no further pair of tokens occurs {} times",
                            tokenizer.vocab_size(), options.trainer.vocabulary_size,
                            options.trainer.min_pair_frequency));
  }
  report_training(out, sources.size(), trained, watch.seconds(), context);
  return 0;
}

CLI::App& tokenizer_group(CLI::App& program) {
  CLI::App& group = *program.add_subcommand("tokenizer", "Make a vocabulary (rpt tokenizer train --help)");
  group.require_subcommand(1);
  return group;
}

}  // namespace

Command add_tokenizer_train(CLI::App& program) {
  auto options = std::make_shared<TokenizerTrainOptions>();
  CLI::App* app = tokenizer_group(program).add_subcommand(
      "train", "Train a byte-level byte-pair vocabulary and write it as tokenizer.json");
  // One list: the parser would not leave the last path to OUT where options follow it.
  app->add_option("TEXT... OUT", options->paths,
                  "Texts (files, names of embedded corpora, folders of *.txt and *.md), then the folder or .json file "
                  "to write")
      ->required()
      ->expected(2, -1)
      ->check(check_not_empty);
  text::BytePairTrainerOptions& trainer = options->trainer;
  app->add_option("--vocabulary", trainer.vocabulary_size, "Tokens at most, special tokens and the 256 bytes included")
      ->check(check_whole_number)
      ->capture_default_str();
  app->add_option("--special", options->special_tokens,
                  "Special token; may be given several times, for ids 0, 1, ... (default: <|begin_of_text|> and "
                  "<|end_of_text|>)")
      ->allow_extra_args(false)
      ->check(check_not_empty);
  app->add_option("--min-frequency", trainer.min_pair_frequency, "Do not merge what occurs more rarely")
      ->check(check_whole_number)
      ->capture_default_str();
  app->add_flag("--force", options->force,
                "Replace a .json file that exists, or a folder that holds a vocabulary alone");
  app->footer("Example:\n  rpt tokenizer train books/ stories.txt my-tokenizer --vocabulary 8192");
  return {app, [options](Context& context) { return run_tokenizer_train(*options, context); }};
}

}  // namespace rpt::cli

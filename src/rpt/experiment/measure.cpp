// SPDX-License-Identifier: MIT
#include "rpt/experiment/measure.h"

#include <fmt/format.h>

#include <string_view>
#include <unordered_set>

#include "rpt/core/error.h"
#include "rpt/core/sha256.h"
#include "rpt/evaluate/perplexity.h"
#include "rpt/model/gate.h"
#include "rpt/prune/linears.h"
#include "rpt/text/utf8.h"

namespace rpt::experiment {

std::string sha256_of(const model::Model& model) {
  core::Sha256 hash;
  const std::string gate = model::nll_sha256(model::gate_nlls(model));
  hash.update(gate.data(), gate.size());
  for (const prune::Linear& linear : prune::linear_layers(model))
    hash.update(linear.latents.data, linear.latents.bytes);
  const tensor::StoredView& embedding = model.weights.token_embd.values();
  hash.update(embedding.data, embedding.bytes);
  return hash.hex_digest();
}

std::string sha256_of(const Texts& texts) {
  std::string all;
  for (const train::Document& d : texts.train) all += d.text + '\0';
  all += '\1';
  for (const text::Corpus* corpus : {&texts.test, &texts.retention, &texts.sentences}) {
    if (corpus != &texts.test && corpus->documents.empty()) continue;
    for (const std::string& d : corpus->documents) all += d + '\0';
    all += '\1';
  }
  return core::sha256_hex(all);
}

namespace {

/// Without white space at both ends.
std::string_view trimmed(std::string_view text) {
  constexpr std::string_view kSpace = " \t\r\n";
  const std::size_t begin = text.find_first_not_of(kSpace);
  return begin == std::string_view::npos ? std::string_view()
                                         : text.substr(begin, text.find_last_not_of(kSpace) + 1 - begin);
}

void require_apart(const Texts& texts) {
  std::unordered_set<std::string_view> trained;
  for (const train::Document& d : texts.train) trained.insert(trimmed(d.text));
  for (const text::Corpus* corpus : {&texts.test, &texts.retention}) {
    for (const std::string& d : corpus->documents) {
      if (trimmed(d).empty() || !trained.contains(trimmed(d))) continue;
      throw ConfigError(fmt::format("the {} holds a document that is trained on ({}); what is scored stands apart",
                                    corpus == &texts.test ? "test text" : "retention text", text::for_message(d)));
    }
  }
}

}  // namespace

void require_usable(const model::Model& base, const Texts& texts, const train::TrainConfig& tune) {
  prune::linear_layers(base);
  require_apart(texts);
  if (tune.context > base.config.context) {
    throw ConfigError(fmt::format("{}: a context of {} tokens is trained on, the model has {}", base.path.string(),
                                  tune.context, base.config.context));
  }
  require_enough(base, texts.train, tune);
}

void require_enough(const model::Model& base, std::span<const train::Document> documents,
                    const train::TrainConfig& tune) {
  const text::Tokenizer& vocabulary = base.vocabulary();
  const auto needed = static_cast<std::size_t>(tune.context) + 1;
  std::size_t tokens = 0;
  for (const train::Document& d : documents) {
    tokens += vocabulary.encode(d.text).size();
    if (tokens >= needed) return;
  }
  throw ConfigError(
      fmt::format("the text to fine-tune on has {} tokens, a context of {} needs {}", tokens, tune.context, needed));
}

double guess_scored_tokens(const text::Corpus& corpus) {
  std::uint64_t bytes = 0;
  for (const std::string& d : corpus.documents) bytes += d.size();
  return 2 * static_cast<double>(bytes) / 4;
}

void warn_of_other_machine(const std::string& stage, const StageFigures& found, const Surroundings& around) {
  const auto machine = found.texts.find("machine");
  if (machine == found.texts.end() || machine->second == around.machine) return;
  around.say(
      fmt::format("warning: stage {} was done on {}, this is {}: what is trained on both is not comparable to the "
                  "last bit",
                  stage, machine->second, around.machine));
}

report::Series loss_series(const std::string& name, std::span<const double> losses) {
  constexpr std::size_t kMean = 10;
  report::Series series{name, {}};
  for (std::size_t i = 0; i + kMean <= losses.size(); i += kMean) {
    double sum = 0;
    for (std::size_t k = 0; k < kMean; ++k) sum += losses[i + k];
    series.points.push_back({static_cast<double>(i + kMean), sum / kMean});
  }
  return series;
}

void add_retention(StageFigures& figures, const model::Model& model, const Texts& texts,
                   const evaluate::ProtocolOptions& protocol, const Surroundings& around) {
  if (texts.retention.documents.empty()) return;
  const evaluate::PerplexityResult r = evaluate::perplexity(model, texts.retention, protocol, 0, *around.progress);
  figures.numbers["retention_nll"] = r.mean_nll;
  figures.series["retention_nll"] = r.by_document.nll;
  figures.series["retention_tokens"] = r.by_document.tokens;
}

StageFigures scored(const model::Model& model, const text::Corpus& test, const evaluate::ProtocolOptions& protocol,
                    const Surroundings& around) {
  const evaluate::PerplexityResult r = evaluate::perplexity(model, test, protocol, 0, *around.progress);
  StageFigures f;
  f.numbers["mean_nll"] = r.mean_nll;
  f.numbers["perplexity"] = r.perplexity;
  f.numbers["scored_tokens"] = static_cast<double>(r.scored_tokens);
  f.texts["nll_sha256"] = r.nll_sha256;
  f.texts["machine"] = around.machine;
  f.series["nll"] = r.by_document.nll;
  f.series["tokens"] = r.by_document.tokens;
  return f;
}

void add_account(StageFigures& figures, const prune::Account& account) {
  const auto share = [&](std::uint64_t count) {
    return static_cast<double>(count) / static_cast<double>(account.total.weights);
  };
  figures.numbers["codes_zero_share"] = account.total.zero_share();
  figures.numbers["codes_removed_share"] = share(account.total.codes_removed);
  figures.numbers["codes_gained_share"] = share(account.total.codes_gained);
  figures.numbers["codes_turned_share"] = share(account.total.codes_turned);
  if (account.of_latents) figures.numbers["latents_zeroed_share"] = share(account.total.latents_zeroed);
  for (const prune::TensorAccount& t : account.tensors) {
    figures.numbers["scale_ratio " + t.name] = static_cast<double>(t.scale_after) / static_cast<double>(t.scale_before);
    figures.numbers["dose " + t.name] = t.dose();
  }
}

}  // namespace rpt::experiment

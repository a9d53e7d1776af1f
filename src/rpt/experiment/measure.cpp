// SPDX-License-Identifier: MIT
#include "rpt/experiment/measure.h"

#include <fmt/format.h>

#include "rpt/core/sha256.h"
#include "rpt/evaluate/perplexity.h"
#include "rpt/model/gate.h"

namespace rpt::experiment {

std::string sha256_of(const model::Model& model) {
  std::string all = model::nll_sha256(model::gate_nlls(model));
  for (const prune::TensorAccount& t : prune::account(model, model).tensors) {
    all += fmt::format(" {}:{:a}", t.name, t.scale_before);
  }
  return core::sha256_hex(all);
}

std::string sha256_of(const Texts& texts) {
  std::string all;
  for (const train::Document& d : texts.train) all += d.text + '\0';
  all += '\1';
  for (const std::string& d : texts.test.documents) all += d + '\0';
  return core::sha256_hex(all);
}

StageFigures scored(const model::Model& model, const text::Corpus& test, const Surroundings& around) {
  const evaluate::PerplexityResult r = evaluate::perplexity(model, test, {}, 0, *around.progress);
  StageFigures f;
  f.numbers["mean_nll"] = r.mean_nll;
  f.numbers["perplexity"] = r.perplexity;
  f.numbers["scored_tokens"] = static_cast<double>(r.scored_tokens);
  f.texts["nll_sha256"] = r.nll_sha256;
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
  figures.numbers["latents_zeroed_share"] = share(account.total.latents_zeroed);
  for (const prune::TensorAccount& t : account.tensors) {
    figures.numbers["scale_ratio " + t.name] = static_cast<double>(t.scale_after) / static_cast<double>(t.scale_before);
    figures.numbers["dose " + t.name] = t.dose();
  }
}

}  // namespace rpt::experiment

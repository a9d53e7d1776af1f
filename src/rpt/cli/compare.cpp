// SPDX-License-Identifier: MIT
#include "rpt/evaluate/compare.h"

#include <fmt/format.h>

#include <iostream>

#include "rpt/cli/context.h"
#include "rpt/cli/scoring.h"

namespace rpt::cli {
namespace {

struct CompareOptions {
  std::string a;
  std::string b;
  ScoringOptions scoring;
  std::string expect;
};

int run_compare(const CompareOptions& options, Context& context) {
  const auto a = open_model(options.a, context);
  const auto b = open_model(options.b, context);
  const text::Corpus corpus = load_scoring_text(options.scoring);
  const evaluate::CompareResult r =
      evaluate::compare(*a, *b, corpus, protocol_options(options.scoring), context.common.seed, context.progress());

  const std::string interval = r.difference_interval ? fmt::format(" [{:+.6f}, {:+.6f}]", r.difference_interval->low,
                                                                   r.difference_interval->high)
                                                     : "";
  context.out() << fmt::format("mean NLL {:.6f} and {:.6f}, difference {:+.6f}{} nats over {} tokens in {} documents\n",
                               r.mean_nll_a, r.mean_nll_b, r.mean_nll_difference, interval, r.scored_tokens,
                               r.documents)
                << fmt::format("KL divergence {:.3e} nats, same top token {:.3f} %\n", r.kl_divergence,
                               100 * r.same_top_share)
                << (r.bit_identical ? "identical to the last bit\n" : "not identical\n")
                << fmt::format("nll_sha256 {} and {}\n", r.nll_sha256_a, r.nll_sha256_b);
  report::Record figures;
  figures.set("model_b", options.b);
  figures.set("text", options.scoring.text);
  figures.set("protocol", options.scoring.protocol);
  figures.set("mean_nll_a", r.mean_nll_a);
  figures.set("mean_nll_b", r.mean_nll_b);
  figures.set("mean_nll_difference", r.mean_nll_difference);
  const auto& i = r.difference_interval;
  figures.set("mean_nll_difference_low", i ? std::optional(i->low) : std::nullopt);
  figures.set("mean_nll_difference_high", i ? std::optional(i->high) : std::nullopt);
  figures.set("kl_divergence", r.kl_divergence);
  figures.set("same_top_share", r.same_top_share);
  figures.set("bit_identical", r.bit_identical);
  figures.set("nll_sha256_a", r.nll_sha256_a);
  figures.set("nll_sha256_b", r.nll_sha256_b);
  figures.set("scored_tokens", r.scored_tokens);
  figures.set("documents", r.documents);
  context.write_json("compare", options.a, figures);
  return options.expect == "identical" && !r.bit_identical ? 1 : 0;
}

}  // namespace

Command add_compare(CLI::App& program) {
  auto options = std::make_shared<CompareOptions>();
  CLI::App* app = program.add_subcommand("compare", "Compare two models on the same text");
  app->add_option("A", options->a, "First model")->required();
  app->add_option("B", options->b, "Second model")->required();
  add_scoring_options(*app, options->scoring);
  app->add_option("--expect", options->expect, "identical: exit with 1 where one bit differs")
      ->check(CLI::IsMember({"identical"}));
  app->footer("Example:\n  rpt compare seedling seedling.gguf --text sotu:test --expect identical");
  return {app, [options](Context& context) { return run_compare(*options, context); }, true};
}

}  // namespace rpt::cli

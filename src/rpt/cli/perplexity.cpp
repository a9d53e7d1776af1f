// SPDX-License-Identifier: MIT
#include "rpt/evaluate/perplexity.h"

#include <fmt/format.h>

#include <iostream>

#include "rpt/cli/context.h"
#include "rpt/cli/conversations.h"
#include "rpt/cli/scoring.h"
#include "rpt/core/timer.h"
#include "rpt/evaluate/saved_logits.h"
#include "rpt/evaluate/saved_nlls.h"

namespace rpt::cli {
namespace {

struct PerplexityOptions {
  std::string model;
  ScoringOptions scoring;
  std::string head = "stored";
  std::string template_file;
  std::string save_logits;
  std::string save_nll;
};

/// Runs the plan, saving the logits on the way where that is asked for.
evaluate::PerplexityResult score(const model::Model& model, const evaluate::ScoringPlan& plan,
                                 const PerplexityOptions& options, Context& context) {
  evaluate::DecoderScorer scorer(model);
  if (options.save_logits.empty()) return evaluate::perplexity(plan, scorer, context.common.seed, context.progress());
  evaluate::LogitsWriter writer(options.save_logits, model.config.vocabulary, plan.scored.size());
  scorer.set_row_visitor([&](std::int32_t target, std::span<const float> logits) { writer.add(target, logits); });
  auto result = evaluate::perplexity(plan, scorer, context.common.seed, context.progress());
  writer.commit();
  return result;
}

/// Of conversations the assistant's answers are scored, of a text everything.
evaluate::ScoringPlan make_plan(const model::Model& model, const PerplexityOptions& options) {
  const ScoringOptions& scoring = options.scoring;
  const std::vector<train::Document> conversations = load_conversations(scoring.text);
  if (conversations.empty()) {
    if (!options.template_file.empty()) throw UsageError(scoring.text + ": holds no conversations to be rendered");
    return plan_scoring(load_scoring_text(scoring), model, scoring);
  }
  if (scoring.protocol != "full" || scoring.context != 0 || scoring.stride != 0 || scoring.bos != "auto") {
    throw UsageError("conversations are scored by protocol full with its own context, stride and BOS");
  }
  const auto encoder = conversation_encoder(model, options.template_file);
  return evaluate::plan_conversations(encode_conversations(conversations, encoder), model);
}

int run_perplexity(const PerplexityOptions& options, Context& context) {
  const auto model = open_model(options.model, context);
  for (const std::string& out : {options.save_nll, options.save_logits}) {
    if (!out.empty()) require_apart({model->path, text_path(options.scoring.text), options.template_file}, out);
  }
  if (options.head != "stored") round_head(*model, options.head, context);
  const evaluate::ScoringPlan plan = make_plan(*model, options);
  const core::Stopwatch watch;
  const evaluate::PerplexityResult r = score(*model, plan, options, context);
  const double seconds = watch.seconds();
  const double rate = static_cast<double>(r.tokens_read) / seconds;
  if (!options.save_nll.empty()) evaluate::save_nlls(options.save_nll, plan.scored, r.nlls);

  const std::string interval = r.interval ? fmt::format(" [{:.4f}, {:.4f}]", r.interval->low, r.interval->high) : "";
  context.out() << fmt::format("perplexity {:.4f}{}, mean NLL {:.6f} nats, {} tokens scored in {} documents\n",
                               r.perplexity, interval, r.mean_nll, r.scored_tokens, r.documents);
  if (r.bits_per_byte) context.out() << fmt::format("bits per byte {:.4f}", *r.bits_per_byte);
  if (r.word_perplexity) context.out() << fmt::format(", word perplexity {:.4f}", *r.word_perplexity);
  if (r.bits_per_byte || r.word_perplexity) context.out() << '\n';
  context.out() << fmt::format("nll_sha256 {}\n", r.nll_sha256);
  context.say(fmt::format("{} tokens read at {:.1f}/s", r.tokens_read, rate));

  report::Record figures;
  figures.set("text", options.scoring.text);
  figures.set("protocol", options.scoring.protocol);
  figures.set("head", options.head);
  figures.set("perplexity", r.perplexity);
  figures.set("mean_nll", r.mean_nll);
  figures.set("scored_tokens", r.scored_tokens);
  figures.set("interval_low", r.interval ? std::optional(r.interval->low) : std::nullopt);
  figures.set("interval_high", r.interval ? std::optional(r.interval->high) : std::nullopt);
  figures.set("bits_per_byte", r.bits_per_byte);
  figures.set("byte_perplexity", r.byte_perplexity);
  figures.set("word_perplexity", r.word_perplexity);
  figures.set("nll_sha256", r.nll_sha256);
  figures.set("documents", r.documents);
  figures.set("tokens_read", r.tokens_read);
  figures.set("tokens_per_second", rate);
  figures.set("seed", static_cast<std::int64_t>(context.common.seed));
  context.write_json("perplexity", options.model, figures);
  return 0;
}

}  // namespace

Command add_perplexity(CLI::App& program) {
  auto options = std::make_shared<PerplexityOptions>();
  CLI::App* app = program.add_subcommand("perplexity", "Score a text");
  app->add_option("MODEL", options->model,
                  "Hugging Face directory, .gguf file, llama2.c checkpoint, or name of an embedded model")
      ->required();
  add_scoring_options(*app, options->scoring);
  app->add_option("--head", options->head,
                  "Rounds the head, which is the embedding too where the model has no other: stored (as it is), f16, "
                  "q8_0, q6_k, q4")
      ->check(CLI::IsMember({"stored", "f16", "q8_0", "q6_k", "q4"}))
      ->capture_default_str();
  app->add_option("--template", options->template_file,
                  "Chat template (Jinja) for conversations, in place of the model's own")
      ->check(check_not_empty)
      ->type_name("FILE");
  app->add_option("--save-logits", options->save_logits, "Write the logits of every scored token to this file");
  app->add_option("--save-nll", options->save_nll, "Write the NLL of every scored token to this file");
  app->footer("Example:\n  rpt perplexity seedling --text wikitext-2-raw:test --protocol llama.cpp --context 256");
  return {app, [options](Context& context) { return run_perplexity(*options, context); }, true};
}

}  // namespace rpt::cli

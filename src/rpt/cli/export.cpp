// SPDX-License-Identifier: MIT
#include <fmt/format.h>

#include <iostream>
#include <map>

#include "rpt/cli/context.h"
#include "rpt/core/error.h"
#include "rpt/core/timer.h"
#include "rpt/evaluate/compare.h"
#include "rpt/model/export.h"
#include "rpt/model/gate.h"

namespace rpt::cli {
namespace {

struct ExportCommandOptions {
  std::string model;
  std::string out;
  std::string type;
  std::string head;
  std::string to = "gguf";
  bool lossy = false;
  bool force = false;
};

const std::map<std::string, tensor::DType>& gguf_types() {
  static const std::map<std::string, tensor::DType> types{
      {"i2_s", tensor::DType::i2_s}, {"tq1_0", tensor::DType::tq1_0}, {"tq2_0", tensor::DType::tq2_0},
      {"f16", tensor::DType::f16},   {"bf16", tensor::DType::bf16},   {"f32", tensor::DType::f32}};
  return types;
}

/// What a lossy file costs, on the tokens of the gate.
evaluate::CompareResult compare_on_gate(const model::Model& a, const model::Model& b, Context& context) {
  const std::vector<std::int32_t> ids = model::gate_ids(a.config);
  evaluate::ScoringPlan plan;
  plan.documents = 1;
  evaluate::Window window{ids, {ids.begin() + 1, ids.end()}};
  window.targets.push_back(-1);
  for (std::size_t i = 1; i < ids.size(); ++i) plan.scored.push_back({.id = ids[i]});
  plan.windows.push_back(std::move(window));
  evaluate::DecoderScorer scorer_a(a), scorer_b(b);
  return evaluate::compare(plan, scorer_a, scorer_b, context.common.seed);
}

std::string write_model(const ExportCommandOptions& options, const model::Model& source, core::ProgressSink& progress) {
  const model::ExportOptions how{.lossy = options.lossy, .replace_folder = options.force, .progress = &progress};
  if (options.to == "gguf") {
    const auto type = options.type.empty() ? std::nullopt : std::optional(gguf_types().at(options.type));
    return model::export_gguf(source, options.out, type, how);
  }
  const auto form = options.to == "hf" ? model::HfForm::latents : model::HfForm::packed;
  return model::export_huggingface(source, options.out, form, how);
}

int run_export(const ExportCommandOptions& options, Context& context) {
  if (options.to != "gguf" && !options.type.empty()) throw UsageError("--type belongs to --to gguf");
  if (options.to != "gguf" && !options.head.empty()) throw UsageError("--head belongs to --to gguf");
  const auto source = open_model(options.model, context);
  require_apart({source->path}, options.out);
  if (options.to != "gguf") model::require_replaceable(options.out, options.force);
  const core::Stopwatch watch;
  const bool rounded = !options.head.empty();
  if (rounded) round_head(*source, options.head, context);
  const std::string hash = write_model(options, *source, context.progress());
  const double seconds = watch.seconds();
  const auto written = model::open_model(options.out);
  for (const std::string& warning : written->warnings) context.say("warning: " + warning);

  report::Record figures;
  figures.set("output", options.out);
  const bool plain_gguf = options.to == "gguf" && options.type.empty();
  const bool ternary = written->weights.blocks.front().attn_q.ternary();
  figures.set("form", options.to != "gguf" ? options.to : !plain_gguf ? options.type : ternary ? "i2_s" : "stored");
  if (rounded) figures.set("head", options.head);
  if (!options.lossy && !rounded) {  // it has passed the gate
    context.out() << fmt::format("{} written in {:.1f} s, same output to the last bit (nll_sha256 {:.16}…)\n",
                                 options.out, seconds, hash);
    figures.set("bit_identical", true);
    figures.set("mean_nll_difference", 0.0);
    figures.set("nll_sha256_a", hash);
    figures.set("nll_sha256_b", hash);
  } else {
    const auto original =
        rounded ? model::open_model(find_model(options.model), open_options(context.common)) : nullptr;
    const evaluate::CompareResult c = compare_on_gate(rounded ? *original : *source, *written, context);
    context.out() << fmt::format(
        "{} written in {:.1f} s, {}: over {} tokens mean NLL {:+.6f} nats, KL divergence {:.3e} nats, same top {:.1f} "
        "%\n",
        options.out, seconds, c.bit_identical ? "same output to the last bit" : "not the same output", c.scored_tokens,
        c.mean_nll_difference, c.kl_divergence, 100 * c.same_top_share);
    figures.set("bit_identical", c.bit_identical);
    figures.set("mean_nll_difference", c.mean_nll_difference);
    figures.set("kl_divergence", c.kl_divergence);
    figures.set("same_top_share", c.same_top_share);
    figures.set("nll_sha256_a", c.nll_sha256_a);
    figures.set("nll_sha256_b", c.nll_sha256_b);
  }
  context.write_json("export", options.model, figures);
  return 0;
}

}  // namespace

Command add_export(CLI::App& program) {
  auto options = std::make_shared<ExportCommandOptions>();
  CLI::App* app = program.add_subcommand("export", "Write a model as GGUF or as a Hugging Face directory");
  app->add_option("MODEL", options->model,
                  "Hugging Face directory, .gguf file, llama2.c checkpoint, or name of an embedded model")
      ->required();
  app->add_option("OUT", options->out, "File or directory to write")->required()->check(check_not_empty);
  app->add_option("--to", options->to, "gguf, hf (latents, or dense layers), hf-packed")
      ->check(CLI::IsMember({"gguf", "hf", "hf-packed"}))
      ->capture_default_str();
  app->add_option(
         "--type", options->type,
         "Linear layers of a GGUF file: ternary ones i2_s (default), tq1_0, tq2_0, f16, bf16, f32; dense ones as they "
         "are stored (default), f16, bf16, f32")
      ->check(CLI::IsMember({"i2_s", "tq1_0", "tq2_0", "f16", "bf16", "f32"}));
  app->add_option("--head", options->head,
                  "Rounds the head of a GGUF file, which is the embedding too where the model has no other: f16, q8_0, "
                  "q6_k; says what it costs")
      ->check(CLI::IsMember({"f16", "q8_0", "q6_k"}));
  app->add_flag("--lossy", options->lossy, "Accept a form that cannot hold a value exactly; says what it costs");
  app->add_flag("--force", options->force, "Replace a directory that holds nothing but a model as rpt writes it");
  app->footer("Example:\n  rpt export seedling seedling.gguf --type i2_s");
  return {app, [options](Context& context) { return run_export(*options, context); }, true};
}

}  // namespace rpt::cli

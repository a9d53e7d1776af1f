// SPDX-License-Identifier: MIT
#include "rpt/experiment/deploy.h"

#include <fmt/format.h>

#include <algorithm>

#include "rpt/cli/context.h"
#include "rpt/cli/experiment_options.h"
#include "rpt/cli/stop_signals.h"
#include "rpt/core/memory.h"
#include "rpt/experiment/deploy_cost.h"
#include "rpt/experiment/deploy_report.h"

namespace rpt::cli {
namespace {

using experiment::DeployConfig;
using experiment::Texts;

struct DeployOptions {
  std::string model;
  std::string out;
  std::string text = "sotu:train";
  std::string test;
  double sparsity = 0.1;
  std::string protocol = "sound";
  std::string score = "magnitude";
  std::string scope = "tensor";
  std::string dose = "codes";
  std::vector<std::string> prompts;
  std::int64_t generated_tokens = 60;
  std::string backward = "bf16";
  double memory_limit = 0;  ///< GB
  bool dry_run = false;
  bool own_lr = false;  ///< --lr was given
  train::TrainConfig tune = default_tune();
};

int run_deploy(DeployOptions options, Context& context) {
  core::keep_freed_memory();
  const auto base = open_bitnet_model(options.model, "deploying", context);
  const Texts texts = load_experiment_texts(options.text, options.test, context.common.seed);
  DeployConfig config;
  config.model = options.model;
  config.text = options.text;
  config.test = options.test;
  config.sparsity = experiment::levels_to(options.sparsity).back();
  config.recipe.protocol = prune::parse_protocol(options.protocol);
  config.recipe.seed = context.common.seed;
  config.tune = options.tune;
  if (experiment::is_legacy(config)) {
    experiment::follow_reference(config.tune);
    if (options.own_lr) config.tune.optimiser.lr = options.tune.optimiser.lr;
  } else {
    config.recipe.score = prune::parse_score(options.score);
    config.recipe.selection.scope = prune::parse_scope(options.scope);
    config.recipe.selection.dose = prune::parse_dose(options.dose);
  }
  config.tune.step.backward = model::parse_backward_type(options.backward);
  // A short fine-tune of a large model takes long too: one that is killed loses a third of it at most.
  config.tune.checkpoint_every = std::min<std::int64_t>(config.tune.checkpoint_every, (config.tune.steps + 2) / 3);
  complete_tune(config.tune, options.text, context.common.seed, "deploy");
  if (options.memory_limit > 0 && experiment::fit_memory(config, base->config, texts, options.memory_limit * 1e9)) {
    context.say(fmt::format("to fit the memory limit: activations checkpointed, moments {}, masters {}",
                            train::name(config.tune.optimiser.state), train::name(config.tune.masters)));
  }
  config.prompts = options.prompts.empty() ? experiment::default_prompts(*base, texts.test) : options.prompts;
  config.generated_tokens = options.generated_tokens;
  config.memory_limit = options.memory_limit;
  if (prune::needs_calibration(config.recipe.score)) {
    config.recipe.calibration =
        prune::CalibrationText{options.text, prune::documents_sha256(train::corpus_of(texts.train).documents),
                               std::min<std::int64_t>(256, base->config.context), 4096};
  }

  experiment::require_usable(*base, config, texts);
  const experiment::DeployCost cost = experiment::guess_cost(config, base->config, texts);
  context.say(fmt::format("about {:.0f} s, {:.2f} GB of memory, {:.2f} GB of disk", cost.seconds,
                          cost.memory_bytes / 1e9, cost.disk_bytes / 1e9));
  if (options.dry_run) {
    report::Record r;
    r.set("seconds", cost.seconds);
    r.set("memory_bytes", cost.memory_bytes);
    r.set("disk_bytes", cost.disk_bytes);
    context.write_json("deploy", options.model, r);
    return 0;
  }

  experiment::RunDirectory run(options.out, experiment::to_json(config, *base, texts));
  const experiment::Surroundings around = surroundings_of(context);
  std::optional<experiment::DeployResult> result;
  {
    const StopSignals signals;
    result = experiment::deploy(*base, config, texts, run, around);
  }
  if (!result) {
    context.say("interrupted: the same command goes on");
    return 1;
  }
  context.out() << experiment::stage_table(*result).to_text() << '\n';
  for (const std::string& text : result->texts) context.out() << text << "\n\n";
  context.out() << fmt::format("{}: every token of {} has the bits of the {} model ({})\n{}\n", result->gguf.string(),
                               config.test, experiment::is_legacy(config) ? "snapped" : "trained", result->gate_sha256,
                               (run.folder() / "report.html").string());
  context.write_json("deploy", options.model, experiment::deploy_report(*base, config, *result, {}).figures);
  return 0;
}

}  // namespace

Command add_deploy(CLI::App& program) {
  auto o = std::make_shared<DeployOptions>();
  CLI::App* app = program.add_subcommand(
      "deploy", "Prune step by step, fine-tune, write GGUF, verify, generate: the whole pipeline");
  app->add_option("MODEL", o->model, "Model with latents: Hugging Face directory or name of an embedded model")
      ->required();
  app->add_option("OUT", o->out, "Folder of the run; the same command goes on with a run that was stopped")->required();
  add_experiment_options(*app, o->text, o->test, o->tune);
  app->add_option("--sparsity", o->sparsity,
                  "Share of all ternary weights to remove, 0 to 0.95, in levels of 5 % and more")
      ->check(between(0.0, 0.95))
      ->capture_default_str();
  app->add_option("--score", o->score, "What weights are chosen by")
      ->check(CLI::IsMember({"magnitude", "wanda", "random", "code"}))
      ->capture_default_str();
  app->add_option("--scope", o->scope, "Among which weights the smallest are looked for")
      ->check(CLI::IsMember({"global", "tensor", "row"}))
      ->capture_default_str();
  app->add_option("--dose", o->dose, "What the sparsity counts")
      ->check(CLI::IsMember({"codes", "latents"}))
      ->capture_default_str();
  app->add_option(
         "--protocol", o->protocol,
         "sound, or legacy: the reference's pipeline with its thresholds, learning rate (--lr is absolute there, "
         "5e-4 unless given), scales and scoring")
      ->check(CLI::IsMember({"sound", "legacy"}))
      ->capture_default_str();
  app->add_option("--backward", o->backward, "Products of the backward pass")
      ->check(CLI::IsMember({"int8", "bf16", "f32"}))
      ->capture_default_str();
  app->add_option("-p,--prompt", o->prompts,
                  "Text to go on from at the end (default: beginnings of the test text); several times")
      ->allow_extra_args(false);
  app->add_option("-n,--tokens", o->generated_tokens, "Tokens to generate after each prompt")
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str();
  app->add_option("--memory-limit", o->memory_limit,
                  "GB of memory that the run may take: activations are computed again, then moments "
                  "are kept in a byte, then (not in protocol legacy) masters in bfloat16")
      ->check(between(1e-9, 1e9));
  app->add_flag("--dry-run", o->dry_run, "Only estimate time, memory and disk");
  app->footer("Example:\n  rpt deploy tiny runs/deploy --text sotu:train --sparsity 0.1");
  return {app, [o, app](Context& context) {
            o->own_lr = app->count("--lr") > 0;
            if (o->protocol == "legacy" && app->count("--score") + app->count("--scope") + app->count("--dose") > 0) {
              throw UsageError("--score, --scope and --dose are of --protocol sound; the legacy threshold has none");
            }
            return run_deploy(*o, context);
          }};
}

}  // namespace rpt::cli

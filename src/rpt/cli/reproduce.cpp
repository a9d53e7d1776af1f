// SPDX-License-Identifier: MIT
#include "rpt/experiment/reproduce.h"

#include <fmt/format.h>

#include <algorithm>

#include "rpt/cli/context.h"
#include "rpt/cli/experiment_options.h"
#include "rpt/cli/scoring.h"
#include "rpt/cli/stop_signals.h"
#include "rpt/core/memory.h"
#include "rpt/experiment/reproduce_report.h"

namespace rpt::cli {
namespace {

struct ReproduceOptions {
  std::string out = "runs/reproduce";
  std::vector<std::string> bases;
  std::string text = "sotu:train";
  std::string test;
  std::string retention;
  bool quick = false;
  bool full = false;
  std::int64_t seeds = 0;   ///< 0: one in a quick run, two in a full one
  std::int64_t stride = 0;  ///< 0: three quarters of the context
  bool dry_run = false;
  train::TrainConfig tune = default_tune();
};

experiment::ReproduceConfig config_of(const ReproduceOptions& options, const Context& context) {
  experiment::ReproduceConfig config;
  config.bases = options.bases;
  config.text = options.text;
  config.seed = context.common.seed;
  config.full = options.full;
  config.seeds = options.seeds > 0 ? options.seeds : (options.full ? 2 : 1);
  config.tune = options.tune;
  complete_tune(config.tune, options.text, config.seed, "reproduce");
  return config;
}

/// All bases, with vocabulary and latents. Throws ConfigError for one that stands twice.
experiment::Bases open_bases(const std::vector<std::string>& names, const Context& context) {
  experiment::Bases bases;
  for (auto name = names.begin(); name != names.end(); ++name) {
    if (std::find(names.begin(), name, *name) != name) {
      throw UsageError(fmt::format("--base {} stands twice; bases must be different models", *name));
    }
    bases.push_back(open_bitnet_model(*name, "an experiment", context));
  }
  return bases;
}

/// Another text than the one that is trained on: the beginning of an embedded one unless it is named.
void load_retention(const ReproduceOptions& options, experiment::ReproduceConfig& config, experiment::Texts& texts) {
  constexpr std::size_t kDocuments = 8;  // the fewest that give an interval
  config.retention = options.retention;
  if (config.retention == "none") config.retention.clear();
  if (options.retention.empty())
    config.retention = config.text.starts_with("wikitext") ? "sotu:test" : "wikitext-2:validation";
  if (config.retention.empty()) return;
  texts.retention = text::load_corpus(find_text(config.retention));
  if (texts.retention.documents.size() > kDocuments) texts.retention.documents.resize(kDocuments);
}

/// What is to do, behind what a run of the same configuration has done already.
int say_estimate(const ReproduceOptions& options, const experiment::ReproduceConfig& config,
                 const experiment::Bases& bases, const experiment::Texts& texts, const Context& context) {
  const std::vector<experiment::ReproduceCell> plan = experiment::plan_cells(config);
  const bool begun = experiment::holds_run(options.out, experiment::to_json(config, bases, texts));
  experiment::TimeEstimate estimate = experiment::first_estimate(config, bases.front()->config, texts);
  experiment::WorkAmounts work;
  std::size_t done = 0;
  for (const experiment::ReproduceCell& cell : plan) {
    const auto before = begun ? experiment::finished_stage(options.out, cell.stage()) : std::nullopt;
    if (before) {
      experiment::learn(estimate, cell, config, *before);
      ++done;
      continue;
    }
    work += experiment::work_of(cell, config);
  }
  work += experiment::legacy_work(config, config.bases.size());
  const double seconds = estimate.seconds(work);
  const std::string of_them = done > 0 ? fmt::format(", {} of them done", done) : "";
  context.out() << fmt::format("{} stages{}, about {:.0f} minutes{}, from {}\n", plan.size(), of_them, seconds / 60,
                               done > 0 ? " to go" : "",
                               done > 0 ? "what those took" : "the rate of products measured now");
  report::Record r;
  r.set("stages", plan.size());
  r.set("stages_done", done);
  r.set("seconds", seconds);
  context.write_json("reproduce", config.bases.front(), r);
  return 0;
}

/// Writes the report of what is there and says what it says; an unfinished run's takes the place of no fuller one, such
/// as that of a quick run which --full goes on with.
experiment::Findings leave_report(const experiment::ReproduceConfig& config, const experiment::ReproduceResult& result,
                                  experiment::RunDirectory& run, const experiment::Surroundings& around,
                                  Context& context) {
  const experiment::Findings findings = experiment::findings_of(result, config);
  if (!experiment::is_complete(result, config) && experiment::holds_fuller_report(run.folder(), result, findings)) {
    context.say("the report that is there has more than this run so far, and stays");
    return findings;
  }
  const std::string problem = experiment::write_reproduce_report(run, config, result, findings, around);
  if (!problem.empty()) context.say(problem);
  context.out() << experiment::contrast_table(findings).to_text() << '\n'
                << (run.folder() / "report.html").string() << '\n';
  context.write_json("reproduce", config.bases.front(), experiment::reproduce_report(config, result, findings).figures);
  return findings;
}

int run_reproduce(const ReproduceOptions& options, Context& context) {
  core::keep_freed_memory();
  experiment::ReproduceConfig config = config_of(options, context);
  const experiment::Bases bases = open_bases(config.bases, context);
  config.test = options.test;
  experiment::Texts texts = load_experiment_texts(config.text, config.test, config.seed);
  load_retention(options, config, texts);
  texts.sentences = text::load_corpus(find_text("facts:test"));
  const std::int64_t window = evaluate::default_context(evaluate::Protocol::full, bases.front()->config.context);
  config.stride = options.stride > 0 ? options.stride : window * 3 / 4;
  if (config.stride >= window) {
    throw UsageError(fmt::format("--stride {}: windows of {} tokens would leave some out", config.stride, window));
  }
  experiment::require_usable(bases, config, texts);
  if (options.dry_run) return say_estimate(options, config, bases, texts, context);
  if (bases.size() < experiment::kMinBases) {
    context.say(fmt::format("{} of {} bases: there will be no intervals, and no verdict but undecided", bases.size(),
                            experiment::kMinBases));
  }

  experiment::RunDirectory run(options.out, experiment::to_json(config, bases, texts));
  experiment::require_nothing_fuller(config, run);
  const experiment::Surroundings around = surroundings_of(context);
  experiment::ReproduceResult result;
  {
    const StopSignals signals;
    result = experiment::reproduce(config, bases, texts, run, around);
  }
  const bool complete = experiment::is_complete(result, config);
  if (result.interrupted) {
    context.say(fmt::format("interrupted after {}: the same command goes on", experiment::stages_done(result, config)));
  }
  experiment::Findings findings;
  if (!result.cells.empty()) findings = leave_report(config, result, run, around, context);
  result.throw_failures();
  for (const experiment::ExactCheck& check : findings.checks) {
    if (!check.passed()) {
      throw CheckError(fmt::format("{}: only {} of {}", check.name, check.equal, check.pairs));
    }
  }
  return complete ? 0 : 1;
}

}  // namespace

Command add_reproduce(CLI::App& program) {
  auto o = std::make_shared<ReproduceOptions>();
  o->bases = {"micro-1", "micro-2", "micro-3", "micro-4", "micro-5"};
  CLI::App* app = program.add_subcommand(
      "reproduce", "Pruning with all its controls, on several bases in two gauges, beside the reference's figures");
  app->add_option("OUT", o->out, "Folder of the run; the same command goes on with a run that was stopped")
      ->capture_default_str();
  CLI::Option* quick = app->add_flag("--quick", o->quick, "One dose, one fine-tune of each main arm (the default)");
  app->add_flag("--full", o->full, "All arms, levels and seeds; goes on with a quick run")->excludes(quick);
  app->add_option("--base", o->bases,
                  "A base: Hugging Face directory with latents or name of an embedded model; several times")
      ->allow_extra_args(false)
      ->capture_default_str();
  app->add_option("--retention", o->retention,
                  "Another text, whose first 8 documents show what a fine-tune forgets, or none (default: "
                  "wikitext-2:validation; sotu:test where WikiText is trained on)");
  add_experiment_options(*app, o->text, o->test, o->tune);
  app->add_option("--seeds", o->seeds, "Fine-tunes of each arm (default: 1, with --full 2)")
      ->check(CLI::Range(std::int64_t{1}, experiment::kMostSeeds));
  app->add_option("--stride", o->stride,
                  "Tokens from window to window where models are scored, protocol full (default: three quarters of "
                  "the context)")
      ->check(CLI::Range(1, 1 << 20));
  app->add_flag("--dry-run", o->dry_run, "Only estimate the time; of a run that was begun, of what is left of it");
  app->footer("Example:\n  rpt reproduce runs/reproduce --quick --base seedling --steps 20");
  return {app, [o](Context& context) { return run_reproduce(*o, context); }};
}

}  // namespace rpt::cli

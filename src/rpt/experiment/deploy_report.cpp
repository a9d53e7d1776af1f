// SPDX-License-Identifier: MIT
#include "rpt/experiment/deploy_report.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>

#include "rpt/core/atomic_file.h"
#include "rpt/evaluate/statistics.h"
#include "rpt/experiment/deploy_files.h"
#include "rpt/experiment/reference_figures.h"
#include "rpt/report/escape.h"

namespace rpt::experiment {
namespace {

/// Difference of a state to the baseline in per cent of its NLL, with its interval over documents.
struct Change {
  double percent = 0;
  std::optional<evaluate::Interval> interval;
};

Change change_to(const StageFigures& baseline, const StageFigures& state) {
  const std::vector<double>& before = baseline.list("nll");
  const std::vector<double>& after = state.list("nll");
  std::vector<double> differences(before.size());
  for (std::size_t d = 0; d < before.size(); ++d) differences[d] = 100 * (after[d] - before[d]);
  Change c;
  c.percent = 100 * (state.number("mean_nll") / baseline.number("mean_nll") - 1);
  c.interval = evaluate::bca_ratio_interval(differences, before);
  return c;
}

std::string with_interval(const Change& c) {
  if (!c.interval) return fmt::format("{:+.2f}", c.percent);
  return fmt::format("{:+.2f} [{:+.2f}, {:+.2f}]", c.percent, c.interval->low, c.interval->high);
}

report::Cell share_of(const StageFigures& f, const char* name) {
  if (!f.numbers.contains(name)) return std::monostate{};
  return 100 * f.number(name);
}

/// The last state with an account of the codes that are shipped: as trained, in protocol legacy as snapped.
const StageFigures& shipped(const DeployResult& result) {
  const StageFigures* snapped = find_stage(result, kSnapStage);
  return snapped != nullptr ? *snapped : last_stage(result, "-tune");
}

report::CaptionedTable tensor_table(const DeployResult& result) {
  report::Table table({{"tensor"},
                       report::number_column("codes removed %", 2),
                       report::number_column("scale, pruned", 4),
                       report::number_column("scale at the end", 4)});
  const StageFigures* pruned = find_stage(result, "-prune");  // its doses are those of pruning alone
  const StageFigures& end = shipped(result);
  const std::string prefix = "scale_ratio ";
  for (const auto& [name, ratio] : end.numbers) {
    if (!name.starts_with(prefix)) continue;
    const std::string tensor = name.substr(prefix.size());
    table.add_row({tensor, 100 * end.number("dose " + tensor),
                   pruned != nullptr ? report::Cell(pruned->number(name)) : report::Cell(), ratio});
  }
  return {
      "Every linear layer after the last level: codes that were ±1 in the base and are 0, and its scale as a share "
      "of the base's (protocol legacy: that of `packed/`; the GGUF has the base's).",
      std::move(table)};
}

report::Plot loss_plot(const std::vector<LevelLosses>& losses) {
  report::Plot plot{"Loss of the fine-tunes, mean of ten steps.", "step", "NLL, nats a token", {}};
  for (const auto& [name, values] : losses) {
    report::Series series = loss_series(name, values);
    if (!series.points.empty() && plot.series.size() < report::kMaxSeries) plot.series.push_back(std::move(series));
  }
  return plot;
}

/// What was pruned, as it was asked for.
std::string dose_of(const DeployConfig& config) {
  if (config.sparsity == 0) return "nothing was pruned";
  if (is_legacy(config)) return fmt::format("nominally {:g} % of the latents were zeroed", 100 * config.sparsity);
  return fmt::format("{:g} % of the ternary weights were pruned, each of which had a {}", 100 * config.sparsity,
                     config.recipe.selection.dose == prune::Dose::codes ? "code of ±1" : "latent that was not 0");
}

/// What is there at the end, by whatever it came.
std::string zeros_of(const DeployResult& result) {
  return fmt::format(
      "At the end, after pruning and fine-tunes together, {:.2f} % of all ternary weights have code 0 that had ±1 in "
      "the base",
      100 * shipped(result).number("codes_removed_share"));
}

std::string rule_of(const prune::Recipe& recipe) {
  if (recipe.protocol == prune::Protocol::legacy) return "the reference's sampled global threshold";
  return fmt::format("{} within each {}, dose by {}", prune::name(recipe.score),
                     recipe.selection.scope == prune::Scope::global ? "model" : prune::name(recipe.selection.scope),
                     prune::name(recipe.selection.dose));
}

/// Of `model`, so much in so many levels by this rule.
std::string levels_of(const DeployConfig& config, const std::string& model) {
  if (config.sparsity == 0) return fmt::format("Of {} {}", model, dose_of(config));
  const std::size_t levels = levels_to(config.sparsity).size();
  return fmt::format("Of {} {}, in {} level{}: {}", model, dose_of(config), levels, levels == 1 ? "" : "s",
                     rule_of(config.recipe));
}

/// The machines that the stages were done on.
std::vector<std::string> machines_of(const DeployResult& result) {
  std::set<std::string> machines;
  for (const DeployStage& s : result.stages) machines.insert(s.found.text("machine"));
  return {machines.begin(), machines.end()};
}

/// A learning rate as shares of the scales of a model's layers.
struct ScaledRate {
  double low = 0;
  double high = 0;
};

ScaledRate over_scales(double lr, const model::Model& base) {
  ScaledRate rate{std::numeric_limits<double>::infinity(), 0};
  for (const auto& [name, fixed] : scales_of(base)) {
    rate.low = std::min(rate.low, lr / static_cast<double>(fixed.scale));
    rate.high = std::max(rate.high, lr / static_cast<double>(fixed.scale));
  }
  return rate;
}

std::string rate_of(const DeployConfig& config, const model::Model& base) {
  const double lr = config.tune.optimiser.lr;
  if (config.tune.optimiser.relative) return fmt::format("{:g} of each tensor's rms", lr);
  const ScaledRate rate = over_scales(lr, base);
  return fmt::format("{:g} absolute (lr/s {:.3g} to {:.3g}, s the scale of a layer in the base)", lr, rate.low,
                     rate.high);
}

/// What a run was: with it, and the program of that version, it can be done again.
void identify(report::Record& figures, const model::Model& base, const DeployConfig& config,
              const DeployResult& result) {
  const bool legacy = is_legacy(config);
  const train::TrainConfig& tune = config.tune;
  const StageFigures& baseline = result.stages.front().found;
  figures.set("version", RPT_VERSION);
  figures.set("machines", machines_of(result));
  figures.set("run_again", deploy_command(config, "OUT"));
  figures.set("model", config.model);
  figures.set("base_sha256", result.model_sha256);
  figures.set("text", config.text);
  figures.set("test", config.test);
  figures.set("texts_sha256", result.texts_sha256);
  figures.set("documents", baseline.list("nll").size());
  figures.set("scored_tokens", static_cast<std::int64_t>(baseline.number("scored_tokens")));
  figures.set("scoring", legacy ? std::vector<std::string>{"full", "legacy"} : std::vector<std::string>{"full"});
  figures.set("seed", config.recipe.seed);
  figures.set("protocol", prune::name(config.recipe.protocol));
  figures.set("sparsity", config.sparsity);
  figures.set("levels", levels_to(config.sparsity));
  figures.set("dose", legacy ? "latents, nominal" : prune::name(config.recipe.selection.dose));
  figures.set("score", legacy ? "magnitude" : prune::name(config.recipe.score));
  figures.set("scope", legacy ? "global" : prune::name(config.recipe.selection.scope));
  figures.set("steps", tune.steps);
  figures.set("batch", tune.batch * tune.accumulation);
  figures.set("context", tune.context);
  figures.set("lr", tune.optimiser.lr);
  figures.set("lr_relative_to_rms", tune.optimiser.relative);
  std::optional<ScaledRate> rate;
  if (!tune.optimiser.relative) rate = over_scales(tune.optimiser.lr, base);
  figures.set("lr_over_scale_low", rate ? std::optional(rate->low) : std::nullopt);
  figures.set("lr_over_scale_high", rate ? std::optional(rate->high) : std::nullopt);
}

report::Section again_section(const model::Model& base, const DeployConfig& config, const DeployResult& result) {
  return {"To run it again",
          {deploy_command(config, "OUT"),
           fmt::format("Seed {}; fine-tunes with learning rate {}; scored by protocol full{}; rpt {} on {}.",
                       config.recipe.seed, rate_of(config, base),
                       is_legacy(config) ? " and by the reference's, legacy" : "", RPT_VERSION,
                       fmt::join(machines_of(result), "; ")),
           fmt::format("sha256 of the base {}, of the texts {}, of {} {}.", result.model_sha256, result.texts_sha256,
                       result.gguf.filename().string(), result.gguf_sha256)}};
}

constexpr const char* kNoControl =
    "A better figure at the end than at the beginning does not show that pruning helps: the fine-tune alone, at 0 %, "
    "may do as much. That control is not part of this run. Within the run, what pruning does by itself is the step "
    "from "
    "a state to its pruned one.";

constexpr const char* kLegacyScales =
    "Protocol legacy, the reference's: a sampled threshold on latents (the level is nominal), its lines, chunks, "
    "optimiser and learning rate, and fine-tunes in which every tensor is read as its codes at the base's scale s0, "
    "which the forward then quantises online once more. The states named \"fine-tuned\" are the latents, read online: "
    "not what was trained. \"Snapped, quantised online again\" is what was trained: scale s0 times the density of the "
    "codes; the reference's last figure. The GGUF holds scale max|w| = s0, as bitnet.cpp's converter writes it. The "
    "three differ in their scales, and by what latents beyond 1.5 s0 count for the first; their differences are no "
    "gain of snapping.";

constexpr const char* kReference =
    "Perplexities that the reference reports for its own pipeline (bitnet-b1.58-2B-4T), and why they are not "
    "comparable "
    "with the figures here.";

report::CaptionedTable reference_table() {
  constexpr int kPipeline = 6;
  report::Table table({{"state"}, report::number_column("before", 2), report::number_column("after", 2), {"but"}});
  for (const ReferenceFigure& f : reference_figures()) {
    if (f.experiment == kPipeline) table.add_row({std::string(f.what), f.before, f.after, std::string(f.why_not)});
  }
  return {kReference, std::move(table)};
}

}  // namespace

std::string deploy_command(const DeployConfig& config, const std::string& folder) {
  const train::TrainConfig& t = config.tune;
  std::string command = fmt::format("rpt deploy {} {} --text {}", report::shell_word(config.model),
                                    report::shell_word(folder), report::shell_word(config.text));
  if (config.test != config.text + " (held out)") command += " --test " + report::shell_word(config.test);
  command += fmt::format(" --protocol {} --sparsity {}", prune::name(config.recipe.protocol), config.sparsity);
  if (!is_legacy(config)) {
    const prune::Selection& selection = config.recipe.selection;
    command += fmt::format(" --score {} --scope {} --dose {}", prune::name(config.recipe.score),
                           prune::name(selection.scope), prune::name(selection.dose));
  }
  command += fmt::format(" --steps {} --batch {} --context {} --lr {} --backward {}", t.steps, t.batch, t.context,
                         t.optimiser.lr, model::name(t.step.backward));
  if (config.memory_limit > 0) command += fmt::format(" --memory-limit {}", config.memory_limit);
  // With "=", for a prompt may begin with a dash.
  for (const std::string& prompt : config.prompts) command += " --prompt=" + report::shell_word(prompt);
  return command + fmt::format(" --tokens {} --seed {}", config.generated_tokens, config.recipe.seed);
}

report::Table stage_table(const DeployResult& result) {
  std::vector<report::Column> columns{{"state"},
                                      report::number_column("NLL", 4),
                                      report::number_column("perplexity", 3),
                                      {"NLL against baseline, % [95 %]", report::Align::right},
                                      report::number_column("codes 0, %", 2),
                                      report::number_column("codes removed, %", 2)};
  const StageFigures& baseline = result.stages.front().found;
  const bool legacy = baseline.numbers.contains("legacy_perplexity");
  if (legacy) columns.push_back(report::number_column("perplexity, protocol legacy", 3));
  report::Table table(std::move(columns));
  for (const DeployStage& s : result.stages) {
    const bool first = &s == &result.stages.front();
    std::vector<report::Cell> row{s.name,
                                  s.found.number("mean_nll"),
                                  s.found.number("perplexity"),
                                  first ? std::string() : with_interval(change_to(baseline, s.found)),
                                  share_of(s.found, "codes_zero_share"),
                                  share_of(s.found, "codes_removed_share")};
    if (legacy) row.emplace_back(s.found.number("legacy_perplexity"));
    table.add_row(std::move(row));
  }
  return table;
}

report::Report deploy_report(const model::Model& base, const DeployConfig& config, const DeployResult& result,
                             const std::vector<LevelLosses>& losses) {
  report::Report r;
  r.title = fmt::format("rpt deploy: {}, {:g} % of {}", config.model, 100 * config.sparsity,
                        is_legacy(config) ? "latents, protocol legacy" : prune::name(config.recipe.selection.dose));
  report::Record& figures = r.figures;
  identify(figures, base, config, result);
  figures.set("baseline_nll", result.stages.front().found.number("mean_nll"));
  figures.set("final_nll", result.stages.back().found.number("mean_nll"));
  figures.set("baseline_perplexity", result.stages.front().found.number("perplexity"));
  figures.set("perplexity", result.stages.back().found.number("perplexity"));
  figures.set("nll_sha256", result.gate_sha256);
  figures.set("gguf", result.gguf.filename().string());
  figures.set("gguf_sha256", result.gguf_sha256);
  std::vector<report::Record> states;
  for (const DeployStage& s : result.stages) {
    report::Record state;
    state.set("state", s.name);
    for (const auto& [name, value] : s.found.numbers) state.set(name, value);
    if (&s != &result.stages.front()) {
      const Change c = change_to(result.stages.front().found, s.found);
      state.set("nll_change_percent", c.percent);
      state.set("nll_change_percent_low", c.interval ? std::optional(c.interval->low) : std::nullopt);
      state.set("nll_change_percent_high", c.interval ? std::optional(c.interval->high) : std::nullopt);
    }
    state.set("nll_sha256", s.found.text("nll_sha256"));
    if (s.found.texts.contains("masks_sha256")) state.set("masks_sha256", s.found.text("masks_sha256"));
    states.push_back(std::move(state));
  }
  figures.set("states", std::move(states));
  figures.set("texts", result.texts);

  const std::vector<std::string> diverged = diverged_fine_tunes(result.stages);
  figures.set("warnings", diverged);

  report::Section summary{"What was done", {}};
  summary.blocks.emplace_back(fmt::format(
      "{}. {} it was fine-tuned on {} for {} steps of {} sequences of {} tokens, learning rate {}, and it was scored "
      "on {}: "
      "{} tokens in {} "
      "documents. The GGUF gives every token of that text the same bits as the model that {} (sha256 {}). {}.",
      levels_of(config, fmt::format("{} ({} layers, hidden {})", config.model, base.config.layers, base.config.hidden)),
      config.sparsity > 0 ? "After each level" : "As it was,", config.text, config.tune.steps,
      config.tune.batch * config.tune.accumulation, config.tune.context, rate_of(config, base), config.test,
      static_cast<std::int64_t>(result.stages.front().found.number("scored_tokens")),
      result.stages.front().found.list("nll").size(), is_legacy(config) ? "was snapped, with its scale" : "was trained",
      result.gate_sha256, zeros_of(result)));
  for (const std::string& line : diverged) summary.blocks.emplace_back("Warning: " + line + ".");
  if (is_legacy(config)) summary.blocks.emplace_back(std::string(kLegacyScales));
  summary.blocks.emplace_back(
      report::CaptionedTable{"The states of the model. Intervals resample the documents of the test text (BCa, 10,000 "
                             "times); they say nothing "
                             "of other models or seeds.",
                             stage_table(result)});
  if (config.sparsity > 0) summary.blocks.emplace_back(std::string(kNoControl));
  r.sections.push_back(std::move(summary));

  report::Section training{"Fine-tunes", {}};
  report::Plot plot = loss_plot(losses);
  if (!plot.series.empty()) training.blocks.emplace_back(std::move(plot));
  training.blocks.emplace_back(tensor_table(result));
  r.sections.push_back(std::move(training));

  report::Section texts{"Text from the GGUF, greedy", {}};
  for (const std::string& text : result.texts) texts.blocks.emplace_back(report::one_line(text));
  r.sections.push_back(std::move(texts));
  r.sections.push_back({"Beside the reference", {reference_table()}});
  r.sections.push_back(again_section(base, config, result));
  return r;
}

std::string deploy_metadata(const DeployConfig& config, const DeployResult& result, const std::string& machine) {
  const StageFigures& baseline = result.stages.front().found;
  const StageFigures& last = result.stages.back().found;
  const bool legacy = is_legacy(config);
  // The reference scores its snapped model as it stands in memory, which quantises it online once more.
  const StageFigures& end = legacy ? last_stage(result, kSnapStage) : last;
  const std::string ppl = legacy ? "legacy_perplexity" : "perplexity";
  nlohmann::ordered_json j;
  j["base_model"] = config.model;
  j["method"] = "qat_ste";
  j["target_sparsity"] = config.sparsity;
  j["actual_sparsity"] = shipped(result).number("codes_zero_share");
  j["pct_ternary"] = 100 * last.number("ternary_share");
  j["progressive"] = levels_to(config.sparsity).size() > 1;
  j["ft_steps_per_level"] = config.tune.steps;
  j["ft_lr"] = config.tune.optimiser.lr;
  j["batch_size"] = config.tune.batch * config.tune.accumulation;
  j["seq_len"] = config.tune.context;
  j["baseline_ppl"] = baseline.number(ppl);
  j["final_ppl"] = end.number(ppl);
  j["improvement"] = fmt::format("{:+.1f}%", 100 * (end.number(ppl) / baseline.number(ppl) - 1));
  j["gpu"] = nullptr;
  j["processor"] = machine;
  j["seed"] = config.tune.seed;
  j["protocol"] = prune::name(config.recipe.protocol);
  j["ppl_protocol"] = legacy ? "legacy" : "full";
  j["final_ppl_gguf"] = last.number(ppl);
  j["scale_rule"] = legacy ? "legacy-double in training and packed/, max in model.gguf" : "online";
  j["lr_relative_to_rms"] = config.tune.optimiser.relative;
  prune::Recipe recipe = config.recipe;
  if (legacy) {
    recipe.percent = 100 * config.sparsity;
  } else {
    recipe.selection.sparsity = config.sparsity;
  }
  j["recipe"] = nlohmann::ordered_json::parse(prune::to_json(recipe));
  j["codes_removed"] = shipped(result).number("codes_removed_share");
  j["base_sha256"] = result.model_sha256;
  j["text"] = config.text;
  j["test"] = config.test;
  j["texts_sha256"] = result.texts_sha256;
  j["nll_sha256"] = result.gate_sha256;
  j["gguf_sha256"] = result.gguf_sha256;
  j["masks_sha256"] = nullptr;
  if (const StageFigures* pruned = find_stage(result, "-prune")) j["masks_sha256"] = pruned->text("masks_sha256");
  return j.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

std::string deploy_card(const model::Model& base, const DeployConfig& config, const DeployResult& result) {
  std::string card = fmt::format(
      "# {}, pruned by {:g} %\n\nMade by `rpt deploy` from {} ({} layers, hidden {}, vocabulary {}). "
      "The "
      "licence is that of the base model and of the texts it has seen.\n\n",
      config.model, 100 * config.sparsity, config.model, base.config.layers, base.config.hidden,
      base.config.vocabulary);
  const bool legacy = is_legacy(config);
  card += fmt::format(
      "| file | what |\n|---|---|\n| `model.gguf` | ternary weights as i2_s{} |\n"
      "| `packed/` | Hugging Face directory, ternary weights packed{} |\n| `latents/` | {}, to train on |\n\n",
      legacy ? "; scale max\\|w\\| of the snapped weights, the base's" : "",
      legacy ? "; the scale it was trained under, that times the density of the codes" : "",
      legacy ? "what was trained, as latents; read online they are a third model" : "the same with its latents");
  card += stage_table(result).to_markdown();
  card += fmt::format("\nOf {} {}. {}.", config.model, dose_of(config), zeros_of(result));
  card += fmt::format(" Scored on {} ({}).\n\n", config.test, "rpt perplexity, protocol full");
  for (const std::string& line : diverged_fine_tunes(result.stages)) card += fmt::format("Warning: {}.\n\n", line);
  if (legacy) card += fmt::format("{}\n\n", kLegacyScales);
  if (config.sparsity > 0) card += fmt::format("{}\n", kNoControl);
  return card;
}

std::string write_deploy_report(RunDirectory& run, const model::Model& base, const DeployConfig& config,
                                const DeployResult& result, const std::vector<LevelLosses>& losses,
                                const Surroundings& around) {
  core::write_file_atomic(run.folder() / "rpt_metadata.json", deploy_metadata(config, result, around.machine));
  write_card(run, deploy_card(base, config, result), around.say);
  return report::write_report(run.folder(), deploy_report(base, config, result, losses));
}

}  // namespace rpt::experiment

// SPDX-License-Identifier: MIT
#include <fmt/format.h>

#include <iostream>

#include "rpt/cli/calibration.h"
#include "rpt/cli/context.h"
#include "rpt/cli/scoring.h"
#include "rpt/core/atomic_file.h"
#include "rpt/core/error.h"
#include "rpt/core/machine.h"
#include "rpt/core/timer.h"
#include "rpt/model/export.h"
#include "rpt/prune/account.h"
#include "rpt/prune/apply.h"
#include "rpt/prune/memory.h"
#include "rpt/prune/recipe.h"
#include "rpt/report/table.h"

namespace rpt::cli {
namespace {

namespace fs = std::filesystem;

constexpr const char* kMasksFile = "masks.safetensors";
constexpr const char* kRecipeFile = "prune_recipe.json";
constexpr std::uint64_t kRecipeLimit = 1 << 20;

struct PruneOptions {
  std::string model;
  std::string out;
  std::optional<double> sparsity;
  std::string dose = "codes";
  std::string score = "magnitude";
  std::string scope = "global";
  std::string pattern = "unstructured";
  std::string targets = ".*";
  std::string protect;
  std::optional<double> legacy_percent;
  std::string recipe;
  CalibrationOptions calibration;
  double memory_limit = 0;
  bool force = false;
  bool seed_given = false;
};

/// What the options ask for, but for the calibration's hash, which needs its text. Throws UsageError.
prune::Recipe recipe_of(const PruneOptions& o, std::uint64_t seed) {
  prune::Recipe recipe;
  recipe.seed = seed;
  try {
    if (o.legacy_percent) {
      recipe.protocol = prune::Protocol::legacy;
      recipe.percent = *o.legacy_percent;
      prune::validate(recipe, "--legacy-threshold");
      return recipe;
    }
    recipe.score = prune::parse_score(o.score);
    recipe.selection = {.dose = prune::parse_dose(o.dose),
                        .scope = prune::parse_scope(o.scope),
                        .pattern = prune::parse_pattern(o.pattern),
                        .targets = o.targets,
                        .protect = o.protect};
    if (o.sparsity) recipe.selection.sparsity = *o.sparsity;
    prune::validate(recipe.selection);
  } catch (const ConfigError& e) {
    throw UsageError(e.what());
  }
  if (!o.sparsity && recipe.selection.pattern.unstructured()) {
    throw UsageError("--sparsity, --pattern N:M, --legacy-threshold or --recipe must say how much goes");
  }
  if (o.calibration.text.empty() == prune::needs_calibration(recipe.score)) {
    throw UsageError(fmt::format("--score {} {} --calibration", o.score,
                                 o.calibration.text.empty() ? "needs" : "does not look at activations: no"));
  }
  return recipe;
}

/// The recipe that is replayed, or the one that the options make.
prune::Recipe load_recipe(const PruneOptions& o, const Context& context) {
  if (o.recipe.empty()) return recipe_of(o, context.common.seed);
  if (o.seed_given) throw UsageError("--recipe brings its own seed");
  return prune::parse_recipe(core::read_file(o.recipe, kRecipeLimit), o.recipe);
}

/// Throws: EnvironmentError where a pruning needs more than may be used.
void require_memory(const prune::PruneMemory& memory, const PruneOptions& o, const Context& context) {
  const auto gb = [](std::uint64_t bytes) { return static_cast<double>(bytes) / 1e9; };
  context.detail(
      fmt::format("needs {:.3f} GB: codes {:.3f}, masks {:.3f}, calibration {:.3f}, scores {:.3f}, or while "
                  "writing latents {:.3f}, codes {:.3f}",
                  gb(memory.total()), gb(memory.codes), gb(memory.masks), gb(memory.calibration), gb(memory.scores),
                  gb(memory.latents), gb(memory.written_codes)));
  const double limit = o.memory_limit > 0 ? o.memory_limit : gb(core::physical_memory());
  if (limit == 0 || gb(memory.total()) <= limit) return;
  const bool scores = memory.scores > memory.latents;
  throw EnvironmentError(
      fmt::format("this pruning needs {:.2f} GB beside the model's file, {:.2f} GB of them for {}; "
                  "{} {:.2f} GB{}",
                  gb(memory.total()), gb(scores ? memory.scores : memory.latents), scores ? "scores" : "latents",
                  o.memory_limit > 0 ? "the limit is" : "there are", limit,
                  scores ? " (--scope tensor or row ranks a tensor at a time)" : ""));
}

model::Masks choose(const model::Model& model, const prune::Recipe& recipe, const Context& context) {
  if (!recipe.calibration) return prune::make_masks(model, recipe);
  const auto moments = recipe.score == prune::Score::code ? prune::Moments::inputs : prune::Moments::squares;
  const prune::Calibration calibration = calibrate_on(*recipe.calibration, model, moments, context);
  return prune::make_masks(model, recipe, &calibration);
}

double percent(std::uint64_t part, std::uint64_t whole) {
  return whole == 0 ? 0 : 100 * static_cast<double>(part) / static_cast<double>(whole);
}

report::Table to_table(const prune::Account& account, const model::Masks& masks) {
  using report::number_column;
  report::Table table({{"tensor"},
                       number_column("masked"),
                       number_column("zeroed"),
                       number_column("code 0 before %", 2),
                       number_column("after %", 2),
                       number_column("±1 to 0"),
                       number_column("0 to ±1"),
                       number_column("scale before", 6),
                       number_column("after", 6)});
  for (std::size_t i = 0; i < account.tensors.size(); ++i) {
    const prune::TensorAccount& t = account.tensors[i];
    table.add_row({t.name, static_cast<std::int64_t>(masks.linears[i].pruned()),
                   static_cast<std::int64_t>(t.latents_zeroed), percent(t.codes_zero_before, t.weights),
                   percent(t.codes_zero_after, t.weights), static_cast<std::int64_t>(t.codes_removed),
                   static_cast<std::int64_t>(t.codes_gained), static_cast<double>(t.scale_before),
                   static_cast<double>(t.scale_after)});
  }
  return table;
}

void set_counts(report::Record& record, const prune::WeightAccount& a, std::uint64_t masked) {
  record.set("weights", a.weights);
  record.set("masked", masked);
  record.set("latents_zero_before", a.latents_zero_before);
  record.set("latents_zeroed", a.latents_zeroed);
  record.set("codes_zero_before", a.codes_zero_before);
  record.set("codes_zero_after", a.codes_zero_after);
  record.set("codes_removed", a.codes_removed);
  record.set("codes_gained", a.codes_gained);
  record.set("codes_turned", a.codes_turned);
}

report::Record to_record(const prune::TensorAccount& t, const model::LinearMask& mask) {
  report::Record out;
  out.set("name", t.name);
  set_counts(out, t, mask.pruned());
  out.set("scale_before", t.scale_before);
  out.set("scale_after", t.scale_after);
  return out;
}

report::Record to_record(const prune::Recipe& r) {
  report::Record out;
  const bool sound = r.protocol == prune::Protocol::sound;
  const prune::Selection& s = r.selection;
  out.set("protocol", std::string(prune::name(r.protocol)));
  out.set("seed", std::to_string(r.seed));  // beyond int64 as a number
  out.set("percent", sound ? std::nullopt : std::optional(r.percent));
  const auto of_sound = [&](std::string_view value) {
    return sound ? std::optional(std::string(value)) : std::nullopt;
  };
  out.set("score", of_sound(prune::name(r.score)));
  out.set("dose", of_sound(prune::name(s.dose)));
  out.set("scope", of_sound(prune::name(s.scope)));
  out.set("pattern", of_sound(prune::name(s.pattern)));
  out.set("targets", of_sound(s.targets));
  out.set("protect", of_sound(s.protect));
  out.set("sparsity", sound && s.pattern.unstructured() ? std::optional(s.sparsity) : std::nullopt);
  out.set("calibration", r.calibration ? std::optional(r.calibration->text) : std::nullopt);
  return out;
}

void write_json(const PruneOptions& o, const prune::Recipe& recipe, const prune::Account& account,
                const model::Masks& masks, const prune::PruneMemory& memory, const std::string& hash,
                const Context& context) {
  report::Record figures;
  figures.set("output", o.out);
  figures.set("recipe", to_record(recipe));
  set_counts(figures, account.total, masks.pruned());
  figures.set("dose_codes", account.total.dose());
  figures.set("masks_sha256", model::sha256_of(masks));
  figures.set("nll_sha256", hash);
  figures.set("memory_bytes", memory.total());
  std::vector<report::Record> tensors;
  for (std::size_t i = 0; i < account.tensors.size(); ++i) {
    tensors.push_back(to_record(account.tensors[i], masks.linears[i]));
  }
  figures.set("tensors", std::move(tensors));
  context.write_json("prune", o.model, figures);
}

void print(const PruneOptions& o, const prune::Account& account, const model::Masks& masks, const Context& context) {
  const prune::WeightAccount& t = account.total;
  context.out() << to_table(account, masks).to_text()
                << fmt::format(
                       "\nof {} ternary weights {} masked ({:.3f} %), {} latents zeroed ({:.3f} %)\n"
                       "codes: {} of ±1 to 0 ({:.3f} %), {} of 0 to ±1, {} turned; 0 before {:.3f} %, after {:.3f} %\n",
                       t.weights, masks.pruned(), percent(masks.pruned(), t.weights), t.latents_zeroed,
                       percent(t.latents_zeroed, t.weights), t.codes_removed, percent(t.codes_removed, t.weights),
                       t.codes_gained, t.codes_turned, percent(t.codes_zero_before, t.weights),
                       percent(t.codes_zero_after, t.weights))
                << fmt::format("{}: a model with {} and {}\n", o.out, kMasksFile, kRecipeFile);
}

int run_prune(const PruneOptions& o, Context& context) {
  prune::Recipe recipe = load_recipe(o, context);  // better now than after the model
  const auto source = open_bitnet_model(o.model, "pruning", context);
  if (!o.calibration.text.empty()) recipe.calibration = describe_calibration(o.calibration, *source);
  const fs::path calibration = recipe.calibration ? text_path(recipe.calibration->text) : fs::path();
  require_apart({source->path, o.recipe, calibration}, o.out);
  model::require_replaceable(o.out, o.force, {kMasksFile, kRecipeFile});
  if (recipe.protocol == prune::Protocol::sound) prune::require_alive(*source, recipe.selection, o.model);
  const core::Stopwatch watch;
  const prune::PruneMemory memory = prune::prune_memory(*source, recipe);
  require_memory(memory, o, context);
  const model::Masks masks = choose(*source, recipe, context);
  const auto pruned = prune::apply_masks(*source, masks);
  const prune::Account account = prune::account(*source, *pruned);
  model::ExportOptions how{.replace_folder = o.force, .progress = &context.progress()};
  how.add_files = [&](const fs::path& folder) {
    model::write_masks(folder / kMasksFile, masks);
    core::write_file_atomic(folder / kRecipeFile, prune::to_json(recipe));
  };
  const std::string hash = model::export_huggingface(*pruned, o.out, model::HfForm::latents, how);
  context.detail(fmt::format("pruned and written in {:.1f} s", watch.seconds()));
  print(o, account, masks, context);
  write_json(o, recipe, account, masks, memory, hash, context);
  return 0;
}

/// Says that none of `others` goes with `option`.
void exclude(CLI::Option* option, const std::vector<CLI::Option*>& others) {
  for (CLI::Option* other : others) option->excludes(other);
}

}  // namespace

Command add_prune(CLI::App& program) {
  auto o = std::make_shared<PruneOptions>();
  CLI::App* app = program.add_subcommand("prune", "Set weights of a model to 0, and say what that did to its codes");
  app->add_option("MODEL", o->model, "Model with latents: Hugging Face directory, .gguf file, or embedded model")
      ->required();
  app->add_option("OUT", o->out, "Directory to write: the model, its masks and the recipe")
      ->required()
      ->check(check_not_empty);
  std::vector<CLI::Option*> choices;
  choices.push_back(app->add_option("--sparsity", o->sparsity, "Share of all ternary weights to remove, 0 to 1"));
  choices.push_back(app->add_option("--dose", o->dose, "What counts as removed: codes ±1, or latents that are not 0")
                        ->check(CLI::IsMember({"codes", "latents"}))
                        ->capture_default_str());
  choices.push_back(app->add_option("--score", o->score, "What a weight is worth; the smallest go")
                        ->check(CLI::IsMember({"magnitude", "wanda", "random", "code"}))
                        ->capture_default_str());
  choices.push_back(app->add_option("--scope", o->scope, "Among which weights the smallest are looked for")
                        ->check(CLI::IsMember({"global", "tensor", "row"}))
                        ->capture_default_str());
  choices.push_back(
      app->add_option("--pattern", o->pattern, "unstructured, or N:M: of M consecutive inputs N stay (no --sparsity)")
          ->capture_default_str());
  choices.push_back(
      app->add_option("--targets", o->targets, "Regular expression for whole names of linear layers, as blk.0.attn_q")
          ->capture_default_str());
  choices.push_back(app->add_option("--protect", o->protect, "The same for those that keep all weights"));
  for (CLI::Option* option : add_calibration_options(*app, o->calibration)) choices.push_back(option);
  CLI::Option* legacy = app->add_option("--legacy-threshold", o->legacy_percent,
                                        "Percentile of a seeded sample of magnitudes, each tensor counting alike");
  exclude(legacy, choices);
  CLI::Option* recipe = app->add_option("--recipe", o->recipe, "Prune as this file says, which every run saves");
  exclude(recipe, choices);
  recipe->excludes(legacy);
  app->add_option("--memory-limit", o->memory_limit, "GB that may be used (default: the machine's memory)")
      ->check(between(1e-9, 1e9));
  app->add_flag("--force", o->force, "Replace a directory that holds nothing but what prune writes");
  app->footer(
      "Examples:\n"
      "  rpt prune seedling pruned --sparsity 0.1\n"
      "  rpt prune seedling pruned --sparsity 0.1 --score code --scope tensor --calibration sotu:train\n"
      "  rpt finetune pruned run --mask pruned/masks.safetensors --text sotu:train");
  return {app, [o, app](Context& context) {
            o->seed_given = app->count("--seed") > 0;
            return run_prune(*o, context);
          }};
}

}  // namespace rpt::cli

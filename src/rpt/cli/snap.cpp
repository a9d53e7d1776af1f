// SPDX-License-Identifier: MIT
#include "rpt/prune/snap.h"

#include <fmt/format.h>

#include <iostream>

#include "rpt/cli/calibration.h"
#include "rpt/cli/context.h"
#include "rpt/cli/scoring.h"
#include "rpt/core/error.h"
#include "rpt/core/timer.h"
#include "rpt/model/export.h"
#include "rpt/model/gate.h"
#include "rpt/report/table.h"

namespace rpt::cli {
namespace {

namespace fs = std::filesystem;

struct SnapCommandOptions {
  std::string model;
  std::string out;
  std::string scale = "online";
  std::string base;
  CalibrationOptions calibration;
  bool force = false;
};

/// Sums over all tensors.
struct Totals {
  std::uint64_t weights = 0;
  std::uint64_t ternary = 0;
  std::uint64_t zeros = 0;
  std::uint64_t changed = 0;
};

Totals sum_of(const std::vector<prune::SnappedTensor>& tensors) {
  Totals sum;
  for (const prune::SnappedTensor& t : tensors) {
    sum.weights += t.weights;
    sum.ternary += t.ternary;
    sum.zeros += t.zeros;
    sum.changed += t.changed;
  }
  return sum;
}

double share(std::uint64_t part, std::uint64_t whole) {
  return static_cast<double>(part) / static_cast<double>(whole);
}

report::Table to_table(const std::vector<prune::SnappedTensor>& tensors) {
  using report::number_column;
  report::Table table({{"tensor"},
                       number_column("ternary %", 2),
                       number_column("latents' scale", 6),
                       number_column("max|w|", 6),
                       number_column("scale", 6),
                       number_column("read again", 6),
                       number_column("code 0 %", 2),
                       number_column("changed %", 3)});
  for (const prune::SnappedTensor& t : tensors) {
    table.add_row({t.name, 100 * share(t.ternary, t.weights), static_cast<double>(t.online_scale),
                   static_cast<double>(t.largest), static_cast<double>(t.scale), static_cast<double>(t.scale_again),
                   100 * share(t.zeros, t.weights), 100 * share(t.changed, t.weights)});
  }
  return table;
}

report::Record to_record(const prune::SnappedTensor& t) {
  report::Record out;
  out.set("name", t.name);
  out.set("weights", t.weights);
  out.set("ternary_latents", t.ternary);
  out.set("codes_zero", t.zeros);
  out.set("codes_changed", t.changed);
  out.set("scale_online", t.online_scale);
  out.set("largest_latent", t.largest);
  out.set("scale", t.scale);
  out.set("scale_read_again", t.scale_again);
  return out;
}

prune::Snapped snap_source(const SnapCommandOptions& o, prune::SnapRule rule, const model::Model& source,
                           const Context& context) {
  if (!prune::needs_base(rule)) return prune::snap(source, rule);
  const auto base = open_bitnet_model(o.base, "snapping", context);
  if (o.calibration.text.empty()) return prune::snap(source, rule, {.base = base.get()});
  const prune::Calibration calibration =
      calibrate_on(describe_calibration(o.calibration, *base), *base, prune::Moments::inputs, context);
  return prune::snap(source, rule, {base.get(), &calibration});
}

bool writes_gguf(const SnapCommandOptions& o) {
  return fs::path(o.out).extension() == ".gguf";
}

/// Writes what was snapped and returns the gate's hash.
std::string write_snapped(const model::Model& snapped, const SnapCommandOptions& o, Context& context) {
  const model::ExportOptions how{.replace_folder = o.force, .progress = &context.progress()};
  if (writes_gguf(o)) return model::export_gguf(snapped, o.out, tensor::DType::i2_s, how);
  return model::export_huggingface(snapped, o.out, model::HfForm::packed, how);
}

void print(const SnapCommandOptions& o, const Totals& sum, bool identical, const std::string& hash,
           const Context& context) {
  context.out() << fmt::format(
      "\nternary: latents that are 0 or ±max|w|; read again: the scale if 0 and ±scale were quantised online once "
      "more\n"
      "{:.3f} % of the latents were ternary already; {:.3f} % of the codes are 0; {} codes are others than online\n"
      "{} written, {} (nll_sha256 {:.16}…)\n",
      100 * share(sum.ternary, sum.weights), 100 * share(sum.zeros, sum.weights), sum.changed, o.out,
      identical ? "same output to the last bit" : "another output than the latents'", hash);
}

int run_snap(const SnapCommandOptions& o, Context& context) {
  const prune::SnapRule rule = prune::parse_snap_rule(o.scale);
  if (prune::needs_base(rule) == o.base.empty()) {
    throw UsageError(fmt::format("--scale {} {} --base", o.scale, o.base.empty() ? "needs" : "does not look at a"));
  }
  if (rule != prune::SnapRule::refit && !o.calibration.text.empty()) {
    throw UsageError("--calibration belongs to --scale refit");
  }
  const auto source = open_bitnet_model(o.model, "snapping", context);
  require_apart({source->path, find_model(o.base), text_path(o.calibration.text)}, o.out);
  if (!writes_gguf(o)) model::require_replaceable(o.out, o.force);
  const core::Stopwatch watch;
  const prune::Snapped snapped = snap_source(o, rule, *source, context);
  const std::string before = model::nll_sha256(model::gate_nlls(*source));
  const std::string hash = write_snapped(*snapped.model, o, context);
  const bool identical = before == hash;
  const Totals sum = sum_of(snapped.tensors);
  if (rule == prune::SnapRule::max && sum.ternary < sum.weights) {
    context.say(
        fmt::format("warning: {:.1f} % of the latents are neither 0 nor ±max|w|; max|w| is a scale only for "
                    "weights that are snapped already",
                    100 - 100 * share(sum.ternary, sum.weights)));
  }
  context.detail(fmt::format("snapped and written in {:.1f} s", watch.seconds()));
  context.out() << to_table(snapped.tensors).to_text();
  print(o, sum, identical, hash, context);

  report::Record figures;
  figures.set("output", o.out);
  figures.set("scale", o.scale);
  figures.set("base", o.base.empty() ? std::nullopt : std::optional(o.base));
  figures.set("calibration", o.calibration.text.empty() ? std::nullopt : std::optional(o.calibration.text));
  figures.set("weights", sum.weights);
  figures.set("ternary_latents", sum.ternary);
  figures.set("codes_zero", sum.zeros);
  figures.set("codes_changed", sum.changed);
  figures.set("bit_identical", identical);
  figures.set("nll_sha256_a", before);
  figures.set("nll_sha256_b", hash);
  std::vector<report::Record> tensors;
  for (const prune::SnappedTensor& t : snapped.tensors) tensors.push_back(to_record(t));
  figures.set("tensors", std::move(tensors));
  context.write_json("snap", o.model, figures);
  return 0;
}

}  // namespace

Command add_snap(CLI::App& program) {
  auto o = std::make_shared<SnapCommandOptions>();
  CLI::App* app = program.add_subcommand("snap", "Turn latents into codes and one scale a tensor, for good");
  app->add_option("MODEL", o->model, "Model with latents: Hugging Face directory, .gguf file, or embedded model")
      ->required();
  app->add_option("OUT", o->out, "Directory of packed codes to write; an i2_s file where it ends in .gguf")
      ->required()
      ->check(check_not_empty);
  app->add_option("--scale", o->scale,
                  "online (as the latents are read: no bit changes), stored (of weights that are 0 and ±s already), "
                  "max (max|w| and signs), frozen (of --base), refit (fitted to the output of --base), legacy-double "
                  "(frozen, then quantised again)")
      ->check(CLI::IsMember({"online", "stored", "max", "frozen", "refit", "legacy-double"}))
      ->capture_default_str();
  app->add_option("--base", o->base, "Model of the same shape, as before it was pruned or trained further")
      ->check(check_not_empty);
  add_calibration_options(*app, o->calibration);
  app->add_flag("--force", o->force, "Replace a directory that holds nothing but a model as rpt writes it");
  app->footer(
      "There are no other rules: the mean before a mask (online_dense) is frozen with the unpruned model as --base, "
      "and\n"
      "a learned scale would have to be trained, which no training here does.\n"
      "Examples:\n"
      "  rpt snap pruned snapped\n"
      "  rpt snap pruned snapped.gguf --scale frozen --base seedling");
  return {app, [o](Context& context) { return run_snap(*o, context); }};
}

}  // namespace rpt::cli

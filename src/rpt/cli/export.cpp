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
double mean_difference(const model::Model& a, const model::Model& b) {
  const auto x = model::gate_nlls(a);
  const auto y = model::gate_nlls(b);
  double sum = 0;
  for (std::size_t i = 0; i < x.size(); ++i) sum += y[i] - x[i];
  return sum / static_cast<double>(x.size());
}

void write_model(const ExportCommandOptions& options, const model::Model& source, core::ProgressSink& progress) {
  const model::ExportOptions how{.lossy = options.lossy, .replace_folder = options.force, .progress = &progress};
  if (options.to == "gguf") {
    const std::string type = options.type.empty() ? "i2_s" : options.type;
    model::export_gguf(source, options.out, gguf_types().at(type), how);
  } else {
    const auto form = options.to == "hf" ? model::HfForm::latents : model::HfForm::packed;
    model::export_huggingface(source, options.out, form, how);
  }
}

int run_export(const ExportCommandOptions& options, Context& context) {
  if (options.to != "gguf" && !options.type.empty()) throw UsageError("--type belongs to --to gguf");
  const auto source = open_model(options.model, context);
  const core::Stopwatch watch;
  write_model(options, *source, context.progress());
  const auto written = model::open_model(options.out);
  const std::string hash_in = model::nll_sha256(model::gate_nlls(*source));
  const std::string hash_out = model::nll_sha256(model::gate_nlls(*written));
  const bool identical = hash_in == hash_out;
  const double difference = identical ? 0 : mean_difference(*source, *written);
  context.out() << fmt::format("{} written in {:.1f} s, {}\n", options.out, watch.seconds(),
                               identical ? fmt::format("same output to the last bit (nll_sha256 {:.16}…)", hash_out)
                                         : fmt::format("mean NLL differs by {:+.6f}", difference));
  report::Record figures;
  figures.set("output", options.out);
  figures.set("form", options.to == "gguf" ? (options.type.empty() ? "i2_s" : options.type) : options.to);
  figures.set("bit_identical", identical);
  figures.set("mean_nll_difference", difference);
  figures.set("nll_sha256_a", hash_in);
  figures.set("nll_sha256_b", hash_out);
  context.write_json("export", options.model, figures);
  return 0;
}

}  // namespace

Command add_export(CLI::App& program) {
  auto options = std::make_shared<ExportCommandOptions>();
  CLI::App* app = program.add_subcommand("export", "Write a model as GGUF or as a Hugging Face directory");
  app->add_option("MODEL", options->model, "Hugging Face directory, .gguf file, or name of an embedded model")
      ->required();
  app->add_option("OUT", options->out, "File or directory to write")->required();
  app->add_option("--to", options->to, "gguf, hf (latents), hf-packed")
      ->check(CLI::IsMember({"gguf", "hf", "hf-packed"}))
      ->capture_default_str();
  app->add_option("--type", options->type,
                  "Ternary weights of a GGUF file: i2_s (default), tq1_0, tq2_0, f16, bf16, f32")
      ->check(CLI::IsMember({"i2_s", "tq1_0", "tq2_0", "f16", "bf16", "f32"}));
  app->add_flag("--lossy", options->lossy, "Accept a form that cannot hold a value exactly; says what it costs");
  app->add_flag("--force", options->force, "Replace a directory that exists and is not empty");
  app->footer("Example:\n  rpt export seedling seedling.gguf --type i2_s");
  return {app, [options](Context& context) { return run_export(*options, context); }};
}

}  // namespace rpt::cli

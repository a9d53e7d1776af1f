// SPDX-License-Identifier: MIT
#include "rpt/experiment/fine_tune.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <sstream>

#include "rpt/core/atomic_file.h"
#include "rpt/core/error.h"
#include "rpt/model/export.h"
#include "rpt/prune/linears.h"
#include "rpt/prune/snap.h"
#include "rpt/ternary/scale_rules.h"
#include "rpt/train/run.h"
#include "rpt/train/run_folder.h"
#include "rpt/train/weight_hooks.h"

namespace rpt::experiment {

namespace fs = std::filesystem;

train::FixedScaleHook::Scales scales_of(const model::Model& model) {
  train::FixedScaleHook::Scales scales;
  for (const prune::Linear& linear : prune::linear_layers(model)) {
    const ternary::AbsmeanScale s = ternary::absmean_scale(linear.latents, tensor::DType::bf16);
    scales[linear.name] = {s.inv, s.scale};
  }
  return scales;
}

std::unique_ptr<model::Model> FixedScales::snap(const model::Model& latents) const {
  const bool twice = reading == train::FixedScaleReading::twice;
  const prune::SnapRule rule = twice ? prune::SnapRule::legacy_double : prune::SnapRule::frozen;
  return prune::snap(latents, rule, {.base = base}).model;
}

std::unique_ptr<model::Model> fine_tune(std::unique_ptr<model::Model> start, const model::Masks* masks,
                                        const train::TrainConfig& config, const train::TokenStream& stream,
                                        const fs::path& folder, const Surroundings& around, const FixedScales& scales) {
  const fs::path saved = folder / "model";
  for (const fs::path& written : {saved, folder / "training.json"}) train::remove_leftovers(written);
  if (!fs::exists(saved)) {
    const model::Config shape = start->config;
    const auto parameters = train::Parameters::of_model(std::move(start), config.masters);
    if (scales.base != nullptr) {
      parameters->set_hook(std::make_shared<train::FixedScaleHook>(masks != nullptr ? *masks : model::full_masks(shape),
                                                                   scales_of(*scales.base), scales.reading));
    } else if (masks != nullptr) {
      parameters->set_hook(std::make_shared<train::MaskHook>(*masks));
    }
    core::ProgressSink& progress = *around.progress;
    bool begun = false;
    train::RunHooks hooks;
    hooks.interrupted = around.interrupted;
    hooks.warn = [&](const std::string& line) { around.say("warning: " + line); };
    hooks.step = [&](const train::StepRecord& r) {
      if (!begun) progress.begin(static_cast<std::uint64_t>(config.steps - r.step + 1), "steps", "fine-tuning");
      begun = true;
      progress.note(
          fmt::format("{}, {:.0f} tokens/s", train::describe_loss(r.loss), static_cast<double>(r.tokens) / r.seconds));
      progress.advance(1);
    };
    const bool goes_on = fs::exists(folder / "training.json");
    const train::RunResult result =
        train::run_training(config, *parameters, stream, folder, goes_on, around.machine, hooks);
    if (begun) progress.finish();
    if (result.end == train::RunEnd::interrupted) return nullptr;
    if (scales.base != nullptr) parameters->set_hook(nullptr);  // the latents, which the next level is pruned by
    model::ExportOptions options;
    options.replace_folder = true;
    model::export_huggingface(parameters->model(), saved, model::HfForm::latents, options);
  }
  return model::open_model(saved);
}

std::vector<double> step_losses(const fs::path& folder) {
  const fs::path file = folder / "metrics.jsonl";
  std::istringstream lines(core::read_file(file));
  std::vector<double> losses;
  for (std::string line; std::getline(lines, line);) {
    try {
      const auto json = nlohmann::json::parse(line);
      if (json.contains("loss") && !json["loss"].is_null()) losses.push_back(json["loss"].get<double>());
    } catch (const nlohmann::json::exception& e) {
      throw FormatError(file.string(), 0, fmt::format("line {}", losses.size() + 1), "JSON", e.what());
    }
  }
  return losses;
}

}  // namespace rpt::experiment

// SPDX-License-Identifier: MIT
#include <fmt/format.h>

#include "rpt/cli/training.h"
#include "rpt/train/weight_hooks.h"

namespace rpt::cli {
namespace {

struct FinetuneOptions {
  std::string model;
  std::string out;
  std::vector<std::string> texts;
  std::vector<std::string> also;
  std::string schedule = "cosine";
  std::string sampling = "epochs";
  std::string backward = "bf16";
  std::string state = "f32";
  std::string masters = "f32";
  std::string qat = "ste";
  std::string mask;
  train::TrainConfig config;
  bool resume = false;
  bool dry_run = false;
};

int run_finetune(const FinetuneOptions& options, Context& context) {
  TrainingJob job;
  job.command = "finetune";
  job.model = options.model;
  job.config = options.config;
  for (const std::string& text : options.texts) {
    train::Source source;
    source.text = text;
    job.config.data.push_back(source);
  }
  job.config.also_evaluate = options.also;
  job.config.seed = context.common.seed;
  job.config.schedule.kind = train::parse_schedule(options.schedule);
  job.config.sampling = train::parse_sampling(options.sampling);
  job.config.step.backward = model::parse_backward_type(options.backward);
  job.config.optimiser.state = train::parse_state(options.state);
  job.config.masters = train::parse_masters(options.masters);
  job.config.quantisation.trains_quantised = options.qat == "ste";
  job.config.stop_on_overfitting = job.config.hold_out > 0;  // else nothing tells
  train::validate(job.config, "finetune");
  job.out = options.out;
  job.resume = options.resume;
  job.dry_run = options.dry_run;
  const auto make_hook = [&options](const model::Model& model) {
    if (options.mask.empty()) return std::shared_ptr<train::MaskHook>();
    return std::make_shared<train::MaskHook>(model::read_masks(options.mask, model.config));
  };
  job.make_model = [&] { return open_bitnet_model(options.model, "fine-tuning", context); };
  job.held_bytes = [make_hook](const model::Model& model) {
    train::require_latents(model);
    const auto hook = make_hook(model);
    return hook ? hook->held_bytes() : 0;
  };
  job.make_parameters = [make_hook, masters = job.config.masters](std::unique_ptr<model::Model> model) {
    const auto hook = make_hook(*model);
    auto parameters = train::Parameters::of_model(std::move(model), masters);
    if (hook) parameters->set_hook(hook);
    return parameters;
  };
  return run_training_job(std::move(job), context);
}

}  // namespace

Command add_finetune(CLI::App& program) {
  auto options = std::make_shared<FinetuneOptions>();
  train::TrainConfig& c = options->config;
  c.steps = 300;
  c.optimiser.lr = 5e-4;
  c.optimiser.weight_decay = 0.01;
  c.hold_out = 0.05;
  c.evaluate_every = 50;
  CLI::App* app = program.add_subcommand("finetune", "Train a model further on a text");
  app->add_option("MODEL", options->model, "Model with latents: Hugging Face directory or name of an embedded model")
      ->required();
  app->add_option("OUT", options->out, "Folder for checkpoints, metrics and the model")
      ->required()
      ->check(check_not_empty);
  app->add_option("--text", options->texts,
                  "File (JSON lines of texts or conversations too), folder of .txt and .md files, or name of an "
                  "embedded text")
      ->required();
  app->add_option("--template", c.chat_template, "Chat template (Jinja) for conversations, in place of the model's own")
      ->check(check_not_empty)
      ->type_name("FILE");
  app->add_option("--also-evaluate", options->also, "Text that is scored beside: how much is forgotten");
  app->add_option("--steps", c.steps, "Optimiser steps")->capture_default_str();
  app->add_option("--batch", c.batch, "Sequences that run together")->capture_default_str();
  app->add_option("--accumulation", c.accumulation, "Batches a step")->capture_default_str();
  app->add_option("--context", c.context, "Tokens a sequence")->capture_default_str();
  app->add_option("--lr", c.optimiser.lr, "Peak learning rate")->capture_default_str();
  app->add_flag("--relative-lr", c.optimiser.relative, "The learning rate is in units of each tensor's rms");
  app->add_option("--weight-decay", c.optimiser.weight_decay, "Decoupled weight decay")->capture_default_str();
  app->add_option("--schedule", options->schedule, "constant, linear, cosine or two_stage")->capture_default_str();
  app->add_option("--warmup", c.schedule.warmup, "Steps of linear warm-up")->capture_default_str();
  app->add_option("--sampling", options->sampling, "epochs, chunks, anywhere or legacy")->capture_default_str();
  app->add_option("--hold-out", c.hold_out, "Share of the text that is held out")->capture_default_str();
  app->add_option("--evaluate-every", c.evaluate_every, "Steps between looks at the held-out text")
      ->capture_default_str();
  app->add_option("--checkpoint-every", c.checkpoint_every, "Steps between checkpoints")->capture_default_str();
  app->add_option("--backward", options->backward, "Products of the backward pass")
      ->check(CLI::IsMember({"int8", "bf16", "f32"}))
      ->capture_default_str();
  app->add_option("--state", options->state, "Moments of AdamW in memory and in checkpoints")
      ->check(CLI::IsMember({"f32", "bf16", "int8"}))
      ->capture_default_str();
  app->add_option("--masters", options->masters, "What the optimiser moves: float32 masters or the bf16 weights")
      ->check(CLI::IsMember({"f32", "bf16-nearest", "bf16-stochastic"}))
      ->capture_default_str();
  app->add_option("--qat", options->qat,
                  "ste trains the ternary model, straight through its quantisers; none its latents")
      ->check(CLI::IsMember({"ste", "none"}))
      ->capture_default_str();
  app->add_option("--mask", options->mask, "File of masks: weights pruned there are 0 and stay so");
  app->add_flag("--checkpoint-activations", c.step.checkpoint_activations, "Less memory, about a fifth more time");
  app->add_flag("--resume", options->resume, "Go on from the newest checkpoint in OUT");
  app->add_flag("--dry-run", options->dry_run, "Only estimate time, memory and disk");
  app->footer(
      "Of conversations, {\"messages\": [{\"role\", \"content\"}, ...]} a line, the assistant's answers are learnt.\n"
      "Example:\n  rpt finetune seedling runs/speeches --text sotu:train --steps 100");
  return {app, [options](Context& context) { return run_finetune(*options, context); }};
}

}  // namespace rpt::cli

// SPDX-License-Identifier: MIT
#include <fmt/format.h>

#include <iostream>
#include <optional>

#include "rpt/cli/context.h"
#include "rpt/cli/sampling_options.h"
#include "rpt/core/machine.h"
#include "rpt/core/trace.h"
#include "rpt/generate/prompt.h"
#include "rpt/generate/session.h"
#include "rpt/model/memory.h"

namespace rpt::cli {
namespace {

struct GenerateOptions {
  std::string model;
  std::string prompt;
  bool no_bos = false;
  bool no_special = false;
  generate::GenerationOptions generation;
};

/// Says and records what was generated and how fast, beside what the memory could give.
void report_speed(const GenerateOptions& options, const Context& context, const model::Model& model,
                  std::int64_t prompt_tokens, const generate::Generation& result) {
  if (context.common.quiet && context.common.json.empty()) return;
  const auto prompt_rate = rate(result.prompt_seconds > 0 ? prompt_tokens : 0, result.prompt_seconds);
  const auto generation_rate = rate(result.timed_tokens, result.generation_seconds);
  const double bytes = static_cast<double>(model::bytes_per_token(model));
  std::optional<double> achieved, bandwidth;
  if (generation_rate) {
    achieved = *generation_rate * bytes / 1e9;
    bandwidth = core::measure_read_bandwidth() / 1e9;
  }
  std::string line = fmt::format("{} prompt tokens", prompt_tokens);
  if (prompt_rate) line += fmt::format(" at {:.1f}/s", *prompt_rate);
  line += fmt::format(", {} generated", result.token_ids.size());
  if (generation_rate) {
    line += fmt::format(" at {:.1f}/s, reading {:.2f} GB/s of {:.1f} GB/s measured", *generation_rate, *achieved,
                        *bandwidth);
  }
  context.say(fmt::format("{} ({})", line, generate::name(result.reason)));

  report::Record figures;
  figures.set("text", result.text);
  figures.set("prompt_tokens", prompt_tokens);
  figures.set("generated_tokens", result.token_ids.size());
  figures.set("token_ids", std::vector<std::int64_t>(result.token_ids.begin(), result.token_ids.end()));
  figures.set("finish_reason", generate::name(result.reason));
  figures.set("prompt_tokens_per_second", prompt_rate);
  figures.set("generation_tokens_per_second", generation_rate);
  figures.set("bytes_per_token", static_cast<std::int64_t>(bytes));
  figures.set("read_gb_per_second", achieved);
  figures.set("read_bandwidth_gb_per_second", bandwidth);
  context.write_json("generate", options.model, figures);
}

int run_generate(const GenerateOptions& options, Context& context) {
  const core::ScopedTrace trace("cli::run_generate");
  const auto model = open_model(options.model, context);
  generate::GenerationOptions generation = options.generation;
  generation.sampling.seed = context.common.seed;
  generation.at_start = options.prompt.empty();
  const generate::Prompt encoded =
      generate::encode_prompt(*model, options.prompt, {.special = !options.no_special, .bos = !options.no_bos});
  const std::vector<std::int32_t>& prompt = encoded.ids;
  if (encoded.dropped_bytes > 0) {
    context.say(fmt::format("warning: {} bytes of the prompt have no token and were dropped", encoded.dropped_bytes));
  }
  if (prompt.empty()) throw UsageError("the prompt is empty and no begin-of-text token stands before it");
  const auto prompt_tokens = static_cast<std::int64_t>(prompt.size());

  generate::Session session(*model, generate::room_for(*model, prompt_tokens, generation), generation.sampling);
  session.set_progress(context.progress());
  session.append(prompt);
  bool begun = false;  // the prompt is shown once its weights have proved to be sound
  generate::TextWriter writer(*model, generation, [&](std::string_view text) {
    if (!begun) context.out() << options.prompt;
    begun = true;
    context.out() << text << std::flush;
  });
  while (writer.wants_more() && writer.accept(session.next_token())) {
  }
  const generate::Generation result = writer.finish();
  if (!begun) context.out() << options.prompt;
  context.out() << '\n';

  if (result.reason == generate::FinishReason::context_full) {
    context.say(fmt::format("the context of {} tokens is full", model->config.context));
  }
  report_speed(options, context, *model, prompt_tokens, result);
  return 0;
}

}  // namespace

Command add_generate(CLI::App& program) {
  auto options = std::make_shared<GenerateOptions>();
  CLI::App* app = program.add_subcommand("generate", "Continue a prompt");
  auto& g = options->generation;
  app->add_option("MODEL", options->model,
                  "Hugging Face directory, .gguf file, llama2.c checkpoint, or name of an embedded model")
      ->required();
  app->add_option("-p,--prompt", options->prompt, "Text to go on from");
  add_sampling_options(*app, g);
  app->add_option("--stop", g.stop, "End where this text appears (may be given several times)")
      ->allow_extra_args(false)
      ->check(check_not_empty);
  app->add_flag("--no-bos", options->no_bos, "Do not put the begin-of-text token before the prompt");
  app->add_flag("--no-special", options->no_special, "Read special tokens written in the prompt as plain text");
  app->footer("Example:\n  rpt generate seedling -p \"The old house\" -n 40");
  return {app, [options](Context& context) { return run_generate(*options, context); }, true};
}

}  // namespace rpt::cli

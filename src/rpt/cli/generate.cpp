// SPDX-License-Identifier: MIT
#include <fmt/format.h>

#include <iostream>
#include <iterator>

#include "rpt/cli/context.h"
#include "rpt/core/machine.h"
#include "rpt/core/trace.h"
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

std::vector<std::int32_t> encode_prompt(const model::Model& model, const GenerateOptions& options,
                                        const Context& context) {
  std::vector<std::int32_t> ids;
  std::uint64_t dropped = 0;
  const auto text_ids = model.vocabulary().encode(options.prompt, {.special = !options.no_special}, &dropped);
  if (dropped > 0) context.say(fmt::format("warning: {} bytes of the prompt have no token and were dropped", dropped));
  // A prompt that begins with a written BOS has one already.
  const bool written = !text_ids.empty() && model.bos_id && text_ids.front() == *model.bos_id;
  if (model.adds_bos && model.bos_id && !options.no_bos && !written) ids.push_back(*model.bos_id);
  ids.insert(ids.end(), text_ids.begin(), text_ids.end());
  return ids;
}

int run_generate(const GenerateOptions& options, Context& context) {
  const core::ScopedTrace trace("cli::run_generate");
  const auto model = open_model(options.model, context);
  generate::GenerationOptions generation = options.generation;
  generation.sampling.seed = context.common.seed;
  const std::vector<std::int32_t> prompt = encode_prompt(*model, options, context);
  const auto prompt_tokens = static_cast<std::int64_t>(prompt.size());

  generate::Session session(*model, generate::room_for(*model, prompt_tokens, generation), generation.sampling);
  session.set_progress(context.progress());
  session.append(prompt);
  generate::TextWriter writer(*model, generation, [&](std::string_view text) { context.out() << text << std::flush; });
  context.out() << options.prompt << std::flush;
  while (writer.wants_more() && writer.accept(session.next_token())) {
  }
  const generate::Generation result = writer.finish();
  context.out() << '\n';

  const auto rate = [](std::int64_t tokens, double seconds) {
    return seconds > 0 ? static_cast<double>(tokens) / seconds : 0;
  };
  const double prompt_rate = rate(prompt_tokens, result.prompt_seconds);
  const double generation_rate = rate(result.timed_tokens, result.generation_seconds);
  const std::uint64_t bytes = model::bytes_per_token(*model);
  const double achieved = generation_rate * static_cast<double>(bytes) / 1e9;
  if (result.reason == generate::FinishReason::context_full) {
    context.say(fmt::format("the context of {} tokens is full", model->config.context));
  }
  report::Record figures;
  figures.set("text", result.text);
  figures.set("prompt_tokens", prompt_tokens);
  figures.set("generated_tokens", static_cast<std::int64_t>(result.token_ids.size()));
  figures.set("token_ids", std::vector<std::int64_t>(result.token_ids.begin(), result.token_ids.end()));
  figures.set("finish_reason", std::string(generate::name(result.reason)));
  figures.set("prompt_tokens_per_second", prompt_rate);
  figures.set("generation_tokens_per_second", generation_rate);
  figures.set("bytes_per_token", static_cast<std::int64_t>(bytes));
  figures.set("read_gb_per_second", achieved);
  std::string limit;
  if (result.timed_tokens > 0) {
    const double bandwidth = core::measure_read_bandwidth();
    figures.set("read_bandwidth_gb_per_second", bandwidth / 1e9);
    limit = fmt::format(", reading {:.2f} GB/s of {:.1f} GB/s measured", achieved, bandwidth / 1e9);
  }
  context.say(fmt::format("{} prompt tokens at {:.1f}/s, {} generated at {:.1f}/s{} ({})", prompt_tokens, prompt_rate,
                          result.token_ids.size(), generation_rate, limit, generate::name(result.reason)));
  context.write_json("generate", options.model, figures);
  return 0;
}

}  // namespace

Command add_generate(CLI::App& program) {
  auto options = std::make_shared<GenerateOptions>();
  CLI::App* app = program.add_subcommand("generate", "Continue a prompt");
  auto& g = options->generation;
  app->add_option("MODEL", options->model, "Hugging Face directory, .gguf file, or name of an embedded model")
      ->required();
  app->add_option("-p,--prompt", options->prompt, "Text to go on from");
  app->add_option("-n,--tokens", g.max_tokens, "Most tokens to generate")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  app->add_option("--temperature", g.sampling.temperature, "0 takes the most likely token")
      ->check(CLI::Range(0.0, 1e6))
      ->capture_default_str();
  app->add_option("--top-k", g.sampling.top_k, "Keep the k most likely tokens (0: all)")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  app->add_option("--top-p", g.sampling.top_p, "Keep the most likely tokens up to this probability")
      ->check(CLI::Range(1e-9, 1.0))
      ->capture_default_str();
  app->add_option("--repeat-penalty", g.sampling.repeat_penalty, "Make the last 64 tokens less likely")
      ->check(CLI::Range(1e-6, 1e6))
      ->capture_default_str();
  app->add_option("--stop", g.stop, "End where this text appears (may be given several times)")
      ->check(
          [](const std::string& text) { return text.empty() ? std::string("a stop text is empty") : std::string(); });
  app->add_flag("--no-bos", options->no_bos, "Do not put the begin-of-text token before the prompt");
  app->add_flag("--no-special", options->no_special, "Read special tokens written in the prompt as plain text");
  app->footer("Example:\n  rpt generate seedling -p \"The old house\" -n 40");
  return {app, [options](Context& context) { return run_generate(*options, context); }};
}

}  // namespace rpt::cli

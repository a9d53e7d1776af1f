// SPDX-License-Identifier: MIT
#include "rpt/cli/sampling_options.h"

#include "rpt/cli/context.h"

namespace rpt::cli {
void add_sampling_options(CLI::App& app, generate::GenerationOptions& options) {
  app.add_option("-n,--tokens", options.max_tokens, "Most tokens to generate")
      ->check(check_whole_number)
      ->capture_default_str();
  app.add_option("--temperature", options.sampling.temperature, "0 takes the most likely token")
      ->check(between(0.0, 1e6))
      ->capture_default_str();
  app.add_option("--top-k", options.sampling.top_k, "Keep the k most likely tokens (0: all)")
      ->check(check_whole_number)
      ->capture_default_str();
  app.add_option("--top-p", options.sampling.top_p, "Keep the most likely tokens up to this probability")
      ->check(between(1e-9, 1.0))
      ->capture_default_str();
  app.add_option("--repeat-penalty", options.sampling.repeat_penalty, "Make the last 64 tokens less likely")
      ->check(between(1e-6, 1e6))
      ->capture_default_str();
}

std::optional<double> rate(std::int64_t tokens, double seconds) {
  if (tokens == 0 || seconds <= 0) return std::nullopt;
  return static_cast<double>(tokens) / seconds;
}

}  // namespace rpt::cli

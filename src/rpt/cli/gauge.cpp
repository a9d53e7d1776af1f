// SPDX-License-Identifier: MIT
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <iostream>

#include "rpt/cli/context.h"
#include "rpt/cli/scoring.h"
#include "rpt/core/timer.h"
#include "rpt/model/gate.h"
#include "rpt/model/gauge.h"
#include "rpt/report/table.h"

namespace rpt::cli {
namespace {

struct GaugeOptions {
  std::string model;
  std::string out;
  std::string like;
  std::string scales;
  std::string text;
  bool force = false;
};

struct ScaleRange {
  double low = 0;
  double high = 0;
};

/// "1:4". Throws UsageError.
ScaleRange parse_scales(const std::string& text) {
  ScaleRange range;
  const auto number = [](std::string_view digits, double& out) {
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), out);
    return error == std::errc() && end == digits.data() + digits.size();
  };
  const std::string_view view = text;
  const auto colon = view.find(':');
  if (colon == std::string_view::npos || !number(view.substr(0, colon), range.low) ||
      !number(view.substr(colon + 1), range.high) || !(range.low > 0) || !(range.high >= 2 * range.low) ||
      range.high > 65504) {
    throw UsageError(fmt::format("--scales {}: expected LOW:HIGH, LOW above 0, HIGH from 2 LOW to 65504", text));
  }
  return range;
}

model::Gauge choose_gauge(const GaugeOptions& options, const model::Model& source, const Context& context) {
  if (!options.scales.empty()) {
    const ScaleRange range = parse_scales(options.scales);
    return model::gauge_within(source, range.low, range.high);
  }
  if (options.like == "native") return model::native_gauge(source);
  if (options.like == "2b") return model::gauge_towards(source, model::k2b4tScales);
  if (options.like == "inverse") return model::gauge_towards(source, model::inverse(model::k2b4tScales));
  return model::gauge_towards(source, *open_bitnet_model(options.like, "a gauge", context));
}

/// The tokens on which no bit may differ: the gate's, and those of --text.
std::vector<std::vector<std::int32_t>> sequences_of(const GaugeOptions& options, const model::Model& source) {
  std::vector<std::vector<std::int32_t>> sequences{model::gate_ids(source.config)};
  if (options.text.empty()) return sequences;
  const text::Corpus corpus = text::load_corpus(find_text(options.text));
  const evaluate::TextModel reader = evaluate::text_model(source);
  // Windows that hardly overlap: every token need be read but once.
  const std::int64_t context = std::min<std::int64_t>(2048, reader.context);
  const evaluate::ProtocolOptions windows{.context = context, .stride = context - 1};
  for (evaluate::Window& window : evaluate::plan_scoring(corpus, reader, windows).windows) {
    sequences.push_back(std::move(window.tokens));
  }
  return sequences;
}

report::Table to_table(const model::GaugeReport& r) {
  using report::number_column;
  report::Table table({{"tensor"},
                       {"gain"},
                       number_column("scale before", 6),
                       number_column("j"),
                       number_column("scale after", 6),
                       number_column("low before %", 1),
                       number_column("low after %", 1)});
  for (const model::GaugedTensor& t : r.tensors) {
    table.add_row({t.name, t.gain, static_cast<double>(t.scale_before), std::int64_t{t.exponent},
                   static_cast<double>(t.scale_after), 100 * t.smallest_share_before, 100 * t.smallest_share_after});
  }
  return table;
}

report::Record to_record(const model::GaugedTensor& t) {
  report::Record out;
  out.set("name", t.name);
  out.set("gain", t.gain);
  out.set("exponent", t.exponent);
  out.set("scale_before", t.scale_before);
  out.set("scale_after", t.scale_after);
  out.set("smallest_share_before", t.smallest_share_before);
  out.set("smallest_share_after", t.smallest_share_after);
  return out;
}

void write_json(const GaugeOptions& options, const model::GaugeReport& r, const Context& context) {
  report::Record figures;
  figures.set("output", options.out);
  figures.set("like", options.like.empty() ? std::nullopt : std::optional(options.like));
  figures.set("scales", options.scales.empty() ? std::nullopt : std::optional(options.scales));
  figures.set("text", options.text.empty() ? std::nullopt : std::optional(options.text));
  figures.set("tokens", r.tokens);
  figures.set("bit_identical", true);  // else nothing would have been written
  figures.set("nll_sha256", r.nll_sha256);
  figures.set("smallest_row_maximum", r.smallest_maximum);
  figures.set("smallest_row_maximum_at", r.smallest_maximum_at);
  figures.set("smallest_moved_share", r.moved_share);
  std::vector<report::Record> tensors;
  for (const model::GaugedTensor& t : r.tensors) tensors.push_back(to_record(t));
  figures.set("tensors", std::move(tensors));
  context.write_json("gauge", options.model, figures);
}

int run_gauge(const GaugeOptions& options, Context& context) {
  if (options.like.empty() == options.scales.empty()) throw UsageError("one of --like and --scales says which gauge");
  if (!options.scales.empty()) parse_scales(options.scales);  // better now than after the model
  const auto source = open_bitnet_model(options.model, "a gauge", context);
  require_apart({source->path, find_model(options.like), text_path(options.text)}, options.out);
  model::require_replaceable(options.out, options.force);
  const core::Stopwatch watch;
  const model::Gauge gauge = choose_gauge(options, *source, context);
  const model::GaugeReport r =
      model::write_in_gauge(*source, gauge, sequences_of(options, *source), options.out,
                            {.replace_folder = options.force, .progress = &context.progress()});
  context.out() << to_table(r).to_text()
                << fmt::format("\nlow: among the smallest 30 % of all latents; {:.1f} % of these were not before\n",
                               100 * r.moved_share)
                << fmt::format("smallest row maximum before int8 {:.3g} ({}; floor 1e-05)\n", r.smallest_maximum,
                               r.smallest_maximum_at)
                << fmt::format(
                       "{} written in {:.1f} s, same output to the last bit over {} tokens (nll_sha256 {:.16}…)\n",
                       options.out, watch.seconds(), r.tokens, r.nll_sha256);
  write_json(options, r, context);
  return 0;
}

}  // namespace

Command add_gauge(CLI::App& program) {
  auto options = std::make_shared<GaugeOptions>();
  CLI::App* app =
      program.add_subcommand("gauge", "Rewrite latents and gains by powers of two, same output bit for bit");
  app->add_option("MODEL", options->model, "Hugging Face directory with latents, or name of an embedded model")
      ->required();
  app->add_option("OUT", options->out, "Directory to write")->required()->check(check_not_empty);
  app->add_option("--like", options->like,
                  "2b (scales as of BitNet b1.58 2B-4T), inverse (2b's reversed), native (gains near 1), or a model "
                  "of the same shape")
      ->check(check_not_empty);
  app->add_option("--scales", options->scales, "LOW:HIGH: every scale at least LOW and below HIGH, e.g. 1:4")
      ->check(check_not_empty);
  app->add_option("--text", options->text, "Text on which, besides 64 pseudo-random ids, no bit may differ");
  app->add_flag("--force", options->force, "Replace a directory that holds nothing but a model as rpt writes it");
  app->footer("Example:\n  rpt gauge seedling seedling-2b --like 2b");
  return {app, [options](Context& context) { return run_gauge(*options, context); }};
}

}  // namespace rpt::cli

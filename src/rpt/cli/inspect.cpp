// SPDX-License-Identifier: MIT
#include <fmt/format.h>

#include <iostream>
#include <type_traits>

#include "rpt/cli/context.h"
#include "rpt/model/memory.h"
#include "rpt/report/table.h"
#include "rpt/ternary/statistics.h"

namespace rpt::cli {
namespace {

/// What `inspect` says of one tensor.
struct TensorReport {
  std::string name;
  std::string type;
  std::int64_t rows = 0;
  std::int64_t columns = 0;
  std::uint64_t bytes = 0;
  bool ternary = false;
  std::string rule;
  double scale = 0;
  ternary::CodeStatistics codes;
  std::optional<ternary::LatentStatistics> latents;
};

class Inspector {
 public:
  explicit Inspector(core::ProgressSink& progress) : progress_(progress) {}

  std::vector<TensorReport> run(const model::Model& model) {
    std::uint64_t count = 0;
    model::visit_weights(model.weights, [&](const std::string&, const auto&) { ++count; });
    progress_.begin(count, "tensors", "inspecting");
    model::visit_weights(model.weights, [&](const std::string& name, const auto& weight) {
      look(name, weight);
      progress_.advance(1);
    });
    progress_.finish();
    return std::move(reports_);
  }

 private:
  void look(const std::string& name, const model::EmbeddingWeight& weight) {
    const auto& v = weight.unchecked();
    reports_.push_back({.name = name,
                        .type = std::string(tensor::name(v.type)),
                        .rows = v.rows,
                        .columns = v.columns,
                        .bytes = v.bytes});
  }
  void look(const std::string& name, const model::NormWeight& weight) {
    const auto n = static_cast<std::int64_t>(weight.gain.size());
    reports_.push_back({.name = name,
                        .type = std::string(tensor::name(weight.stored_type)),
                        .rows = 1,
                        .columns = n,
                        .bytes = static_cast<std::uint64_t>(n * tensor::element_size(weight.stored_type))});
  }
  void look(const std::string& name, const model::LinearWeight& linear) {
    TensorReport r{.name = name,
                   .type = std::string(tensor::name(linear.stored_type())),
                   .rows = linear.rows(),
                   .columns = linear.columns(),
                   .bytes = linear.stored_bytes()};
    r.ternary = linear.ternary();
    if (r.ternary) describe_codes(linear.weight, r);
    reports_.push_back(std::move(r));
    if (linear.output_scale) {
      reports_.push_back({.name = name + ".scale", .type = "f32", .rows = 1, .columns = 1, .bytes = sizeof(float)});
    }
  }

  static void describe_codes(const model::TernaryWeight& w, TensorReport& r) {
    r.rule = ternary::name(w.rule());
    r.scale = static_cast<double>(w.codes().scale);
    r.codes = ternary::code_statistics(w.codes());
    if (const auto latents = w.latents()) r.latents = ternary::latent_statistics(*latents);
  }

  core::ProgressSink& progress_;
  std::vector<TensorReport> reports_;
};

double share(std::uint64_t part, std::uint64_t whole) {
  return whole == 0 ? 0 : static_cast<double>(part) / static_cast<double>(whole);
}

report::Record to_record(const TensorReport& r) {
  report::Record out;
  out.set("name", r.name);
  out.set("type", r.type);
  out.set("shape", std::vector<std::int64_t>{r.rows, r.columns});
  out.set("bytes", static_cast<std::int64_t>(r.bytes));
  if (!r.ternary) return out;
  const auto total = r.codes.total();
  out.set("scale_rule", r.rule);
  out.set("scale", r.scale);
  out.set("code_minus_share", share(r.codes.negative, total));
  out.set("code_zero_share", r.codes.zero_share());
  out.set("code_plus_share", share(r.codes.positive, total));
  out.set("entropy_bits", r.codes.entropy_bits());
  out.set("dead_rows", r.codes.dead_rows);
  out.set("dead_columns", r.codes.dead_columns);
  if (r.latents) {
    out.set("latent_exact_zero_share", share(r.latents->zero, r.latents->total));
    out.set("latent_near_zero_share", share(r.latents->near_zero, r.latents->total));
    out.set("latent_minimum", static_cast<double>(r.latents->minimum));
    out.set("latent_maximum", static_cast<double>(r.latents->maximum));
    out.set("latent_mean_abs", r.latents->mean_abs);
  }
  return out;
}

report::Table to_table(const std::vector<TensorReport>& reports) {
  using report::number_column;
  report::Table table({{"tensor"},
                       {"type"},
                       {"shape"},
                       number_column("bytes", {}, true),
                       number_column("scale", 6),
                       number_column("-1 %", 2),
                       number_column("0 %", 2),
                       number_column("+1 %", 2),
                       number_column("bits/weight", 4),
                       number_column("dead rows"),
                       number_column("latents 0 %", 2),
                       number_column("near 0 %", 2)});
  for (const TensorReport& r : reports) {
    std::vector<report::Cell> row{
        r.name, r.type, r.rows == 1 ? fmt::format("[{}]", r.columns) : fmt::format("[{}, {}]", r.rows, r.columns),
        static_cast<std::int64_t>(r.bytes)};
    if (r.ternary) {
      const auto total = r.codes.total();
      row.insert(row.end(), {r.scale, 100 * share(r.codes.negative, total), 100 * r.codes.zero_share(),
                             100 * share(r.codes.positive, total), r.codes.entropy_bits(), r.codes.dead_rows});
    }
    if (r.latents) {
      row.insert(row.end(),
                 {100 * share(r.latents->zero, r.latents->total), 100 * share(r.latents->near_zero, r.latents->total)});
    }
    row.resize(12);
    table.add_row(std::move(row));
  }
  return table;
}

void print_head(const model::Model& model, const model::ParameterCount& count, std::ostream& out) {
  const model::Config& c = model.config;
  const auto line = [&](std::string_view what, const std::string& value) {
    out << fmt::format("{:<18}{}\n", what, value);
  };
  line("format", model.format);
  line("architecture", c.architecture);
  if (!c.name.empty()) line("name", c.name);
  line("parameters", fmt::format("{} ({} ternary)", count.total, count.ternary));
  line("layers", fmt::format("{}, hidden {}, feed-forward {} ({})", c.layers, c.hidden, c.feed_forward,
                             c.activation == model::Activation::relu2 ? "relu²" : "SiLU"));
  line("heads", fmt::format("{} of size {}, {} for keys and values", c.heads, c.head_size, c.kv_heads));
  line("context", fmt::format("{}, rope theta {}, norm epsilon {}", c.context, c.rope_theta, c.norm_epsilon));
  line("head", c.tied_head ? "the embedding" : "of its own");
  if (model.tokenizer) {
    const auto id = [](const std::optional<std::int32_t>& i) { return i ? std::to_string(*i) : std::string("none"); };
    line("vocabulary",
         fmt::format("{} rows, {} tokens, {}, BOS {} ({}), end of text {}", c.vocabulary, model.tokenizer->vocab_size(),
                     model.tokenizer->sentence_piece() != nullptr
                         ? "SentencePiece"
                         : "pre-tokenizer " + model.tokenizer->gguf_pre().value_or("its own"),
                     id(model.bos_id), model.adds_bos ? "added" : "not added", fmt::join(model.end_ids, ", ")));
  } else {
    line("vocabulary", fmt::format("{} rows, no tokenizer", c.vocabulary));
  }
  out << '\n';
}

int run_inspect(const std::string& name, Context& context) {
  const auto model = open_model(name, context);
  const std::vector<TensorReport> reports = Inspector(context.progress()).run(*model);
  const model::ParameterCount count = model::count_parameters(*model);
  ternary::CodeStatistics all;
  std::uint64_t bytes = 0;
  std::vector<report::Record> records;
  for (const TensorReport& r : reports) {
    all.negative += r.codes.negative;
    all.zero += r.codes.zero;
    all.positive += r.codes.positive;
    bytes += r.bytes;
    records.push_back(to_record(r));
  }
  print_head(*model, count, context.out());
  context.out() << to_table(reports).to_text();
  context.out() << '\n';
  if (count.ternary > 0) {
    context.out() << fmt::format("all codes: -1 {:.2f} %, 0 {:.2f} %, +1 {:.2f} %, {:.4f} bits per weight; ",
                                 100 * share(all.negative, all.total()), 100 * all.zero_share(),
                                 100 * share(all.positive, all.total()), all.entropy_bits());
  }
  context.out() << fmt::format("{} bytes of tensors\n", bytes);

  const model::Config& c = model->config;
  report::Record figures;
  figures.set("format", model->format);
  figures.set("architecture", c.architecture);
  figures.set("name", c.name);
  figures.set("parameters", count.total);
  figures.set("ternary_weights", count.ternary);
  figures.set("code_minus_share", share(all.negative, all.total()));
  figures.set("code_zero_share", all.zero_share());
  figures.set("code_plus_share", share(all.positive, all.total()));
  figures.set("entropy_bits", all.entropy_bits());
  figures.set("tensor_bytes", static_cast<std::int64_t>(bytes));
  figures.set("layers", c.layers);
  figures.set("hidden_size", c.hidden);
  figures.set("feed_forward_size", c.feed_forward);
  figures.set("heads", c.heads);
  figures.set("kv_heads", c.kv_heads);
  figures.set("head_size", c.head_size);
  figures.set("context_length", c.context);
  figures.set("vocabulary_size", c.vocabulary);
  figures.set("tied_head", c.tied_head);
  figures.set("end_ids", std::vector<std::int64_t>(model->end_ids.begin(), model->end_ids.end()));
  figures.set("warnings", model->warnings);
  figures.set("tensors", records);
  context.write_json("inspect", name, figures);
  return 0;
}

}  // namespace

Command add_inspect(CLI::App& program) {
  auto name = std::make_shared<std::string>();
  CLI::App* app = program.add_subcommand("inspect", "Show what is inside a model file");
  app->add_option("FILE", *name,
                  "Hugging Face directory, .gguf file, llama2.c checkpoint, or name of an embedded model")
      ->required();
  app->footer("Example:\n  rpt inspect seedling --json inspect.json");
  return {app, [name](Context& context) { return run_inspect(*name, context); }, true};
}

}  // namespace rpt::cli

// SPDX-License-Identifier: MIT
#include <fmt/format.h>
#include <sys/resource.h>

#include <algorithm>
#include <charconv>
#include <iostream>

#include "rpt/cli/context.h"
#include "rpt/core/error.h"
#include "rpt/core/machine.h"
#include "rpt/core/memory.h"
#include "rpt/core/random.h"
#include "rpt/core/timer.h"
#include "rpt/report/table.h"
#include "rpt/train/composed_limit.h"
#include "rpt/train/cost.h"

namespace rpt::cli {
namespace {

struct BenchTrainOptions {
  std::string shape = "tiny";
  std::int64_t batch = 8;
  std::int64_t context = 128;
  double seconds = 10;
  std::string backward = "bf16";
  std::string head = "bf16";
  bool checkpoint_activations = false;
};

struct NamedShape {
  const char* name;
  const char* sizes;  ///< H,F,L,A,G,V
};
constexpr NamedShape kShapes[] = {
    {"micro", "256,768,4,4,2,8192"}, {"tiny", "512,1536,6,8,2,8192"}, {"125m", "768,2304,12,12,4,32000"}};

/// The configuration of a named shape, or of six sizes H,F,L,A,G,V. Throws UsageError.
model::Config parse_shape(const std::string& text, std::int64_t context) {
  std::string sizes = text;
  for (const NamedShape& shape : kShapes) {
    if (text == shape.name) sizes = shape.sizes;
  }
  const auto fail = [&] {
    return UsageError(
        fmt::format("--shape {}: expected micro, tiny, 125m, or six sizes as 512,1536,6,8,2,8192 (hidden, "
                    "feed-forward, layers, heads, key/value heads, vocabulary)",
                    text));
  };
  model::Config c;
  const char* next = sizes.data();
  const char* const last = sizes.data() + sizes.size();
  for (std::int64_t* size : {&c.hidden, &c.feed_forward, &c.layers, &c.heads, &c.kv_heads, &c.vocabulary}) {
    if (size != &c.hidden && (next == last || *next++ != ',')) throw fail();
    const auto [end, error] = std::from_chars(next, last, *size);
    if (error != std::errc() || *size < 1) throw fail();
    next = end;
  }
  if (next != last || c.hidden % c.heads != 0) throw fail();
  c.name = text;
  c.head_size = c.hidden / c.heads;
  c.context = context;
  c.rope_theta = 500000.0;
  try {
    model::validate(c, "--shape");
  } catch (const ConfigError& e) {
    throw UsageError(e.what());
  }
  return c;
}

train::TrainConfig make_run(const BenchTrainOptions& options, std::uint64_t seed) {
  train::TrainConfig run;
  run.batch = options.batch;
  run.context = options.context;
  run.seed = seed;
  run.step = {model::runnable(model::parse_backward_type(options.backward)),
              model::runnable(model::parse_backward_type(options.head)), options.checkpoint_activations};
  if (run.step.head == model::BackwardType::int8 && run.step.backward != run.step.head) {
    throw UsageError(fmt::format("--train-head int8: goes with --backward int8, not {}", options.backward));
  }
  return run;
}

/// Rather a message than a machine without memory.
void check_memory(std::uint64_t bytes) {
  const std::uint64_t physical = core::physical_memory();
  if (physical > 0 && bytes > physical) {
    throw EnvironmentError(fmt::format("training needs about {:.1f} GB, the machine has {:.1f}",
                                       static_cast<double>(bytes) / 1e9, static_cast<double>(physical) / 1e9));
  }
}

std::uint64_t peak_resident_bytes() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<std::uint64_t>(usage.ru_maxrss) * 1024;
}

struct StepParts {
  double forward = 0;
  double loss = 0;
  double backward = 0;
  double optimiser = 0;  ///< zeroing of the gradients included
};

/// Whole optimiser steps on random tokens, each timed.
class StepBench {
 public:
  StepBench(const model::Config& config, const train::TrainConfig& run)
      : run_(run),
        parameters_(make_parameters(config, run.seed)),
        optimiser_(*parameters_, run.optimiser),
        gradient_(*parameters_, run.context, run.step) {
    gradient_.set_times(&times_);
    core::Random random = core::Random(run.seed).split(1);
    for (train::Batch& batch : batches_) {
      for (auto* ids : {&batch.tokens, &batch.targets}) {
        for (std::int64_t i = 0; i < tokens(); ++i) {
          ids->push_back(static_cast<std::int32_t>(random.below(static_cast<std::uint64_t>(config.vocabulary))));
        }
      }
    }
  }

  /// Steps for at least so many seconds, at least so many.
  void take_steps(double seconds, int least) {
    const core::Stopwatch watch;
    for (int i = 0; i < least || watch.seconds() < seconds; ++i) seconds_.push_back(step());
  }
  /// Forgets the times of the steps so far.
  void forget() {
    seconds_.clear();
    times_ = {};
    optimiser_seconds_ = 0;
  }

  std::int64_t tokens() const { return run_.batch * run_.context; }
  std::int64_t parameters() const { return parameters_->count(); }
  double first_loss() const { return first_loss_; }
  const std::vector<double>& seconds() const { return seconds_; }
  /// Mean seconds of a step's parts.
  StepParts parts() const {
    const auto n = static_cast<double>(seconds_.size());
    return {times_.forward / n, times_.loss / n, times_.backward / n, optimiser_seconds_ / n};
  }

 private:
  static std::unique_ptr<train::Parameters> make_parameters(const model::Config& config, std::uint64_t seed) {
    auto shell = std::make_unique<model::Model>();
    shell->path = "random";
    shell->format = "memory";
    shell->config = config;
    return train::Parameters::random(std::move(shell), 0.02, seed);
  }

  double step() {
    const train::Batch& batch = batches_[static_cast<std::size_t>(steps_) % std::size(batches_)];
    const core::Stopwatch watch;
    {
      const core::ScopedTimer timer(&optimiser_seconds_);
      gradient_.begin_step(run_.seed, steps_);
    }
    const double weight = 1.0 / static_cast<double>(tokens());
    const double loss = weight * gradient_.add(batch, run_.batch, static_cast<float>(weight));
    {
      const core::ScopedTimer timer(&optimiser_seconds_);
      optimiser_.step(1, 1);
    }
    if (steps_++ == 0) first_loss_ = loss;
    return watch.seconds();
  }

  train::TrainConfig run_;
  std::unique_ptr<train::Parameters> parameters_;
  train::Adamw optimiser_;
  train::GradientStep gradient_;
  train::Batch batches_[4];
  std::int64_t steps_ = 0;
  double first_loss_ = 0;
  std::vector<double> seconds_;
  train::StepTimes times_;
  double optimiser_seconds_ = 0;
};

/// What was measured, of one step where nothing else is said.
struct TrainFigures {
  model::Config config;
  train::TrainConfig run;
  std::int64_t parameters = 0;
  std::int64_t steps = 0;
  double first_loss = 0;
  double median_seconds = 0;
  double best_seconds = 0;
  StepParts parts;
  train::ComposedLimit limit;
  std::uint64_t peak_bytes = 0;
  train::RunMemory memory;

  double tokens() const { return static_cast<double>(run.batch * run.context); }
  double operations() const { return tokens() * train::operations_per_token(config, run.context); }
};

/// Steps and rates in turn, so that both see the machine in the same mood; the peak is read before the rates take
/// memory of their own.
TrainFigures measure(const model::Config& config, const train::TrainConfig& run, double seconds) {
  constexpr int kWarmUp = 2;
  constexpr int kLeast = 3;  // steps of each half
  TrainFigures f;
  f.config = config;
  f.run = run;
  f.memory = train::run_memory(config, run, {});
  StepBench bench(config, run);
  train::LimitMeter meter(train::step_products(config, run.batch, run.context, run.step),
                          train::optimiser_bytes(config));
  bench.take_steps(0, kWarmUp);
  bench.forget();
  bench.take_steps(seconds / 2, kLeast);
  f.peak_bytes = peak_resident_bytes();
  meter.measure();
  bench.take_steps(seconds / 2, kLeast);
  meter.measure();
  f.parameters = bench.parameters();
  f.steps = static_cast<std::int64_t>(bench.seconds().size());
  f.first_loss = bench.first_loss();
  f.median_seconds = train::median(bench.seconds());
  f.best_seconds = *std::min_element(bench.seconds().begin(), bench.seconds().end());
  f.parts = bench.parts();
  f.limit = meter.limit();
  return f;
}

report::Record product_record(const train::MeasuredProduct& m) {
  report::Record r;
  r.set("product", m.product.name);
  r.set("type", std::string(train::name(m.product.type)));
  r.set("m", m.product.m);
  r.set("n", m.product.n);
  r.set("k", m.product.k);
  r.set("count", m.product.count);
  r.set("operations", m.product.operations());
  r.set("gflops", m.rate / 1e9);
  r.set("own_gflops", m.own_rate / 1e9);
  return r;
}

report::Record to_record(const TrainFigures& f) {
  report::Record r;
  r.set("batch", f.run.batch);
  r.set("context", f.run.context);
  r.set("backward", std::string(model::name(f.run.step.backward)));
  r.set("train_head", std::string(model::name(f.run.step.head)));
  r.set("checkpoint_activations", f.run.step.checkpoint_activations);
  r.set("parameters", f.parameters);
  r.set("steps", f.steps);
  r.set("first_loss", f.first_loss);
  r.set("tokens_per_second", f.tokens() / f.median_seconds);
  r.set("best_tokens_per_second", f.tokens() / f.best_seconds);
  r.set("gflops", f.operations() / f.median_seconds / 1e9);
  r.set("limit_tokens_per_second", f.tokens() / f.limit.seconds());
  r.set("share_of_limit", f.limit.seconds() / f.median_seconds);
  r.set("limit_product_seconds", f.limit.product_seconds());
  r.set("limit_optimiser_seconds", f.limit.optimiser_seconds());
  r.set("optimiser_bytes", f.limit.optimiser_bytes);
  r.set("read_bandwidth_gb_per_second", f.limit.bandwidth / 1e9);
  r.set("forward_seconds", f.parts.forward);
  r.set("loss_seconds", f.parts.loss);
  r.set("backward_seconds", f.parts.backward);
  r.set("optimiser_seconds", f.parts.optimiser);
  r.set("peak_resident_bytes", f.peak_bytes);
  r.set("predicted_bytes", f.memory.total());
  r.set("predicted_weight_bytes", f.memory.weights);
  r.set("predicted_activation_bytes", f.memory.activations);
  r.set("predicted_scratch_bytes", f.memory.scratch);
  r.set("predicted_program_bytes", f.memory.program);
  std::vector<report::Record> products;
  for (const train::MeasuredProduct& m : f.limit.products) products.push_back(product_record(m));
  r.set("products", std::move(products));
  return r;
}

/// The products by name, with what the limit gives them.
std::string product_table(const train::ComposedLimit& limit) {
  using report::number_column;
  report::Table table({{"product"},
                       {"type"},
                       number_column("M"),
                       number_column("N"),
                       number_column("K"),
                       number_column("count"),
                       number_column("Gop/s", 1),
                       number_column("own Gop/s", 1),
                       number_column("ms", 3)});
  for (const train::MeasuredProduct& m : limit.products) {
    const train::StepProduct& p = m.product;
    table.add_row({p.name, std::string(train::name(p.type)), p.m, p.n, p.k, p.count, m.rate / 1e9, m.own_rate / 1e9,
                   1e3 * p.operations() / m.rate});
  }
  std::string text = table.to_text();
  text.pop_back();  // the line end, which say() and detail() add
  return text;
}

std::string to_text(const TrainFigures& f) {
  const double limit = f.limit.seconds();
  std::string text = fmt::format(
      "{}: {} parameters, {} x {} tokens a step; median of {} steps\n"
      "speed   {:.0f} tokens/s (best {:.0f}), {:.1f} Gop/s\n"
      "limit   {:.0f} tokens/s, of which {:.1f} % are reached: products {:.2f} ms, optimiser {:.2f} ms at {:.1f} "
      "GB/s\n",
      f.config.name, f.parameters, f.run.batch, f.run.context, f.steps, f.tokens() / f.median_seconds,
      f.tokens() / f.best_seconds, f.operations() / f.median_seconds / 1e9, f.tokens() / limit,
      100 * limit / f.median_seconds, 1e3 * f.limit.product_seconds(), 1e3 * f.limit.optimiser_seconds(),
      f.limit.bandwidth / 1e9);
  text += fmt::format(
      "step    {:.2f} ms: forward {:.2f}, loss {:.2f}, backward {:.2f}, optimiser {:.2f}\n"
      "memory  {:.3f} GB at the peak, {:.3f} predicted\n",
      1e3 * f.median_seconds, 1e3 * f.parts.forward, 1e3 * f.parts.loss, 1e3 * f.parts.backward,
      1e3 * f.parts.optimiser, static_cast<double>(f.peak_bytes) / 1e9, static_cast<double>(f.memory.total()) / 1e9);
  return text;
}

int run_bench_train(const BenchTrainOptions& options, Context& context) {
  core::keep_freed_memory();
  const model::Config config = parse_shape(options.shape, options.context);
  const train::TrainConfig run = make_run(options, context.common.seed);
  check_memory(train::run_memory(config, run, {}).total());
  const TrainFigures figures = measure(config, run, options.seconds);
  context.detail(product_table(figures.limit));
  context.out() << to_text(figures);
  context.write_json("bench train", options.shape, to_record(figures));
  return 0;
}

CLI::App& bench_group(CLI::App& program) {
  CLI::App& group = *program.add_subcommand("bench", "Measure speed beside its limit (rpt bench train --help)");
  group.require_subcommand(1);
  return group;
}

}  // namespace

Command add_bench_train(CLI::App& program) {
  auto options = std::make_shared<BenchTrainOptions>();
  CLI::App* app = bench_group(program).add_subcommand(
      "train", "Time training steps on random tokens, beside what their products and the memory allow");
  app->add_option("--shape", options->shape,
                  "micro, tiny, 125m, or hidden,feed-forward,layers,heads,key/value heads,vocabulary")
      ->type_name("NAME|H,F,L,A,G,V")
      ->capture_default_str();
  app->add_option("--batch", options->batch, "Sequences that run together")
      ->check(CLI::Range(1, 65536))
      ->capture_default_str();
  app->add_option("--context", options->context, "Tokens a sequence")
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str();
  app->add_option("--seconds", options->seconds, "Take steps for at least so long, and at least six")
      ->check(between(0.0, 86400.0))
      ->capture_default_str();
  app->add_option("--backward", options->backward, "Products of the backward pass")
      ->check(CLI::IsMember({"int8", "bf16", "f32"}))
      ->capture_default_str();
  app->add_option("--train-head", options->head, "Products of the head; int8 only where --backward is")
      ->check(CLI::IsMember({"int8", "bf16", "f32"}))
      ->capture_default_str();
  app->add_flag("--checkpoint-activations", options->checkpoint_activations, "Less memory, about a fifth more time");
  app->footer("Example:\n  rpt bench train --shape tiny --batch 8 --context 128 --json tiny.json");
  return {app, [options](Context& context) { return run_bench_train(*options, context); }};
}

}  // namespace rpt::cli

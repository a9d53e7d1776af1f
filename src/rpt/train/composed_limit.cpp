// SPDX-License-Identifier: MIT
#include "rpt/train/composed_limit.h"

#include <algorithm>
#include <functional>
#include <map>
#include <tuple>

#include "rpt/core/machine.h"
#include "rpt/core/parallel.h"
#include "rpt/core/random.h"
#include "rpt/core/timer.h"
#include "rpt/tensor/ops.h"
#include "rpt/tensor/product.h"
#include "rpt/ternary/layouts.h"
#include "rpt/train/cost.h"
#include "rpt/train/loss.h"

namespace rpt::train {
namespace {

struct Linear {
  const char* name;
  std::int64_t inputs;
  std::int64_t outputs;
  bool adds_to_input;  ///< its dX joins that of an earlier linear with the same input
};

std::vector<Linear> linears_of_block(const model::Config& c) {
  return {{"attn_q", c.hidden, c.query_size(), false},   {"attn_k", c.hidden, c.kv_size(), true},
          {"attn_v", c.hidden, c.kv_size(), true},       {"attn_output", c.query_size(), c.hidden, false},
          {"ffn_gate", c.hidden, c.feed_forward, false}, {"ffn_up", c.hidden, c.feed_forward, true},
          {"ffn_down", c.feed_forward, c.hidden, false}};
}

ProductType product_type(model::BackwardType wanted) {
  const model::BackwardType type = model::runnable(wanted);
  return type == model::BackwardType::int8   ? ProductType::int8
         : type == model::BackwardType::bf16 ? ProductType::bf16
                                             : ProductType::f32;
}

/// The three products of the head over a piece of `rows` tokens; of several pieces all but the first add to dW.
void add_head(std::vector<StepProduct>& products, const model::Config& c, std::int64_t rows, std::int64_t count,
              ProductType type, bool several) {
  if (rows == 0 || count == 0) return;
  StepProduct p;
  p.type = type == ProductType::int8 ? product_type(model::BackwardType::bf16) : type;
  p.count = count;
  const auto add = [&](const char* pass, std::int64_t m, std::int64_t n, std::int64_t k) {
    p.name = fmt::format("head {}, {} rows", pass, rows);
    p.m = m;
    p.n = n;
    p.k = k;
    products.push_back(p);
  };
  p.b_transposed = true;
  add("forward", rows, c.vocabulary, c.hidden);
  p.b_transposed = false;
  p.type = type;
  add("dX", rows, c.hidden, c.vocabulary);
  p.a_transposed = true;
  p.accumulate = several;
  add("dW", c.vocabulary, c.hidden, rows);
}

/// The products of attention for `sequences` sequences.
void add_attention(std::vector<StepProduct>& products, const model::Config& c, std::int64_t sequences,
                   std::int64_t context, const StepOptions& options) {
  const ProductType backward =
      model::attention_in_bf16(model::runnable(options.backward), c.head_size) ? ProductType::bf16 : ProductType::f32;
  const std::int64_t once = sequences * c.heads * c.layers;
  StepProduct p;
  p.causal = true;
  p.m = context;
  const auto add = [&](const char* name, bool of_pairs, ProductType type, std::int64_t count) {
    p.name = fmt::format("attention {}", name);
    p.type = type;
    p.n = of_pairs ? context : c.head_size;
    p.k = of_pairs ? c.head_size : context;
    p.count = count;
    products.push_back(p);
  };
  const std::int64_t forward = options.checkpoint_activations ? 2 * once : once;
  add("scores", true, ProductType::f32, forward);
  add("values", false, ProductType::f32, forward);
  add("dP", true, backward, once);
  for (const char* name : {"dQ", "dK", "dV"}) add(name, false, backward, once);
}

/// The products of BitLinears and head in `count` pieces of `tokens` tokens each; of `several` pieces all but the first
/// add to dW.
void add_piece(std::vector<StepProduct>& products, const model::Config& c, std::int64_t tokens, std::int64_t count,
               bool several, const StepOptions& options) {
  if (tokens == 0) return;
  for (const Linear& l : linears_of_block(c)) {
    StepProduct p;
    const auto add = [&](const char* pass, std::int64_t m, std::int64_t n, std::int64_t k) {
      p.name = fmt::format("{} {}", l.name, pass);
      p.m = m;
      p.n = n;
      p.k = k;
      products.push_back(p);
    };
    p.type = ProductType::ternary;
    p.b_transposed = true;
    p.count = count * (options.checkpoint_activations ? 2 * c.layers : c.layers);
    add("forward", tokens, l.outputs, l.inputs);
    p.type = product_type(options.backward);
    p.count = count * c.layers;
    p.b_transposed = false;
    p.scaled = true;
    p.accumulate = l.adds_to_input;
    add("dX", tokens, l.inputs, l.outputs);
    p.scaled = false;
    p.accumulate = several;
    p.a_transposed = true;
    add("dW", l.outputs, l.inputs, tokens);
  }
  const std::int64_t most = HeadLoss::rows_at_once(c.vocabulary);
  several = several || tokens > most;
  add_head(products, c, most, count * (tokens / most), product_type(options.head), several);
  add_head(products, c, tokens % most, count, product_type(options.head), several);
}

/// The product that is timed for a product: it, or for one of attention a square one that shows what the type can do.
StepProduct timed(const StepProduct& p) {
  if (!p.causal) return p;
  constexpr std::int64_t kSize = 1024;
  StepProduct square;
  square.type = p.type;
  square.m = square.n = square.k = kSize;
  return square;
}

/// What decides how fast a product is.
auto key(const StepProduct& p) {
  return std::tuple(p.type, p.m, p.n, p.k, p.a_transposed, p.b_transposed, p.scaled, p.accumulate);
}

/// Seconds of single calls, after one that is not counted: at least three, and as many as fit two milliseconds.
void time_calls(const std::function<void()>& call, std::vector<double>& seconds) {
  call();
  const core::Stopwatch all;
  for (int i = 0; i < 3 || all.seconds() < 2e-3; ++i) {
    const core::Stopwatch watch;
    call();
    seconds.push_back(watch.seconds());
  }
}

/// An operand [rows, columns] after `transposed`, of numbers ±1 … ±2.
tensor::Operand random_operand(core::AlignedBuffer<std::uint64_t>& buffer, tensor::DType type, std::int64_t rows,
                               std::int64_t columns, bool transposed) {
  buffer.resize(static_cast<std::size_t>((rows * columns * tensor::element_size(type) + 7) / 8));
  core::Random random(1);
  // One pattern serves all types: sign and mantissa are random, the exponent that of 1.
  for (std::uint64_t& word : buffer.span()) word = (random.next() & 0x807f807f807f807fU) | 0x3f803f803f803f80U;
  if (transposed) std::swap(rows, columns);
  return {buffer.data(), type, rows, columns, columns, transposed};
}

void time_dense(const StepProduct& p, std::vector<double>& seconds) {
  const tensor::DType type = p.type == ProductType::f32 ? tensor::DType::f32 : tensor::DType::bf16;
  core::AlignedBuffer<std::uint64_t> a_values, b_values;
  const tensor::Operand a = random_operand(a_values, type, p.m, p.k, p.a_transposed);
  const tensor::Operand b = random_operand(b_values, type, p.k, p.n, p.b_transposed);
  tensor::Tensor c(p.m, p.n);
  const std::optional<float> factor = p.scaled ? std::optional(0.5F) : std::nullopt;
  time_calls([&] { tensor::multiply(a, b, factor, p.accumulate, c.view()); }, seconds);
}

/// The int8 product alone, of random numbers, split over threads by rows or columns of the result, the larger one.
void time_int8(const StepProduct& p, std::vector<double>& seconds) {
  if (!tensor::multiplies_int8()) return;
  core::AlignedBuffer<std::uint64_t> a_values, b_values;
  const auto* a = static_cast<const std::int8_t*>(random_operand(a_values, tensor::DType::i8, p.m, p.k, false).data);
  const auto* b = static_cast<const std::int8_t*>(random_operand(b_values, tensor::DType::i8, p.n, p.k, false).data);
  core::AlignedBuffer<std::int32_t> c(static_cast<std::size_t>(p.m * p.n));
  const bool by_rows = p.m >= p.n;
  const std::int64_t length = by_rows ? p.m : p.n;
  const std::int64_t part = ((length + core::threads() - 1) / core::threads() + 15) / 16 * 16;
  const auto multiply = [&](std::int64_t begin, std::int64_t end) {
    const std::int64_t row = by_rows ? begin : 0;
    const std::int64_t column = by_rows ? 0 : begin;
    tensor::multiply_int8(a + row * p.k, p.k, b + column * p.k, p.k, by_rows ? end - begin : p.m,
                          by_rows ? p.n : end - begin, p.k, c.data() + row * p.n + column, p.n);
  };
  time_calls([&] { core::parallel_for(length, part, multiply); }, seconds);
}

void time_int8_rows(const StepProduct& p, std::vector<double>& seconds) {
  if (!tensor::multiplies_int8()) return;
  core::AlignedBuffer<std::uint64_t> a_values, b_values;
  const tensor::Operand a = random_operand(a_values, tensor::DType::i8, p.m, p.k, p.a_transposed);
  const tensor::Operand b = random_operand(b_values, tensor::DType::i8, p.k, p.n, p.b_transposed);
  const std::vector<float> factors(static_cast<std::size_t>(p.m), 0.5F);
  tensor::Tensor c(p.m, p.n);
  time_calls([&] { tensor::multiply_int8_rows(a, b, factors, p.accumulate, c.view()); }, seconds);
}

void time_ternary(const StepProduct& p, std::vector<double>& seconds) {
  core::Random random(2);
  std::vector<std::int8_t> codes(static_cast<std::size_t>(p.n * p.k));
  for (std::int8_t& code : codes) code = static_cast<std::int8_t>(static_cast<int>(random.below(3)) - 1);
  const auto weights = ternary::pack(tensor::DType::i2_s, p.n, p.k, 1.0F, codes);
  core::AlignedBuffer<std::uint64_t> values;
  random_operand(values, tensor::DType::f32, p.m, p.k, false);
  tensor::QuantisedRows x;
  tensor::quantise_rows({reinterpret_cast<const float*>(values.data()), p.m, p.k}, x);
  tensor::Tensor y(p.m, p.n);
  time_calls([&] { tensor::matmul_ternary(weights.view(), x, y.view()); }, seconds);
}

}  // namespace

std::string_view name(ProductType type) {
  switch (type) {
    case ProductType::ternary:
      return "ternary";
    case ProductType::bf16:
      return "bf16";
    case ProductType::int8:
      return "int8";
    default:
      return "f32";
  }
}

double StepProduct::operations() const {
  // Of M² pairs of positions M (M + 1) / 2 count, and one of N and K is M.
  const double of_rows = causal ? static_cast<double>(m + 1) : 2.0 * static_cast<double>(m);
  return of_rows * static_cast<double>(n) * static_cast<double>(k) * static_cast<double>(count);
}

std::vector<StepProduct> step_products(const model::Config& c, std::int64_t batch, std::int64_t context,
                                       const StepOptions& options) {
  std::vector<StepProduct> products;
  const std::int64_t together = rows_together(batch, context);
  add_piece(products, c, together * context, batch / together, batch > together, options);
  add_piece(products, c, batch % together * context, 1, true, options);
  add_attention(products, c, batch, context, options);
  return products;
}

double optimiser_bytes(const model::Config& config) {
  return 34.0 * static_cast<double>(parameter_count(config));
}

double ComposedLimit::product_seconds() const {
  double sum = 0;
  for (const MeasuredProduct& m : products) sum += m.product.operations() / m.rate;
  return sum;
}

double LimitMeter::Timing::own_rate() const {
  return product.operations() / static_cast<double>(product.count) / median(own);
}

double LimitMeter::Timing::rate() const {
  return int8.empty() ? own_rate() : std::max(own_rate(), own_rate() * median(own) / median(int8));
}

LimitMeter::LimitMeter(std::vector<StepProduct> products, double optimiser_bytes)
    : products_(std::move(products)), optimiser_bytes_(optimiser_bytes) {
  for (const StepProduct& p : products_) {
    const StepProduct representative = timed(p);
    const auto same = [&](const Timing& t) { return key(t.product) == key(representative); };
    const auto found = std::find_if(timings_.begin(), timings_.end(), same);
    timing_of_.push_back(static_cast<std::size_t>(found - timings_.begin()));
    if (found == timings_.end()) timings_.push_back({representative, {}, {}});
  }
}

void LimitMeter::measure() {
  for (Timing& t : timings_) {
    switch (t.product.type) {
      case ProductType::ternary:
        time_ternary(t.product, t.own);
        time_int8(t.product, t.int8);
        break;
      case ProductType::int8:
        time_int8_rows(t.product, t.own);
        time_int8(t.product, t.int8);
        break;
      default:
        time_dense(t.product, t.own);
    }
  }
  bandwidth_ = std::max(bandwidth_, core::measure_read_bandwidth());
}

ComposedLimit LimitMeter::limit() const {
  ComposedLimit limit{{}, optimiser_bytes_, bandwidth_};
  std::map<ProductType, double> best_of_type;
  for (const Timing& t : timings_) {
    double& best = best_of_type[t.product.type];
    best = std::max(best, t.rate());
  }
  for (std::size_t i = 0; i < products_.size(); ++i) {
    const Timing& t = timings_[timing_of_[i]];
    const double best = products_[i].causal ? best_of_type.at(products_[i].type) : t.rate();
    limit.products.push_back({products_[i], best, products_[i].causal ? best : t.own_rate()});
  }
  return limit;
}

double median(std::vector<double> values) {
  RPT_CHECK(!values.empty(), "the median of nothing");
  std::sort(values.begin(), values.end());
  const std::size_t middle = values.size() / 2;
  return values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
}

}  // namespace rpt::train

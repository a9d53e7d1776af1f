// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "rpt/model/config.h"
#include "rpt/train/step.h"

/// The composed limit of a training step: the time that it would take if it were nothing but its products, each at the
/// rate that this machine reaches for exactly that product, and the traffic of its optimiser at the speed of memory.
/// Letters: T tokens of a step; M, N, K of a product as in tensor/product.h.
namespace rpt::train {

enum class ProductType : std::uint8_t {
  ternary,  ///< int8 by ternary codes, exact
  bf16,     ///< sums in float
  int8,     ///< exact sums
  f32,
};

/// "ternary", "bf16", "int8", "f32".
std::string_view name(ProductType type);

/// A product c [M, N] = a [M, K] · b [K, N] of a step, as it is computed there.
struct StepProduct {
  std::string name;  ///< the weight and the pass: "attn_q forward", "attn_q dX", "attn_q dW"; or "attention scores"
  ProductType type = ProductType::bf16;
  std::int64_t m = 0;
  std::int64_t n = 0;
  std::int64_t k = 0;
  bool a_transposed = false;
  bool b_transposed = false;
  bool scaled = false;      ///< by a factor that is not 1
  bool accumulate = false;  ///< added to c
  bool causal = false;     ///< of attention: its M positions see themselves and those before, (M + 1) / 2M of it counts
  std::int64_t count = 1;  ///< how often a step computes it

  /// Of all `count` of them: 2·M·N·K each, or what counts of it.
  double operations() const;
};

/// The products of one step over `batch` sequences of `context` tokens, rows_together() of them at a time: three for
/// each BitLinear, six of each sequence and head of attention (scores, weighted values, and the four of their
/// gradients; that the backward pass makes the scores again does not count), and the output head's three in pieces of
/// HeadLoss::rows_at_once. Where activations are checkpointed, the forward ones of blocks come twice.
std::vector<StepProduct> step_products(const model::Config& config, std::int64_t batch, std::int64_t context,
                                       const StepOptions& options);

/// Bytes that clipping and AdamW move with float32 masters and moments, 34 for each trained value: the gradient is read
/// for the norm and for the step (8); master and two moments are read and written (24), the bf16 value is written (2).
double optimiser_bytes(const model::Config& config);

/// A product with the rates that were measured for it, in operations a second.
struct MeasuredProduct {
  StepProduct product;
  double rate = 0;      ///< the limit's
  double own_rate = 0;  ///< of what the step calls, which for ternary and int8 is more than the product; of attention,
                        ///< whose kernels are not timed alone, the limit's
};

struct ComposedLimit {
  std::vector<MeasuredProduct> products;
  double optimiser_bytes = 0;
  double bandwidth = 0;  ///< bytes a second

  double product_seconds() const;
  double optimiser_seconds() const { return optimiser_bytes / bandwidth; }
  /// Of one step.
  double seconds() const { return product_seconds() + optimiser_seconds(); }
};

/// Measures what a composed limit consists of.
class LimitMeter {
 public:
  LimitMeter(std::vector<StepProduct> products, double optimiser_bytes);

  /// Times every product three times or more, those of equal shape once, and reads memory. Called several times,
  /// between the steps that are compared with the limit, it sees the machine as they do. Cost: about four times that of
  /// the products of a step whose layers are all one, and operands of the largest product in memory.
  void measure();

  /// Medians over all calls of measure(), of which there must have been one; the bandwidth is the best one. The limit
  /// of a ternary product is the better of tensor::matmul_ternary and, where the processor has it, the int8 product of
  /// the same shape (tensor::multiply_int8) of codes that are unpacked already; that of an attention product the best
  /// rate of its type, be it of another product of the step or of a square one of 1,024.
  ComposedLimit limit() const;

 private:
  /// Products that are timed together, since they differ in name and count only.
  struct Timing {
    StepProduct product;
    std::vector<double> own;   ///< seconds of tensor::matmul_ternary or tensor::multiply
    std::vector<double> int8;  ///< seconds of tensor::multiply_int8; none for other types and processors

    double own_rate() const;  ///< operations a second of `own`
    double rate() const;      ///< of the better one
  };

  std::vector<StepProduct> products_;
  std::vector<Timing> timings_;
  std::vector<std::size_t> timing_of_;  ///< by product
  double optimiser_bytes_;
  double bandwidth_ = 0;
};

/// The middle one, or the mean of the middle two. There must be one.
double median(std::vector<double> values);

}  // namespace rpt::train

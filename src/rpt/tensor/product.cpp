// SPDX-License-Identifier: MIT
#include "rpt/tensor/product.h"

#include <algorithm>
#include <limits>
#include <oneapi/dnnl/dnnl.hpp>
#include <unordered_map>
#include <utility>

#include "rpt/core/aligned_buffer.h"
#include "rpt/core/parallel.h"
#include "rpt/kernels/isa.h"
#include "rpt/tensor/panels.h"

// oneDNN would use OpenMP's threads, which spin beside ours for milliseconds after each product. So every product is
// cut into one part a thread of ours, and each of them calls oneDNN as if it were alone.
extern "C" void omp_set_num_threads(int count);

namespace rpt::tensor {
namespace {

using dnnl::memory;

memory::data_type data_type(DType type) {
  return type == DType::bf16 ? memory::data_type::bf16
         : type == DType::i8 ? memory::data_type::s8
                             : memory::data_type::f32;
}

/// All that makes one oneDNN primitive differ from another.
struct Shape {
  std::int64_t m, n, k, a_stride, b_stride, c_stride;
  DType type;
  bool a_transposed, b_transposed, accumulate, scaled;

  bool operator==(const Shape&) const = default;
};

struct ShapeHash {
  std::size_t operator()(const Shape& s) const {
    std::size_t h = 0;
    for (const std::int64_t v : {s.m, s.n, s.k, s.a_stride, s.b_stride, s.c_stride, static_cast<std::int64_t>(s.type),
                                 std::int64_t{s.a_transposed}, std::int64_t{s.b_transposed}, std::int64_t{s.accumulate},
                                 std::int64_t{s.scaled}}) {
      h = h * 1'000'003U + static_cast<std::size_t>(v);
    }
    return h;
  }
};

/// [rows, columns] as oneDNN sees it, after the transposition.
memory::desc describe(std::int64_t rows, std::int64_t columns, std::int64_t stride, bool transposed,
                      memory::data_type type) {
  const memory::dims strides = transposed ? memory::dims{1, stride} : memory::dims{stride, 1};
  return {memory::dims{rows, columns}, type, strides};
}

struct Primitive {
  memory::desc a, b, c, scratch;
  dnnl::matmul run;

  Primitive(const Shape& s, const dnnl::engine& engine)
      : a(describe(s.m, s.k, s.a_stride, s.a_transposed, data_type(s.type))),
        b(describe(s.k, s.n, s.b_stride, s.b_transposed, data_type(s.type))),
        c(describe(s.m, s.n, s.c_stride, false,
                   s.type == DType::i8 ? memory::data_type::s32 : memory::data_type::f32)) {
    dnnl::primitive_attr attributes;
    if (s.scaled) attributes.set_output_scales(0, {DNNL_RUNTIME_F32_VAL});
    if (s.accumulate) {
      dnnl::post_ops add;
      add.append_sum(1.0F);
      attributes.set_post_ops(add);
    }
    attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
    const dnnl::matmul::primitive_desc description(dnnl::matmul::desc(a, b, c), attributes, engine);
    scratch = description.scratchpad_desc();
    run = dnnl::matmul(description);
  }
};

/// oneDNN as one thread sees it: its primitives, and the scratch space that they share (oneDNN's own would be mapped
/// and cleared again for each product, which costs up to 6 % of a training step).
class Library {
 public:
  static Library& of_this_thread() {
    static thread_local Library library;
    return library;
  }

  void multiply(const Shape& shape, const void* a, const void* b, float alpha, void* c) {
    auto found = primitives_.find(shape);
    if (found == primitives_.end()) {
      if (primitives_.size() >= kMostPrimitives) primitives_.clear();
      found = primitives_.try_emplace(shape, shape, engine_).first;
    }
    Primitive& p = found->second;
    memory from_a(p.a, engine_, const_cast<void*>(a));
    memory from_b(p.b, engine_, const_cast<void*>(b));
    memory to_c(p.c, engine_, c);
    scratch_.reserve_scratch(p.scratch.get_size());
    std::unordered_map<int, memory> arguments{{DNNL_ARG_SRC, from_a},
                                              {DNNL_ARG_WEIGHTS, from_b},
                                              {DNNL_ARG_DST, to_c},
                                              {DNNL_ARG_SCRATCHPAD, memory(p.scratch, engine_, scratch_.data())}};
    if (shape.scaled) {
      const memory::desc one({1}, memory::data_type::f32, memory::dims{1});
      arguments.emplace(DNNL_ARG_ATTR_OUTPUT_SCALES, memory(one, engine_, &alpha));
    }
    p.run.execute(stream_, arguments);
    stream_.wait();
  }

 private:
  Library() : engine_(dnnl::engine::kind::cpu, 0), stream_(engine_) { omp_set_num_threads(1); }

  static constexpr std::size_t kMostPrimitives = 256;
  dnnl::engine engine_;
  dnnl::stream stream_;
  std::unordered_map<Shape, Primitive, ShapeHash> primitives_;
  core::AlignedBuffer<std::byte> scratch_;
};

/// Rows and columns as the product uses them.
std::pair<std::int64_t, std::int64_t> used_shape(const Operand& x) {
  return x.transposed ? std::pair{x.columns, x.rows} : std::pair{x.rows, x.columns};
}

/// Element (row, column) of the matrix as the product uses it.
const void* element(const Operand& x, std::int64_t row, std::int64_t column) {
  if (x.transposed) std::swap(row, column);
  return static_cast<const char*>(x.data) + (row * x.stride + column) * element_size(x.type);
}

}  // namespace

Operand operand(MatrixView x, bool transposed) {
  return {x.data, DType::f32, x.rows, x.columns, x.stride, transposed};
}

Operand operand(const std::uint16_t* bf16, std::int64_t rows, std::int64_t columns, bool transposed) {
  return {bf16, DType::bf16, rows, columns, columns, transposed};
}

void multiply(const Operand& a, const Operand& b, std::optional<float> alpha, bool accumulate, MutableMatrix c) {
  // No bindings: clang 14 does not capture them in a lambda.
  const std::int64_t m = used_shape(a).first;
  const std::int64_t k = used_shape(a).second;
  const std::int64_t b_rows = used_shape(b).first;
  const std::int64_t n = used_shape(b).second;
  const bool known = a.type == DType::f32 || a.type == DType::bf16;
  if (b_rows != k || c.rows != m || c.columns != n || a.type != b.type || !known) {
    throw ShapeError(fmt::format("multiply: {} [{}, {}] by {} [{}, {}] into [{}, {}]", name(a.type), m, k, name(b.type),
                                 b_rows, n, c.rows, c.columns));
  }
  if (m == 0 || n == 0) return;
  RPT_CHECK(k > 0, "a sum of no terms");
  const bool by_rows = m >= n;
  const std::int64_t length = by_rows ? m : n;
  const std::int64_t even = (length + core::threads() - 1) / core::threads();
  const std::int64_t part = (even + 15) / 16 * 16;
  core::parallel_for(length, part, [&, m = m, n = n, k = k](std::int64_t begin, std::int64_t end) {
    const std::int64_t row = by_rows ? begin : 0;
    const std::int64_t column = by_rows ? 0 : begin;
    const Shape shape{by_rows ? end - begin : m,
                      by_rows ? n : end - begin,
                      k,
                      a.stride,
                      b.stride,
                      c.stride,
                      a.type,
                      a.transposed,
                      b.transposed,
                      accumulate,
                      alpha.has_value()};
    Library::of_this_thread().multiply(shape, element(a, row, 0), element(b, 0, column), alpha.value_or(1.0F),
                                       c.row(row) + column);
  });
}

void multiply_int8(const std::int8_t* a, std::int64_t a_stride, const std::int8_t* b, std::int64_t b_stride,
                   std::int64_t m, std::int64_t n, std::int64_t k, std::int32_t* c, std::int64_t c_stride) {
  RPT_CHECK(multiplies_int8() && m > 0 && n > 0 && k > 0, "[{}, {}, {}]", m, n, k);
  const Shape shape{m, n, k, a_stride, b_stride, c_stride, DType::i8, false, true, false, false};
  Library::of_this_thread().multiply(shape, a, b, 1.0F, c);
}

namespace {

/// Rows of c that a thread computes at a time: its int32 sums stay in the caches.
std::int64_t int8_rows_at_once(std::int64_t m) {
  constexpr std::int64_t kMost = 256;
  const std::int64_t even = (m + core::threads() - 1) / core::threads();
  return std::min((even + 15) / 16 * 16, kMost);
}

}  // namespace

void multiply_int8_rows(const Operand& a, const Operand& b, std::span<const float> factors, bool accumulate,
                        MutableMatrix c) {
  const std::int64_t m = used_shape(a).first;
  const std::int64_t k = used_shape(a).second;
  const std::int64_t n = used_shape(b).second;
  if (a.type != DType::i8 || b.type != DType::i8 || used_shape(b).first != k || c.rows != m || c.columns != n ||
      std::cmp_not_equal(factors.size(), m) || k > kMostInt8Terms) {
    throw ShapeError(fmt::format("multiply_int8_rows: {} [{}, {}] by {} [{}, {}] into [{}, {}] with {} factors",
                                 name(a.type), m, k, name(b.type), used_shape(b).first, n, c.rows, c.columns,
                                 factors.size()));
  }
  if (m == 0 || n == 0) return;
  RPT_CHECK(multiplies_int8() && k > 0, "[{}, {}, {}]", m, n, k);
  if (uses_panels() && !b.transposed) return multiply_int8_panels(a, b, factors, accumulate, c);
  const auto& table = kernels::active();
  const std::int64_t part = int8_rows_at_once(m);
  core::parallel_for((m + part - 1) / part, 1, [&, n, k](std::int64_t first, std::int64_t last) {
    static thread_local core::AlignedBuffer<std::int32_t> sums;
    for (std::int64_t p = first; p < last; ++p) {
      const std::int64_t begin = p * part;
      const std::int64_t end = std::min(begin + part, m);
      sums.reserve_scratch(static_cast<std::size_t>((end - begin) * n));
      const Shape shape{end - begin, n, k, a.stride, b.stride, n, DType::i8, a.transposed, b.transposed, false, false};
      Library::of_this_thread().multiply(shape, element(a, begin, 0), b.data, 1.0F, sums.data());
      for (std::int64_t i = begin; i < end; ++i) {
        const auto finish = accumulate ? table.add_scaled_int32 : table.scale_int32;
        finish(sums.data() + (i - begin) * n, n, factors[static_cast<std::size_t>(i)], c.row(i));
      }
    }
  });
}

std::uint64_t multiply_int8_rows_scratch(std::int64_t m, std::int64_t n, std::int64_t k, bool a_transposed) {
  if (uses_panels()) return int8_panels_scratch(m, n, k, a_transposed);
  const std::int64_t part = int8_rows_at_once(m);
  const std::int64_t busy = std::min<std::int64_t>(core::threads(), (m + part - 1) / part);
  return static_cast<std::uint64_t>(busy * part * n * 4);
}

bool multiplies_int8() {
  const dnnl::cpu_isa isa = dnnl::get_effective_cpu_isa();
  return isa == dnnl::cpu_isa::avx512_core_vnni || isa == dnnl::cpu_isa::avx512_core_bf16 ||
         isa == dnnl::cpu_isa::avx512_core_amx;
}

bool multiplies_bf16() {
  const dnnl::cpu_isa isa = dnnl::get_effective_cpu_isa();
  return isa == dnnl::cpu_isa::avx512_core_bf16 || isa == dnnl::cpu_isa::avx512_core_amx;
}

}  // namespace rpt::tensor

// SPDX-License-Identifier: MIT
#include "rpt/tensor/panels.h"

#include <algorithm>
#include <functional>
#include <oneapi/dnnl/dnnl.hpp>
#include <vector>

#include "rpt/core/aligned_buffer.h"
#include "rpt/core/parallel.h"
#include "rpt/kernels/isa.h"

namespace rpt::tensor {
namespace {

constexpr std::int64_t kPanel = kernels::kPanelColumns;

std::int64_t rounded_up(std::int64_t n, std::int64_t multiple) {
  return (n + multiple - 1) / multiple * multiple;
}

std::int64_t panels(std::int64_t columns) {
  return (columns + kPanel - 1) / kPanel;
}

/// Of weights with so many columns, whose codes are stored in groups of 128.
std::int64_t panel_bytes(std::int64_t columns) {
  return rounded_up(columns, 128) * kPanel;
}

/// Tokens that a thread multiplies with a panel at a time: about eight parts a thread, so that none waits long for
/// another one at the end, but not so few tokens that packing a panel would show, unless threads had nothing to do.
std::int64_t tokens_at_once(std::int64_t tokens, std::int64_t rows) {
  constexpr std::int64_t kFewest = 192;
  constexpr std::int64_t kFewestOfMany = 24;  // where some threads would be idle
  constexpr std::int64_t kTile = 6;
  const auto at_most = [&](std::int64_t parts, std::int64_t fewest) {
    return std::clamp<std::int64_t>(parts, 1, std::max<std::int64_t>(tokens / fewest, 1));
  };
  const std::int64_t wanted = at_most(8 * core::threads() / panels(rows), kFewest);
  const std::int64_t busy = at_most((core::threads() + panels(rows) - 1) / panels(rows), kFewestOfMany);
  const std::int64_t parts = std::max(wanted, busy);
  return rounded_up((tokens + parts - 1) / parts, kTile);
}

std::uint8_t* panel_of_this_thread(std::int64_t bytes) {
  static thread_local core::AlignedBuffer<std::uint8_t> panel;
  panel.reserve_scratch(static_cast<std::size_t>(bytes));
  return panel.data();
}

/// `whole`, whose rows stand where they are, against a right operand of `columns` columns: each part of the rows has
/// its own panels, of `bytes` bytes, which pack(column, count, out) makes of `count` columns.
void multiply_rows(const kernels::PanelProduct& whole, std::int64_t columns, std::int64_t bytes,
                   const std::function<void(std::int64_t column, std::int64_t count, std::uint8_t* out)>& pack) {
  const auto multiply = kernels::active().multiply_panel;
  const std::int64_t at_once = tokens_at_once(whole.rows, columns);
  const std::int64_t parts = (whole.rows + at_once - 1) / at_once;
  core::parallel_for(panels(columns) * parts, 1, [&](std::int64_t first, std::int64_t last) {
    std::uint8_t* panel = panel_of_this_thread(bytes);
    for (std::int64_t i = first; i < last; ++i) {
      const std::int64_t column = i / parts * kPanel;
      const std::int64_t row = i % parts * at_once;
      kernels::PanelProduct job = whole;
      job.columns = std::min(kPanel, columns - column);
      pack(column, job.columns, panel);
      job.panel = panel;
      job.q += row * whole.q_stride;
      job.rows = std::min(at_once, whole.rows - row);
      job.q_sum += row;
      job.factors += row;
      job.y += row * whole.y_stride + column;
      multiply(job);
    }
  });
}

}  // namespace

bool uses_panels() {
  static const bool tiles = dnnl::get_effective_cpu_isa() == dnnl::cpu_isa::avx512_core_amx;
  return !tiles && kernels::active().panels;
}

void multiply_ternary_panels(const PackedTernaryView& weights, const QuantisedRows& x, MutableMatrix y) {
  const auto& table = kernels::active();
  const std::int64_t row_bytes = (weights.columns + 127) / 128 * 32;
  static thread_local core::AlignedBuffer<float> factors;  // [T], of the calling thread
  factors.reserve_scratch(static_cast<std::size_t>(x.rows));
  float* const factor = factors.data();
  for (std::int64_t t = 0; t < x.rows; ++t) factor[t] = (weights.scale * x.amax[static_cast<std::size_t>(t)]) / 127.0F;
  kernels::PanelProduct whole;
  whole.q = x.q.data();
  whole.q_stride = x.stride;
  whole.rows = x.rows;
  whole.terms = weights.columns;
  whole.q_sum = x.sum.data();
  whole.factors = factor;
  whole.y = y.data;
  whole.y_stride = y.stride;
  multiply_rows(whole, weights.rows, panel_bytes(weights.columns),
                [&](std::int64_t column, std::int64_t count, std::uint8_t* out) {
                  table.pack_ternary2_panel(weights.data + column * row_bytes, count, weights.columns, out);
                });
}

std::uint64_t ternary_panels_scratch(std::int64_t rows, std::int64_t columns, std::int64_t tokens) {
  const std::int64_t at_once = tokens_at_once(tokens, rows);
  const std::int64_t busy = std::min<std::int64_t>(core::threads(), panels(rows) * ((tokens + at_once - 1) / at_once));
  return static_cast<std::uint64_t>(busy * panel_bytes(columns) + 4 * tokens);
}

namespace {

std::int64_t int8_panel_bytes(std::int64_t terms) {
  return rounded_up(terms, 4) * kPanel;
}

/// Row 0, column `column` of stored int8 numbers.
const std::int8_t* int8_column(const Operand& x, std::int64_t column) {
  return static_cast<const std::int8_t*>(x.data) + column;
}

/// The panel of up to 64 columns of x from `column` on; returns how many there are.
std::int64_t pack(const Operand& x, std::int64_t column, bool plus_128, std::uint8_t* out, std::int32_t* sums) {
  kernels::Int8Panel job;
  job.from = int8_column(x, column);
  job.stride = x.stride;
  job.terms = x.rows;
  job.columns = std::min(kPanel, x.columns - column);
  job.plus_128 = plus_128;
  job.out = out;
  job.sums = sums;
  kernels::active().pack_int8_panel(job);
  return job.columns;
}

/// What all parts of a product share.
kernels::PanelProduct int8_product(std::int64_t terms, std::span<const float> factors, bool accumulate,
                                   MutableMatrix c) {
  kernels::PanelProduct whole;
  whole.terms = terms;
  whole.offset = 128;
  whole.accumulate = accumulate;
  whole.factors = factors.data();
  whole.y = c.data;
  whole.y_stride = c.stride;
  return whole;
}

void multiply_rows_as_stored(const Operand& a, const Operand& b, std::span<const float> factors, bool accumulate,
                             MutableMatrix c) {
  const auto sum = kernels::active().sum_int8;
  std::vector<std::int32_t> row_sums(static_cast<std::size_t>(a.rows));
  core::parallel_for(a.rows, 64, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      row_sums[static_cast<std::size_t>(i)] = sum(int8_column(a, i * a.stride), a.columns);
    }
  });
  kernels::PanelProduct whole = int8_product(b.rows, factors, accumulate, c);
  whole.q = int8_column(a, 0);
  whole.q_stride = a.stride;
  whole.rows = a.rows;
  whole.q_sum = row_sums.data();
  multiply_rows(whole, b.columns, int8_panel_bytes(b.rows), [&](std::int64_t column, std::int64_t, std::uint8_t* out) {
    std::int32_t unused[kPanel];
    pack(b, column, true, out, unused);
  });
}

/// Rows of the result are columns of a: 64 of them make a panel that serves as left operand. All panels of b are packed
/// first, since every 64 rows want all of them.
void multiply_columns_as_rows(const Operand& a, const Operand& b, std::span<const float> factors, bool accumulate,
                              MutableMatrix c) {
  static thread_local core::AlignedBuffer<std::uint8_t> shared;  // of the calling thread
  const std::int64_t bytes = int8_panel_bytes(b.rows);
  const std::int64_t count = panels(b.columns);
  shared.reserve_scratch(static_cast<std::size_t>(count * bytes));
  std::uint8_t* const right = shared.data();
  core::parallel_for(count, 1, [&](std::int64_t first, std::int64_t last) {
    std::int32_t unused[kPanel];
    for (std::int64_t p = first; p < last; ++p) pack(b, p * kPanel, true, right + p * bytes, unused);
  });
  const auto& table = kernels::active();
  const std::int64_t wanted = (4 * core::threads() + panels(a.columns) - 1) / panels(a.columns);
  const std::int64_t groups = std::clamp<std::int64_t>(wanted, 1, count);
  core::parallel_for(panels(a.columns) * groups, 1, [&](std::int64_t first, std::int64_t last) {
    std::uint8_t* left = panel_of_this_thread(bytes);
    std::int32_t sums[kPanel];
    for (std::int64_t i = first; i < last; ++i) {
      const std::int64_t row = i / groups * kPanel;
      const std::int64_t group = i % groups;
      kernels::PanelProduct job = int8_product(b.rows, factors, accumulate, c);
      job.rows = pack(a, row, false, left, sums);
      job.q = reinterpret_cast<const std::int8_t*>(left);
      job.q_stride = 4;
      job.q_step = 4 * kPanel;
      job.q_sum = sums;
      job.factors += row;
      for (std::int64_t p = group * count / groups; p < (group + 1) * count / groups; ++p) {
        job.panel = right + p * bytes;
        job.columns = std::min(kPanel, b.columns - p * kPanel);
        job.y = c.row(row) + p * kPanel;
        table.multiply_panel(job);
      }
    }
  });
}

}  // namespace

void multiply_int8_panels(const Operand& a, const Operand& b, std::span<const float> factors, bool accumulate,
                          MutableMatrix c) {
  RPT_CHECK(!b.transposed, "columns of b must stand as columns");
  if (a.transposed) {
    multiply_columns_as_rows(a, b, factors, accumulate, c);
  } else {
    multiply_rows_as_stored(a, b, factors, accumulate, c);
  }
}

std::uint64_t int8_panels_scratch(std::int64_t m, std::int64_t n, std::int64_t k, bool a_transposed) {
  const std::int64_t own = core::threads() * int8_panel_bytes(k);
  return static_cast<std::uint64_t>(own + (a_transposed ? panels(n) * int8_panel_bytes(k) : 4 * m));
}

}  // namespace rpt::tensor

// SPDX-License-Identifier: MIT
#include "rpt/tensor/ternary_panels.h"

#include <algorithm>
#include <oneapi/dnnl/dnnl.hpp>

#include "rpt/core/aligned_buffer.h"
#include "rpt/core/parallel.h"
#include "rpt/kernels/isa.h"

namespace rpt::tensor {
namespace {

constexpr std::int64_t kPanel = kernels::kTernaryPanelColumns;

std::int64_t rounded_up(std::int64_t n, std::int64_t multiple) {
  return (n + multiple - 1) / multiple * multiple;
}

std::int64_t panels(std::int64_t columns) {
  return (columns + kPanel - 1) / kPanel;
}

std::size_t panel_bytes(std::int64_t terms) {
  return static_cast<std::size_t>(rounded_up(terms, 4) * kPanel);
}

/// Rows of a result [rows, columns] that a thread computes with a panel at a time: about eight parts a thread, so that
/// none waits long for another one at the end, but not so few rows that packing and loading a panel would show.
std::int64_t rows_at_once(std::int64_t rows, std::int64_t columns) {
  constexpr std::int64_t kFewest = 192;
  constexpr std::int64_t kTile = 6;
  const std::int64_t wanted = 8 * core::threads() / panels(columns);
  const std::int64_t parts = std::clamp<std::int64_t>(wanted, 1, std::max<std::int64_t>(rows / kFewest, 1));
  return rounded_up((rows + parts - 1) / parts, kTile);
}

/// Calls body(panel, first row, rows) for every part of a result [rows, columns].
template <typename Body>
void for_parts(std::int64_t rows, std::int64_t columns, const Body& body) {
  const std::int64_t at_once = rows_at_once(rows, columns);
  const std::int64_t parts = (rows + at_once - 1) / at_once;
  core::parallel_for(panels(columns) * parts, 1, [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t i = first; i < last; ++i) {
      const std::int64_t row = i % parts * at_once;
      body(i / parts, row, std::min(at_once, rows - row));
    }
  });
}

}  // namespace

bool uses_ternary_panels() {
  static const bool tiles = dnnl::get_effective_cpu_isa() == dnnl::cpu_isa::avx512_core_amx;
  return !tiles && kernels::active().ternary_panels;
}

void multiply_ternary_panels(const PackedTernaryView& weights, const QuantisedRows& x, MutableMatrix y) {
  const auto& table = kernels::active();
  const std::int64_t row_bytes = (weights.columns + 127) / 128 * 32;
  static thread_local core::AlignedBuffer<float> factors;  // [T], of the calling thread
  factors.reserve_scratch(static_cast<std::size_t>(x.rows));
  float* const factor = factors.data();
  for (std::int64_t t = 0; t < x.rows; ++t) factor[t] = (weights.scale * x.amax[static_cast<std::size_t>(t)]) / 127.0F;
  for_parts(x.rows, weights.rows, [&](std::int64_t p, std::int64_t row, std::int64_t rows) {
    static thread_local core::AlignedBuffer<std::uint8_t> panel;
    panel.reserve_scratch(panel_bytes(rounded_up(weights.columns, 128)));
    const std::int64_t columns = std::min(kPanel, weights.rows - p * kPanel);
    table.pack_ternary2_panel(weights.data + p * kPanel * row_bytes, columns, weights.columns, panel.data());
    kernels::TernaryPanelProduct job;
    job.q = x.q.data() + row * x.stride;
    job.q_stride = x.stride;
    job.rows = rows;
    job.terms = weights.columns;
    job.panel = panel.data();
    job.q_sum = x.sum.data() + row;
    job.factors = factor + row;
    job.y = y.row(row) + p * kPanel;
    job.y_stride = y.stride;
    job.columns = columns;
    table.multiply_ternary_panel(job);
  });
}

std::uint64_t ternary_panels_scratch(std::int64_t rows, std::int64_t columns, std::int64_t tokens) {
  const std::int64_t at_once = rows_at_once(tokens, rows);
  const std::int64_t busy = std::min<std::int64_t>(core::threads(), panels(rows) * ((tokens + at_once - 1) / at_once));
  return static_cast<std::uint64_t>(busy) * panel_bytes(rounded_up(columns, 128)) +
         static_cast<std::uint64_t>(4 * tokens);
}

}  // namespace rpt::tensor

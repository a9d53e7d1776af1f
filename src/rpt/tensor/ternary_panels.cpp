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
  const std::int64_t at_once = tokens_at_once(x.rows, weights.rows);
  const std::int64_t parts = (x.rows + at_once - 1) / at_once;
  core::parallel_for(panels(weights.rows) * parts, 1, [&](std::int64_t first, std::int64_t last) {
    static thread_local core::AlignedBuffer<std::uint8_t> panel;
    panel.reserve_scratch(static_cast<std::size_t>(panel_bytes(weights.columns)));
    for (std::int64_t i = first; i < last; ++i) {
      const std::int64_t row = i / parts * kPanel;
      const std::int64_t token = i % parts * at_once;
      kernels::TernaryPanelProduct job;
      job.columns = std::min(kPanel, weights.rows - row);
      table.pack_ternary2_panel(weights.data + row * row_bytes, job.columns, weights.columns, panel.data());
      job.q = x.q.data() + token * x.stride;
      job.q_stride = x.stride;
      job.rows = std::min(at_once, x.rows - token);
      job.terms = weights.columns;
      job.panel = panel.data();
      job.q_sum = x.sum.data() + token;
      job.factors = factor + token;
      job.y = y.row(token) + row;
      job.y_stride = y.stride;
      table.multiply_ternary_panel(job);
    }
  });
}

std::uint64_t ternary_panels_scratch(std::int64_t rows, std::int64_t columns, std::int64_t tokens) {
  const std::int64_t at_once = tokens_at_once(tokens, rows);
  const std::int64_t busy = std::min<std::int64_t>(core::threads(), panels(rows) * ((tokens + at_once - 1) / at_once));
  return static_cast<std::uint64_t>(busy * panel_bytes(columns) + 4 * tokens);
}

}  // namespace rpt::tensor

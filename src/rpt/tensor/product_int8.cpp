// SPDX-License-Identifier: MIT
#include "rpt/tensor/product_int8.h"

#include <algorithm>
#include <atomic>
#include <oneapi/dnnl/dnnl.hpp>
#include <vector>

#include "rpt/core/aligned_buffer.h"
#include "rpt/core/parallel.h"
#include "rpt/kernels/isa.h"

namespace rpt::tensor {
namespace {

constexpr std::int64_t kPanel = kernels::kInt8PanelColumns;

std::int64_t rounded_up(std::int64_t n, std::int64_t multiple) {
  return (n + multiple - 1) / multiple * multiple;
}

std::int64_t panels(std::int64_t columns) {
  return (columns + kPanel - 1) / kPanel;
}

std::size_t panel_bytes(std::int64_t terms) {
  return static_cast<std::size_t>(rounded_up(terms, 4) * kPanel);
}

/// Rows of a result that take part in an item of work: so many that packing a panel for them does not show, and not
/// more than leaves their left operand in the second-level cache.
constexpr std::int64_t kFewestRows = 192;
constexpr std::int64_t kMostRows = 768;

/// How a result [rows, columns] is shared out: one queue a thread, whose items are panels of columns by blocks of rows.
/// Where there are enough rows each queue has its own, so that what a thread reads and writes stays in its caches;
/// otherwise its own panels. Who has emptied its queue helps with the others.
struct Plan {
  std::int64_t rows, panel_count, queues;
  bool by_rows;
  std::int64_t queue_rows, block, blocks;  ///< rows of a queue, rows of an item, blocks in a queue

  /// `multiple`: of which block borders are multiples.
  Plan(std::int64_t m, std::int64_t n, std::int64_t multiple)
      : rows(m), panel_count(panels(n)), queues(core::threads()), by_rows(m >= queues * kFewestRows) {
    queue_rows = by_rows ? rounded_up((m + queues - 1) / queues, multiple) : m;
    blocks = (queue_rows + kMostRows - 1) / kMostRows;
    block = rounded_up((queue_rows + blocks - 1) / blocks, multiple);
  }
  std::int64_t first_row(std::int64_t queue) const { return by_rows ? std::min(queue * queue_rows, rows) : 0; }
  std::int64_t end_row(std::int64_t queue) const { return by_rows ? first_row(queue + 1) : rows; }
  std::int64_t first_panel(std::int64_t queue) const { return by_rows ? 0 : queue * panel_count / queues; }
  std::int64_t end_panel(std::int64_t queue) const { return by_rows ? panel_count : first_panel(queue + 1); }
};

struct Queue {
  alignas(64) std::atomic<std::int64_t> next{0};
  std::atomic<bool> ready{false};
};

/// Calls prepare(first row, end) for all rows, then body(panel, first row, rows) for every item whose rows are
/// prepared.
template <typename Prepare, typename Body>
void run(const Plan& plan, const Prepare& prepare, const Body& body) {
  if (!plan.by_rows) core::parallel_for(plan.rows, kPanel, prepare);
  std::vector<Queue> queues(static_cast<std::size_t>(plan.queues));
  core::parallel_for(plan.queues, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t own = begin; own < end; ++own) {
      if (plan.by_rows) prepare(plan.first_row(own), plan.end_row(own));
      queues[static_cast<std::size_t>(own)].ready.store(true, std::memory_order_release);
      for (std::int64_t i = 0; i < plan.queues; ++i) {
        const std::int64_t q = (own + i) % plan.queues;
        Queue& queue = queues[static_cast<std::size_t>(q)];
        // One that is not ready will be emptied by its own thread.
        if (!queue.ready.load(std::memory_order_acquire)) continue;
        const std::int64_t panels_here = plan.end_panel(q) - plan.first_panel(q);
        for (;;) {
          const std::int64_t item = queue.next.fetch_add(1, std::memory_order_relaxed);
          if (item >= panels_here * plan.blocks) break;
          const std::int64_t row = plan.first_row(q) + item / panels_here * plan.block;
          const std::int64_t count = std::min(plan.block, plan.end_row(q) - row);
          if (count > 0) body(plan.first_panel(q) + item % panels_here, row, count);
        }
      }
    }
  });
}

/// The panel that the calling thread packs, with room for `terms`.
std::uint8_t* own_panel(std::int64_t terms) {
  static thread_local core::AlignedBuffer<std::uint8_t> panel;
  panel.reserve_scratch(panel_bytes(terms));
  return panel.data();
}

/// Rows of the left operand that the kernel takes together.
constexpr std::int64_t kTileRows = 6;

/// What makes signed bytes unsigned ones.
constexpr std::int32_t kBias = 128;

const std::int8_t* bytes(const Operand& x) {
  return static_cast<const std::int8_t*>(x.data);
}

}  // namespace

bool uses_int8_panels() {
  static const bool tiles = dnnl::get_effective_cpu_isa() == dnnl::cpu_isa::avx512_core_amx;
  return !tiles && kernels::active().int8_panels;
}

void multiply_ternary_panels(const PackedTernaryView& weights, const QuantisedRows& x, MutableMatrix y) {
  const auto& table = kernels::active();
  const std::int64_t row_bytes = (weights.columns + 127) / 128 * 32;
  static thread_local core::AlignedBuffer<float> factors;  // [T], of the calling thread
  factors.reserve_scratch(static_cast<std::size_t>(x.rows));
  float* const factor = factors.data();
  for (std::int64_t t = 0; t < x.rows; ++t) factor[t] = (weights.scale * x.amax[static_cast<std::size_t>(t)]) / 127.0F;
  const auto nothing = [](std::int64_t, std::int64_t) {};
  run(Plan(x.rows, weights.rows, kTileRows), nothing, [&](std::int64_t p, std::int64_t row, std::int64_t rows) {
    std::uint8_t* const panel = own_panel(rounded_up(weights.columns, 128));
    const std::int64_t columns = std::min(kPanel, weights.rows - p * kPanel);
    table.pack_ternary2_panel(weights.data + p * kPanel * row_bytes, columns, weights.columns, panel);
    kernels::Int8PanelProduct job;
    job.a = x.q.data() + row * x.stride;
    job.row_stride = x.stride;
    job.step_stride = 4;
    job.rows = rows;
    job.terms = weights.columns;
    job.panel = panel;
    job.bias = 1;
    job.a_sum = x.sum.data() + row;
    job.factors = factor + row;
    job.y = y.row(row) + p * kPanel;
    job.y_stride = y.stride;
    job.columns = columns;
    table.multiply_int8_panel(job);
  });
}

std::uint64_t ternary_panels_scratch(std::int64_t columns, std::int64_t tokens) {
  return static_cast<std::uint64_t>(core::threads()) * panel_bytes(rounded_up(columns, 128)) +
         static_cast<std::uint64_t>(4 * tokens);
}

void multiply_int8_panels(const Operand& a, const Operand& b, std::span<const float> factors, bool accumulate,
                          MutableMatrix c) {
  RPT_CHECK(!b.transposed, "a transposed right operand");
  const auto& table = kernels::active();
  const std::int64_t m = c.rows;
  const std::int64_t n = c.columns;
  const std::int64_t k = b.rows;
  // Of the calling thread, shared by all: sums of the left rows, and where it is transposed that operand in panels.
  static thread_local core::AlignedBuffer<std::int32_t> sums_of_thread;
  static thread_local core::AlignedBuffer<std::uint8_t> left_of_thread;
  sums_of_thread.reserve_scratch(static_cast<std::size_t>(panels(m) * kPanel));
  if (a.transposed) left_of_thread.reserve_scratch(static_cast<std::size_t>(panels(m)) * panel_bytes(k));
  std::int32_t* const sums = sums_of_thread.data();
  std::uint8_t* const left = left_of_thread.data();
  const auto left_panel = [&](std::int64_t row) {
    return left + static_cast<std::size_t>(row / kPanel) * panel_bytes(k);
  };

  const auto prepare = [&](std::int64_t first, std::int64_t end) {
    if (!a.transposed) {
      for (std::int64_t row = first; row < end; ++row) sums[row] = table.sum_int8(bytes(a) + row * a.stride, k);
      return;
    }
    for (std::int64_t row = first; row < end; row += kPanel) {
      table.pack_int8_panel({bytes(a) + row, a.stride, k, std::min(kPanel, end - row), 0, left_panel(row), sums + row});
    }
  };
  run(Plan(m, n, a.transposed ? kPanel : kTileRows), prepare,
      [&](std::int64_t p, std::int64_t first, std::int64_t rows) {
        std::uint8_t* const panel = own_panel(k);
        const std::int64_t columns = std::min(kPanel, n - p * kPanel);
        table.pack_int8_panel({bytes(b) + p * kPanel, b.stride, k, columns, kBias, panel, nullptr});
        kernels::Int8PanelProduct job;
        job.terms = k;
        job.panel = panel;
        job.bias = kBias;
        job.y_stride = c.stride;
        job.columns = columns;
        job.accumulate = accumulate;
        for (std::int64_t row = first; row < first + rows; row += job.rows) {
          job.rows = first + rows - row;
          job.a = bytes(a) + row * a.stride;
          job.row_stride = a.stride;
          job.step_stride = 4;
          if (a.transposed) {
            job.rows = std::min(job.rows, kPanel);
            job.a = reinterpret_cast<const std::int8_t*>(left_panel(row));
            job.row_stride = 4;
            job.step_stride = 4 * kPanel;
          }
          job.a_sum = sums + row;
          job.factors = factors.data() + row;
          job.y = c.row(row) + p * kPanel;
          table.multiply_int8_panel(job);
        }
      });
}

std::uint64_t int8_panels_scratch(std::int64_t m, std::int64_t k, bool a_transposed) {
  const std::int64_t packed = core::threads() + (a_transposed ? panels(m) : 0);
  return static_cast<std::uint64_t>(packed) * panel_bytes(k) + static_cast<std::uint64_t>(4 * panels(m) * kPanel);
}

}  // namespace rpt::tensor

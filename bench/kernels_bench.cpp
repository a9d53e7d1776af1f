// SPDX-License-Identifier: MIT
#include <benchmark/benchmark.h>

#include <cstdint>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "rpt/core/aligned_buffer.h"
#include "rpt/kernels/isa.h"

// Single-thread speed of the kernels that decide the speed of a model, for every set of this processor. GB/s counts the
// bytes of weights (or keys and values) read once, op/s two for every multiply-add.

namespace {

using namespace rpt::kernels;
namespace core = rpt::core;

template <typename T>
std::vector<T> random_integers(std::int64_t n) {
  std::mt19937_64 engine(1);
  std::vector<T> values(static_cast<std::size_t>(n));
  for (T& v : values) v = static_cast<T>(engine());
  return values;
}

/// Copies of the weights that a run goes through, so that one token meets weights in memory and not in a cache.
constexpr std::int64_t kColdBytes = std::int64_t{256} << 20;

/// Tensors of a GGUF file begin at multiples of 32 bytes, seldom of 64.
constexpr std::int64_t kOffset = 32;

void report(benchmark::State& state, std::int64_t bytes, std::int64_t multiply_adds) {
  using benchmark::Counter;
  state.counters["bytes/s"] = Counter(static_cast<double>(bytes), Counter::kIsIterationInvariantRate);
  state.counters["op/s"] = Counter(2.0 * static_cast<double>(multiply_adds), Counter::kIsIterationInvariantRate);
}

using TernaryEntry = void (*KernelTable::*)(const TernaryGemm& a) noexcept;

/// `cold`: every iteration takes another tensor of a set that no cache holds, as generation does.
void ternary(benchmark::State& state, const KernelTable& table, TernaryEntry entry, double bytes_per_weight,
             std::int64_t rows, std::int64_t columns, std::int64_t tokens, bool cold) {
  const auto bytes = static_cast<std::int64_t>(static_cast<double>(rows * columns) * bytes_per_weight);
  const std::int64_t copies = cold ? kColdBytes / bytes + 1 : 1;
  const auto values = random_integers<std::uint64_t>(bytes * copies / 8 + 1);
  core::AlignedBuffer<std::uint8_t> weights(static_cast<std::size_t>(kOffset + bytes * copies));
  std::memcpy(weights.data() + kOffset, values.data(), static_cast<std::size_t>(bytes * copies));
  const auto q_values = random_integers<std::int8_t>(tokens * columns);
  core::AlignedBuffer<std::int8_t> q(q_values.size());
  std::memcpy(q.data(), q_values.data(), q_values.size());
  const std::vector<std::int32_t> q_sum(static_cast<std::size_t>(tokens));
  std::vector<std::int32_t> acc(static_cast<std::size_t>(tokens * rows));
  TernaryGemm a;
  a.rows = a.n_end = a.acc_stride = rows;
  a.columns = a.q_stride = columns;
  a.q = q.data();
  a.q_sum = q_sum.data();
  a.tokens = tokens;
  a.acc = acc.data();
  std::int64_t copy = 0;
  for (auto _ : state) {
    a.weights = weights.data() + kOffset + copy * bytes;
    copy = (copy + 1) % copies;
    (table.*entry)(a);
    benchmark::ClobberMemory();
  }
  report(state, bytes, rows * columns * tokens);
}

void gemm_f16(benchmark::State& state, const KernelTable& table, std::int64_t rows, std::int64_t columns,
              std::int64_t tokens) {
  const std::vector<std::uint16_t> weights(static_cast<std::size_t>(rows * columns), 0x3c00);
  const std::vector<float> x(static_cast<std::size_t>(tokens * columns), 0.5F);
  std::vector<float> y(static_cast<std::size_t>(tokens * rows));
  FloatGemm a;
  a.weights = weights.data();
  a.row_stride = a.columns = a.x_stride = columns;
  a.n_end = a.y_stride = rows;
  a.x = x.data();
  a.tokens = tokens;
  a.y = y.data();
  for (auto _ : state) {
    table.gemm_f16_f32(a);
    benchmark::ClobberMemory();
  }
  report(state, 2 * rows * columns, rows * columns * tokens);
}

void attention(benchmark::State& state, const KernelTable& table, std::int64_t keys, std::int64_t head_size) {
  const std::vector<std::uint16_t> key(static_cast<std::size_t>(keys * head_size), 0x3800);
  const std::vector<float> query(static_cast<std::size_t>(head_size), 0.25F);
  std::vector<float> out(query.size());
  AttentionHead a;
  a.query = query.data();
  a.key = a.value = key.data();
  a.stride = a.head_size = head_size;
  a.keys = keys;
  a.scale = 0.088F;
  a.out = out.data();
  for (auto _ : state) {
    table.attention_head(a);
    benchmark::ClobberMemory();
  }
  report(state, 4 * keys * head_size, 2 * keys * head_size);
}

void register_benchmarks() {
  struct Shape {
    std::int64_t rows, columns;
  };
  const Shape shapes[] = {{2560, 2560}, {640, 2560}, {6912, 2560}, {2560, 6912}};
  struct Layout {
    const char* name;
    TernaryEntry entry;
    double bytes_per_weight;
  };
  const Layout layouts[] = {{"gemm_ternary2_int8", &KernelTable::gemm_ternary2_int8, 0.25},
                            {"gemm_tq2_int8", &KernelTable::gemm_tq2_int8, 66.0 / 256},
                            {"gemm_tq1_int8", &KernelTable::gemm_tq1_int8, 54.0 / 256},
                            {"gemm_hf2_int8", &KernelTable::gemm_hf2_int8, 0.25}};
  for (const Isa& isa : list_isas()) {
    if (!isa.supported) continue;
    const KernelTable& table = table_of(isa.name);
    const bool slow = isa.name == "reference";
    const auto add = [&](const std::string& name, const auto& run) {
      benchmark::RegisterBenchmark((isa.name + "/" + name).c_str(), run)->Unit(benchmark::kMicrosecond);
    };
    for (const Layout& layout : layouts) {
      for (const auto& [rows, columns] : shapes) {
        for (const std::int64_t tokens : {1, 4, 128}) {
          if (slow && tokens > 1) continue;
          for (const bool cold : {false, true}) {
            if (cold && tokens > 1) continue;
            const std::string name = std::string(layout.name) + "/" + std::to_string(rows) + "x" +
                                     std::to_string(columns) + "/T" + std::to_string(tokens) + (cold ? "/cold" : "");
            add(name, [=, &table, rows = rows, columns = columns](benchmark::State& state) {
              ternary(state, table, layout.entry, layout.bytes_per_weight, rows, columns, tokens, cold);
            });
          }
        }
      }
    }
    for (const std::int64_t tokens : {1, 8}) {
      add("gemm_f16_f32/8192x2560/T" + std::to_string(tokens),
          [=, &table](benchmark::State& state) { gemm_f16(state, table, 8192, 2560, tokens); });
    }
    add("attention_head/keys512/D128", [&table](benchmark::State& state) { attention(state, table, 512, 128); });
  }
}

const int g_registered = (register_benchmarks(), 0);

}  // namespace

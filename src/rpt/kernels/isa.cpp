// SPDX-License-Identifier: MIT
#include "rpt/kernels/isa.h"

#include <array>
#include <atomic>
#include <cstdlib>

#include "rpt/core/error.h"
#include "rpt/kernels/reference/reference.h"

#if defined(__x86_64__)
#include <cpuid.h>

#include "rpt/kernels/avx2/avx2.h"
#include "rpt/kernels/avx512/avx512.h"
#endif

namespace rpt::kernels {
namespace {

/// One instruction set: what fills its table on top of the next lower one, and what the processor lacks for it.
struct Entry {
  const char* name;
  void (*fill)(KernelTable& table) noexcept;
  std::string (*missing)();
};

#if defined(__x86_64__)
// __builtin_cpu_supports also asks whether the operating system saves the registers of the set.

void append(std::string& list, bool present, const char* feature) {
  if (present) return;
  if (!list.empty()) list += ", ";
  list += feature;
}

/// Not every compiler's __builtin_cpu_supports knows F16C.
bool has_f16c() {
  unsigned a = 0;
  unsigned b = 0;
  unsigned c = 0;
  unsigned d = 0;
  return __get_cpuid(1, &a, &b, &c, &d) != 0 && (c & bit_F16C) != 0;
}

std::string missing_avx2() {
  std::string list;
  append(list, __builtin_cpu_supports("avx2"), "AVX2");
  append(list, __builtin_cpu_supports("fma"), "FMA");
  append(list, has_f16c(), "F16C");
  return list;
}

std::string missing_avx512() {
  std::string list = missing_avx2();
  append(list, __builtin_cpu_supports("avx512f"), "AVX512F");
  append(list, __builtin_cpu_supports("avx512bw"), "AVX512BW");
  append(list, __builtin_cpu_supports("avx512dq"), "AVX512DQ");
  append(list, __builtin_cpu_supports("avx512vl"), "AVX512VL");
  append(list, __builtin_cpu_supports("avx512vnni"), "AVX512_VNNI");
  return list;
}
#endif

/// Every set of this build, lowest first.
constexpr Entry kEntries[] = {
    {"reference", reference::fill, [] { return std::string(); }},
#if defined(__x86_64__)
    {"avx2", avx2::override_entries, missing_avx2},
    {"avx512", avx512::override_entries, missing_avx512},
#endif
};
constexpr std::size_t kCount = std::size(kEntries);

/// The tables of all sets, each the one below with its own entries on top. What fills a table is compiled with the
/// flags of its set, so that only a processor that has the set may run it; the others' tables are never handed out.
const std::array<KernelTable, kCount>& tables() {
  static const std::array<KernelTable, kCount> all = [] {
    std::array<KernelTable, kCount> made;
    for (std::size_t i = 0; i < kCount; ++i) {
      if (i > 0) made[i] = made[i - 1];
      if (kEntries[i].missing().empty()) kEntries[i].fill(made[i]);
    }
    return made;
  }();
  return all;
}

/// $RPT_ISA, or else the highest supported set.
const KernelTable& initial_table() {
  const char* wanted = std::getenv("RPT_ISA");
  if (wanted != nullptr && *wanted != '\0') return table_of(wanted);
  std::size_t best = 0;
  for (std::size_t i = 0; i < kCount; ++i) {
    if (kEntries[i].missing().empty()) best = i;
  }
  return tables()[best];
}

std::atomic<const KernelTable*> g_active{nullptr};

}  // namespace

std::vector<Isa> list_isas() {
  std::vector<Isa> list;
  for (const Entry& entry : kEntries) {
    const std::string missing = entry.missing();
    list.push_back({entry.name, missing.empty(), missing});
  }
  return list;
}

const KernelTable& table_of(std::string_view name) {
  std::string known;
  for (std::size_t i = 0; i < kCount; ++i) {
    if (name == kEntries[i].name) {
      const std::string missing = kEntries[i].missing();
      if (missing.empty()) return tables()[i];
      throw EnvironmentError(fmt::format("instruction set '{}': this processor lacks {}", name, missing));
    }
    known += fmt::format("{}{}", i == 0 ? "" : ", ", kEntries[i].name);
  }
  throw ConfigError(fmt::format("unknown instruction set '{}'; this build has {}", name, known));
}

const KernelTable& active() {
  const KernelTable* table = g_active.load(std::memory_order_acquire);
  if (table == nullptr) {
    table = &initial_table();
    const KernelTable* none = nullptr;  // a force_isa() that came first stays in force
    if (!g_active.compare_exchange_strong(none, table, std::memory_order_acq_rel)) table = none;
  }
  return *table;
}

void force_isa(std::string_view name) {
  g_active.store(&table_of(name), std::memory_order_release);
}

}  // namespace rpt::kernels

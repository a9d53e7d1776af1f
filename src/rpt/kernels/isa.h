// SPDX-License-Identifier: MIT
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "rpt/kernels/kernel_table.h"

namespace rpt::kernels {

/// An instruction set that this build holds kernels for.
struct Isa {
  std::string name;        ///< "reference", "avx2", "avx512"
  bool supported = false;  ///< this processor can run it
  std::string missing;     ///< what the processor lacks, empty when supported
};

/// Every instruction set of this build, lowest first.
std::vector<Isa> list_isas();

/// The table of a named set: its own entries, and those of the next lower sets where it has none.
/// Throws ConfigError for an unknown name, EnvironmentError for one that this processor cannot run.
const KernelTable& table_of(std::string_view name);

/// The table in force: chosen once from force_isa(), else $RPT_ISA (where not empty), else the highest supported.
/// Throws as table_of.
const KernelTable& active();

/// Makes active() return the named table from now on. Call outside of loops and from one thread. Throws as table_of.
void force_isa(std::string_view name);

}  // namespace rpt::kernels

// SPDX-License-Identifier: MIT
#pragma once
#include "rpt/kernels/kernel_table.h"

/// The definition of every kernel: readable before fast, one file per family. Other instruction sets are tested against
/// it bit by bit.
namespace rpt::kernels::reference {

/// Sets every entry of the table.
void fill(KernelTable& table) noexcept;

// The families that fill() puts together.
void fill_ternary(KernelTable& table) noexcept;
void fill_panels(KernelTable& table) noexcept;
void fill_gemm_float(KernelTable& table) noexcept;
void fill_rows(KernelTable& table) noexcept;
void fill_blocks(KernelTable& table) noexcept;
void fill_attention(KernelTable& table) noexcept;
void fill_quantize(KernelTable& table) noexcept;
void fill_training(KernelTable& table) noexcept;

}  // namespace rpt::kernels::reference

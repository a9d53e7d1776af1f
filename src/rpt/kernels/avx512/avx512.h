// SPDX-License-Identifier: MIT
#pragma once
#include "rpt/kernels/kernel_table.h"

namespace rpt::kernels::avx512 {

/// Replaces the entries that this set computes faster. The processor must have the set.
void override_entries(KernelTable& table) noexcept;

// The families that override_entries() puts together.
void override_ternary(KernelTable& table) noexcept;
void override_panels(KernelTable& table) noexcept;
void override_float(KernelTable& table) noexcept;
void override_training(KernelTable& table) noexcept;
/// Needs AVX512_BF16 beside the set.
void override_bf16(KernelTable& table) noexcept;

}  // namespace rpt::kernels::avx512

// SPDX-License-Identifier: MIT
#include "rpt/kernels/avx512/avx512.h"

namespace rpt::kernels::avx512 {

void override_entries(KernelTable& table) noexcept {
  table.name = "avx512";
  table.library_products = true;
  override_ternary(table);
  override_panels(table);
  override_float(table);
  override_training(table);
  if (__builtin_cpu_supports("avx512bf16")) override_bf16(table);
}

}  // namespace rpt::kernels::avx512

// SPDX-License-Identifier: MIT
#include "rpt/kernels/avx2/avx2.h"

namespace rpt::kernels::avx2 {

void override_entries(KernelTable& table) noexcept {
  table.name = "avx2";
  override_ternary(table);
  override_float(table);
  override_training(table);
}

}  // namespace rpt::kernels::avx2

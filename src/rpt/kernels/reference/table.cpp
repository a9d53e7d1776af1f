// SPDX-License-Identifier: MIT
#include "rpt/kernels/reference/reference.h"

namespace rpt::kernels::reference {

void fill(KernelTable& table) noexcept {
  table.name = "reference";
  fill_ternary(table);
  fill_panels(table);
  fill_gemm_float(table);
  fill_rows(table);
  fill_blocks(table);
  fill_attention(table);
  fill_quantize(table);
  fill_training(table);
}

}  // namespace rpt::kernels::reference

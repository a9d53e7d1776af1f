// SPDX-License-Identifier: MIT
#include "rpt/kernels/avx512/avx512.h"
#include "rpt/kernels/avx512/vector.h"
#include "rpt/kernels/lanes/attention.h"
#include "rpt/kernels/lanes/blocks.h"
#include "rpt/kernels/lanes/gemm_float.h"
#include "rpt/kernels/lanes/quantize.h"
#include "rpt/kernels/lanes/rows.h"

namespace rpt::kernels::avx512 {

void override_float(KernelTable& table) noexcept {
  lanes::override_gemm_float<Vector>(table);
  lanes::override_rows<Vector>(table);
  lanes::override_blocks<Vector>(table);
  lanes::override_attention<Vector>(table);
  lanes::override_quantize<Vector>(table);
}

}  // namespace rpt::kernels::avx512

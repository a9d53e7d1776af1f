// SPDX-License-Identifier: MIT
#include "rpt/kernels/lanes/training.h"

#include "rpt/kernels/avx512/avx512.h"
#include "rpt/kernels/avx512/vector.h"

namespace rpt::kernels::avx512 {

void override_training(KernelTable& table) noexcept {
  lanes::override_training<Vector>(table);
}

}  // namespace rpt::kernels::avx512

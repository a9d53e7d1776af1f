// SPDX-License-Identifier: MIT
#include "rpt/kernels/lanes/training.h"

#include "rpt/kernels/avx2/avx2.h"
#include "rpt/kernels/avx2/vector.h"

namespace rpt::kernels::avx2 {

void override_training(KernelTable& table) noexcept {
  lanes::override_training<Vector>(table);
}

}  // namespace rpt::kernels::avx2

#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# upward_include.sh COMPILER BUILD: with the include folder of `tensor` a header of `kernels` is found, one of `model` is not.
set -u
compiler=$1
view=$2/include
room() { "$compiler" -std=c++20 -fsyntax-only -I "$view/core" -I "$view/kernels" -I "$view/tensor" -x c++ - 2> /dev/null; }
echo '#include "rpt/kernels/isa.h"' | room || { echo "an include of a room below does not compile"; exit 1; }
if echo '#include "rpt/model/decoder.h"' | room; then
  echo "an include of a room above compiles"
  exit 1
fi

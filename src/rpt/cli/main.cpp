// SPDX-License-Identifier: MIT
#include <iostream>

#include "rpt/cli/run.h"

int main(int argc, char** argv) {
  return rpt::cli::run(argc, argv, std::cin, std::cout, std::cerr);
}

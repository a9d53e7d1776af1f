// SPDX-License-Identifier: MIT
#include <iostream>

#if defined(__GLIBC__)
#include <malloc.h>
#endif

#include "rpt/cli/run.h"

int main(int argc, char** argv) {
#if defined(__GLIBC__)
  // Buffers of this size and more return to the system when they are freed. By its own rule glibc would put ever larger
  // ones into the heap, where the holes of one part of a run do not fit the next: up to 23 MB at the peak of training.
  mallopt(M_MMAP_THRESHOLD, 1 << 20);
#endif
  return rpt::cli::run(argc, argv, std::cin, std::cout, std::cerr);
}

# SPDX-License-Identifier: MIT
# Flags that hold for every target. Exactness first: no contraction, no fast-math, anywhere.
add_library(rpt_options INTERFACE)
target_compile_options(rpt_options INTERFACE
  -ffp-contract=off -Wall -Wextra -Wpedantic -Wconversion -Wshadow
  $<$<BOOL:${RPT_WERROR}>:-Werror>)
# Designated initialisers leave fields to their defaults on purpose.
target_compile_options(rpt_options INTERFACE -Wno-missing-field-initializers)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  # GCC 12 warns about its own std::string (GCC bug 105651).
  target_compile_options(rpt_options INTERFACE -Wno-restrict)
endif()
target_compile_definitions(rpt_options INTERFACE RPT_VERSION="${PROJECT_VERSION}")
if(RPT_SANITIZE)
  target_compile_options(rpt_options INTERFACE -fsanitize=${RPT_SANITIZE} -fno-omit-frame-pointer
    -fno-sanitize-recover=all)
  target_link_options(rpt_options INTERFACE -fsanitize=${RPT_SANITIZE})
endif()
if(RPT_BUILD_FUZZERS)
  target_compile_options(rpt_options INTERFACE -fsanitize=fuzzer-no-link)
  target_link_options(rpt_options INTERFACE -fsanitize=fuzzer-no-link)
endif()

# SPDX-License-Identifier: MIT
find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)
find_package(fmt REQUIRED)
find_package(nlohmann_json REQUIRED)
find_package(CLI11 REQUIRED)
pkg_check_modules(pcre2 REQUIRED IMPORTED_TARGET libpcre2-8)
find_path(RPT_DNNL_INCLUDE oneapi/dnnl/dnnl.hpp REQUIRED)
# libgomp comes with oneDNN, which is told to leave its threads alone (tensor/product.cpp).
set(RPT_DNNL dnnl -l:libgomp.so.1)

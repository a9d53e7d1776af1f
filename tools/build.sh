#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# tools/build.sh PRESET [TARGET…]: installs what the build needs, configures and builds.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
preset=$1
shift
packages=(g++ cmake gnuplot-nox ninja-build pkg-config libfmt-dev nlohmann-json3-dev libcli11-dev libpcre2-dev libdnnl-dev libgtest-dev libsentencepiece-dev)
case $preset in
  asan | tsan | fuzz) packages+=(clang-14 libclang-rt-14-dev) ;;
esac
bash tools/install_packages.sh "${packages[@]}"
cmake --preset "$preset" > /dev/null
targets=()
for target in "$@"; do targets+=(--target "$target"); done
cmake --build --preset "$preset" "${targets[@]}"

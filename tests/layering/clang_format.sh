#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# clang_format.sh CLANG_FORMAT SOURCE: every source is formatted as .clang-format says.
set -u
cd "$2" || exit 1
find src tests bench examples \( -name '*.cpp' -o -name '*.h' \) 2> /dev/null | sort | xargs "$1" --dry-run -Werror

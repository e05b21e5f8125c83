#!/usr/bin/env bash
# SPDX-License-Identifier: MPL-2.0
# clang-format 14 and .clang-format decide the layout. Repair: clang-format-14 -i FILE
set -u
cd "${1:-.}" || exit 2
command -v clang-format-14 >/dev/null || { echo "skipped: no clang-format-14 (package clang-format-14)"; exit 0; }
find specs store controller reconcilers cli tests -name '*.[ch]' -not -path '*/golden/*' -print0 |
    xargs -0 clang-format-14 --dry-run -Werror 2>&1 | grep -E 'warning|error' | head -n 20 | grep .
[ "$?" = 1 ]

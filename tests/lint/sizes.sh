#!/usr/bin/env bash
# SPDX-License-Identifier: MPL-2.0
# Functions: at most 80 lines (120 for flat tables and switches), median at most 15. Files: at most
# 600 lines. Braces of functions stand in column 0, so awk can see them.
set -u
cd "${1:-.}" || exit 2
failed=0
sources=$(find specs store controller reconcilers cli -name '*.c')
lengths=$(awk '
    FNR == 1 { start = 0 }
    /^{/ { start = FNR }
    /^}/ && start { print FNR - start - 1, FILENAME ":" start; start = 0 }
' $sources | sort -n)
echo "$lengths" | awk '$1 > 80 { print $2 ": a function of " $1 " lines"; bad = 1 } END { exit bad }' || failed=1
echo "$lengths" | awk '{ n[NR] = $1 } END {
    printf "%d functions: median %d lines, p90 %d, longest %d\n", NR, n[int((NR + 1) / 2)], n[int(NR * 0.9)], n[NR]
    exit n[int((NR + 1) / 2)] > 15 }' || { echo "the median function is too long"; failed=1; }
wc -l $sources | awk '$2 != "total" && $1 > 600 { print $2 ": " $1 " lines"; bad = 1 } END { exit bad }' || failed=1
exit $failed

#!/usr/bin/env bash
# SPDX-License-Identifier: MPL-2.0
# Functions: none over 60 lines, nine of ten at most 25, median at most 15, at most 48 in 1,000 lines
# of product code. Files: at most 600 lines. Headers that only one file includes (tests count): at
# most 25. Braces of functions are in column 0, so awk can see them.
set -u
cd "${1:-.}" || exit 2
failed=0
complain() { echo "$1"; failed=1; }

sources=$(find specs store controller reconcilers cli -name '*.c')
headers=$(find specs store controller reconcilers cli -name '*.h')
# shellcheck disable=SC2086
lengths=$(awk '
    FNR == 1 { start = 0 }
    /^{/ { start = FNR }
    /^}/ && start { print FNR - start - 1, FILENAME ":" start; start = 0 }
' $sources | sort -n)
# shellcheck disable=SC2086
lines=$(cat $sources $headers | wc -l)
read -r functions median p90 longest < <(awk '{ n[NR] = $1 } END {
    print NR, n[int((NR + 1) / 2)], n[int(NR * 0.9)], n[NR] }' <<<"$lengths")
density=$(awk "BEGIN { printf \"%.1f\", 1000 * $functions / $lines }")
echo "$lines lines, $functions functions ($density in 1,000): median $median lines, p90 $p90, longest $longest"
awk '$1 > 60 { print $2 ": a function of " $1 " lines"; bad = 1 } END { exit bad }' <<<"$lengths" || failed=1
[ "$median" -le 15 ] || complain "the median function is too long"
[ "$p90" -le 25 ] || complain "one function in ten is over 25 lines"
awk "BEGIN { exit $density > 48 }" || complain "more than 48 functions in 1,000 lines"
# shellcheck disable=SC2086
wc -l $sources | awk '$2 != "total" && $1 > 600 { print $2 ": " $1 " lines"; bad = 1 } END { exit bad }' || failed=1

single=$(grep -rnoE '^#include "[^"]+"' --include='*.[ch]' specs store controller reconcilers cli tests |
    sed -E 's/^([^:]+):[0-9]+:#include "([^"]+)"/\1 \2/' | sed -E 's/\.[ch]( |$)/\1/g' |
    awk '$1 != $2' | sort -u | awk '{ n[$2]++ } END { for (i in n) if (n[i] == 1) print i }' |
    while read -r module; do [ ! -e "$module.h" ] || echo "$module.h"; done)
[ "$(grep -c . <<<"$single")" -le 25 ] || complain "headers with one client: "$'\n'"$single"
exit $failed

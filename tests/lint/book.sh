#!/usr/bin/env bash
# SPDX-License-Identifier: MPL-2.0
# tests/book.tsv: what the original tool's book names, and the test that covers it. Every test named
# there must exist; how many rows have one is printed. With -v as second argument: the rows without.
set -u
cd "${1:-.}" || exit 2
failed=0
table=tests/book.tsv

has_test() { # FILE NAME
    case $1 in
    *.bats) grep -Fxq "@test \"$2\" {" "$1" ;;
    *.c) grep -Eq "^(static void )?$2\(|[( ]$2(\)|,)" "$1" ;;
    *) return 1 ;;
    esac
}

rows=0
covered=0
while IFS=$'\t' read -r kind name section test rest; do
    case $kind in '#'* | '') continue ;; esac
    rows=$((rows + 1))
    if [ -z "$section" ] || [ -z "$test" ] || [ -n "$rest" ]; then
        echo "$table: '$kind $name': not four columns"
        failed=1
    elif [ "$test" = - ]; then
        [ "${2:-}" != -v ] || echo "no test: $kind: $name ($section)"
    elif [ -r "${test%%: *}" ] && has_test "${test%%: *}" "${test#*: }"; then
        covered=$((covered + 1))
    else
        echo "$table: '$kind $name': there is no test '$test'"
        failed=1
    fi
done <"$table"
twice=$(grep -v '^#' "$table" | cut -f1-3 | sort | uniq -d)
[ -z "$twice" ] || { echo "$table: twice: $twice"; failed=1; }
echo "book: $covered of $rows rows covered"
[ "$rows" -gt 0 ] && exit $failed
exit 1

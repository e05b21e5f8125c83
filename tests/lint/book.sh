#!/usr/bin/env bash
# SPDX-License-Identifier: MPL-2.0
# tests/book.tsv: what the original tool's book names, and the test that covers it. Every test named
# there must exist, and the last column must be a part of a line of it: the assertion on which the row
# rests. How many rows have one is printed. With -v as second argument: the rows without.
set -u
cd "${1:-.}" || exit 2
table=tests/book.tsv
mapfile -t files < <(grep -v '^#' "$table" | cut -f4 | sed -n 's/: .*//p' | sort -u)
for file in "${files[@]}"; do
    [ -r "$file" ] || { echo "$table: there is no $file"; exit 1; }
done
awk -F '\t' -v verbose="${2:-}" '
    function fault(row, text) {
        print "tests/book.tsv: \"" row "\": " text
        failed = 1
    }
    # The table: rows[FILE, TEST] are the numbers of the rows that name this test.
    FNR == NR && /^(#|$)/ { next }
    FNR == NR {
        n++
        name[n] = $1 " " $2
        if (seen[$1, $2, $3]++) fault(name[n], "is there twice")
        if ($4 == "-") {
            without++
            if (verbose == "-v") print "no test: " name[n] " (" $3 ")"
        } else if (NF != 5 || $3 == "" || $5 == "" || !match($4, /: /)) {
            fault(name[n], "not five columns")
        }
        fragment[n] = $5
        test[n] = $4
        key = substr($4, 1, RSTART - 1) SUBSEP substr($4, RSTART + 2)
        rows[key] = rows[key] " " n
        next
    }
    # A test begins with its name in the first column; one of C ends with a brace there, one of bats,
    # which may have such a line in a text, before the next function.
    /^@test ".*" \{$/ { current = FILENAME SUBSEP substr($0, 8, length($0) - 10) }
    /^[a-z_]+\(\)/ { current = "" }
    /^static void [a-z0-9_]+\(void \*\*state\)$/ {
        current = $0
        sub(/^static void /, "", current)
        sub(/\(.*/, "", current)
        current = FILENAME SUBSEP current
    }
    current in rows {
        found[current]
        count = split(rows[current], numbers, " ")
        for (i = 1; i <= count; i++) {
            if (index($0, fragment[numbers[i]])) proven[numbers[i]]
        }
    }
    /^}/ && FILENAME ~ /c$/ { current = "" }
    END {
        for (i = 1; i <= n; i++) {
            if (test[i] == "-" || i in proven) continue
            key = test[i]
            match(key, /: /)
            key = substr(key, 1, RSTART - 1) SUBSEP substr(key, RSTART + 2)
            fault(name[i], key in found ? "no line of its test has \"" fragment[i] "\"" : "there is no test \"" test[i] "\"")
        }
        print "book: " n - without " of " n " rows covered"
        exit failed || !n
    }
' "$table" "${files[@]}"

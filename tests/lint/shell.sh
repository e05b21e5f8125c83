#!/usr/bin/env bash
# SPDX-License-Identifier: MPL-2.0
# The shell programs of the product: what they are made of is POSIX, and shellcheck finds no fault.
# The shell tests: no assertion is one that cannot fail. `set -e`, which ends a test of bats, passes
# over `! COMMAND` and over all but the last of `A && B`, unless the function ends with them.
set -u
cd "${1:-.}" || exit 2
failed=0
has_shellcheck=1
command -v shellcheck >/dev/null || {
    echo "no shellcheck: only their syntax is checked"
    has_shellcheck=
}
programs=$(find specs store controller reconcilers cli -name '*.sh')
[ -n "$programs" ] || { echo "no shell program found"; exit 1; }
for program in $programs; do
    dash -n "$program" || failed=1
    [ -z "$has_shellcheck" ] ||
        (cd "${program%/*}" && shellcheck -x -s sh "${program##*/}") || failed=1
    head -n 1 "$program" | grep -qx '# SPDX-License-Identifier: MPL-2.0' || {
        echo "$program: no licence line"
        failed=1
    }
done
[ -z "$has_shellcheck" ] || shellcheck .package/build .package/deb/{postinst,prerm,postrm} .ci/run || failed=1
[ -z "$has_shellcheck" ] || shellcheck -s sh .package/rpm/* || failed=1
asserting=$(find tests/e2e tests/guest -name '*.bats' -o -name '*.bash' -o -path '*/selftest')
[ -n "$asserting" ] || { echo "no shell test found"; exit 1; }
# shellcheck disable=SC2086
awk '
    function judge(line) {
        if (dead && line !~ /^[ \t]*}/) {
            print dead ": cannot fail a test: use `run !`, refute, or a line for each"
            n++
        }
        dead = ""
    }
    FNR == 1 { judge("") }
    /^[ \t]*(#|$)/ { next }
    { judge($0) }
    /^[ \t]*! |(;|do|then|else) +! / ||
    (/^[ \t]*(\[\[? .* \]\]?|\(\(.*\)\)|(cmp|has|says|refute) .*) && / && !/\|\||&&$/) {
        dead = FILENAME ":" FNR ": " $0
    }
    END { judge(""); exit n > 0 }
' $asserting || failed=1
exit $failed

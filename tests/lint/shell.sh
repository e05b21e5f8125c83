#!/usr/bin/env bash
# SPDX-License-Identifier: MPL-2.0
# The shell programs of the product: what they are made of is POSIX, and shellcheck finds no fault.
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
exit $failed

#!/usr/bin/env bash
# SPDX-License-Identifier: MPL-2.0
# Every header compiles alone, has one guard and a licence line; every source has the licence line.
set -u
cd "${1:-.}" || exit 2
failed=0
while read -r file; do
    head -n 3 "$file" | grep -q 'SPDX-License-Identifier: MPL-2.0' || {
        echo "$file: no licence line"
        failed=1
    }
done < <(find specs store controller reconcilers cli tests -name '*.[ch]' -not -path '*/golden/*')

headers=$(find specs store controller reconcilers cli -name '*.h')
for header in $headers; do
    grep -q '^#pragma once$' "$header" || { echo "$header: no #pragma once"; failed=1; }
    echo "#include \"$header\"" | ${CC:-cc} -std=gnu17 -D_GNU_SOURCE -I. -Wall -Wextra -Werror \
        -fsyntax-only -x c - || { echo "$header: does not compile alone"; failed=1; }
done
exit $failed

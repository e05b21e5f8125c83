#!/usr/bin/env bash
# SPDX-License-Identifier: MPL-2.0
# Every header compiles alone and has one guard; every header and source has the licence line.
set -u
cd "${1:-.}" || exit 2
complaints=$(
    find specs store controller reconcilers cli tests -name '*.[ch]' -not -path '*/golden/*' -print0 |
        xargs -0 awk 'FNR == 1 { with[FILENAME] = 0 }
            FNR <= 3 && /SPDX-License-Identifier: MPL-2.0/ { with[FILENAME] = 1 }
            FNR > 3 { nextfile }
            END { for (file in with) if (!with[file]) print file ": no licence line" }'
    find specs store controller reconcilers cli -name '*.h' -print0 |
        xargs -0 grep -L '^#pragma once$' | sed 's/$/: no #pragma once/'
)

# A source that includes its header before anything else shows in each build that it compiles alone.
first_of() { sed -nE '/^#include/ { s/^#include "([^"]+)"/\1/p; q }' "$1"; }
for header in $(find specs store controller reconcilers cli -name '*.h'); do
    source=${header%.h}.c
    if [ -e "$source" ] && [ "$(first_of "$source")" = "$header" ]; then continue; fi
    echo "#include \"$header\"" | ${CC:-cc} -std=gnu17 -D_GNU_SOURCE -I. -Wall -Wextra -Werror \
        -fsyntax-only -x c - || complaints+=$'\n'"$header: does not compile alone"
done
[ -z "$complaints" ] || { echo "$complaints"; exit 1; }

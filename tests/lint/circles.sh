#!/usr/bin/env bash
# SPDX-License-Identifier: MPL-2.0
# No circle of files and none of folders, over the includes.
#
# A file is a module: NAME.c and NAME.h together. A top folder's own files are two things: headers
# are the interface that its sub-folders implement, sources plug the sub-folders together.
set -u
cd "${1:-.}" || exit 2
failed=0

includes() { # "INCLUDING INCLUDED", both paths
    grep -roE '^#include "[^"]+"' --include='*.[ch]' specs store controller reconcilers cli |
        sed -E 's/^([^:]+):#include "([^"]+)"/\1 \2/'
}

# A path of two parts (store/store.h) keeps its suffix; below, a module has none.
modules() { awk '{ for (i = 1; i <= 2; i++) if ($i ~ /\/.*\//) sub(/\.[ch]$/, "", $i) } $1 != $2' | sort -u; }

folders() { awk '{ for (i = 1; i <= 2; i++) if ($i ~ /\/.*\//) sub(/\/[^\/]*$/, "/", $i) } $1 != $2' | sort -u; }

check() { # WHAT
    local loops
    loops=$(tsort 2>&1 >/dev/null | sed -E 's/^tsort: -?:? ?//')
    [ -z "$loops" ] && return
    printf 'a circle of %s:\n%s\n' "$1" "$loops"
    failed=1
}

check modules < <(includes | modules)
check folders < <(includes | folders)
exit $failed

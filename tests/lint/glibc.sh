#!/usr/bin/env bash
# SPDX-License-Identifier: MPL-2.0
# The programs run where glibc is 2.34: they need no symbol of a newer one (specs/base/compat.h has what is newer).
# VMCTL_BIN: where they are [default: bin beside the directory ctest runs this in, build/bin].
set -u
started_in=$PWD
cd "${1:-.}" || exit 2
for bin in "${VMCTL_BIN:-}" "$started_in/../bin" "$started_in/bin" build/bin; do
    [ -n "$bin" ] && [ -x "$bin/vmctl" ] && break
done
[ -x "$bin/vmctl" ] || { echo "skipped: no vmctl is built"; exit 0; }
command -v objdump >/dev/null || { echo "skipped: no objdump (package binutils)"; exit 0; }
own=$(getconf GNU_LIBC_VERSION 2>/dev/null | cut -d' ' -f2)
# The headers of a newer one rename what is old: __isoc23_strtoul.
[ "$(printf '%s\n' "${own:-99}" 2.37 | sort -V | head -n 1)" = "${own:-99}" ] || { echo "skipped: built with glibc ${own:-none}"; exit 0; }

failed=0
for file in vmctl vmctld vmctl-serve vmctl-switch vmctl-identity vmctl-qemu-guard.so; do
    [ -e "$bin/$file" ] || continue
    newer=$(objdump -T "$bin/$file" 2>/dev/null | sed -nE 's/^.*\*UND\*.*GLIBC_2\.([0-9]+)[^ ]* +([^ ]+)$/\1 \2/p' |
        awk -v file="$file" '$1 > 34 { print file " needs " $2 " of glibc 2." $1 }')
    [ -z "$newer" ] || { echo "$newer"; failed=1; }
done
exit $failed

#!/usr/bin/env bash
# SPDX-License-Identifier: MPL-2.0
# `vmctl list` with 100 VMs in the store, against /bin/true in the same run. Goal: at most 3 ms.
set -euo pipefail
bin=${VMCTL_BIN:?the directory of vmctl and measure}
work=$(mktemp -d)
export XDG_DATA_HOME=$work/data
finish() { "$bin/vmctl" controller stop >/dev/null 2>&1 || true; rm -rf "$work"; }
trap finish EXIT

: >"$work/disk.img"
truncate -s 1M "$work/disk.img"
for i in $(seq 100); do
    printf 'vm "vm%03d" { backend "noop"; image "disk.img"; provision "shell" { inline "true" } }\n' "$i"
done >"$work/VMFile.kdl"
"$bin/vmctl" -q up --file "$work/VMFile.kdl" >/dev/null
[ "$("$bin/vmctl" list | grep -c Ready)" = 100 ]
"$bin/measure" spawn "${BENCH_RUNS:-200}" "$bin/vmctl" list -- /bin/true

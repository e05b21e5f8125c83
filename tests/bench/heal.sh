#!/usr/bin/env bash
# SPDX-License-Identifier: MPL-2.0
# kill -9 of QEMU until a new QEMU runs, first crash, warm. Goal: a median of at most 150 ms; the
# floor beside it is a bare QEMU's time to "running" in the same run.
set -euo pipefail
bin=${VMCTL_BIN:?the directory of vmctl and measure}
work=$(mktemp -d)
export XDG_DATA_HOME=$work/data
finish() {
    "$bin/vmctl" -q destroy heal >/dev/null 2>&1 || true
    "$bin/vmctl" controller stop >/dev/null 2>&1 || true
    rm -rf "$work"
}
trap finish EXIT

qemu-img create -q -f qcow2 "$work/disk.qcow2" 64M
printf 'vm "heal" { image "disk.qcow2"; memory 64; stop-timeout 30 }\n' >"$work/VMFile.kdl"
"$bin/vmctl" -q up --file "$work/VMFile.kdl" >/dev/null
for i in $(seq "${BENCH_RUNS:-20}"); do
    # a new generation forgets the last crash, so that each run is a first one
    sed -i "s/stop-timeout .*}/stop-timeout $((30 + i)) }/" "$work/VMFile.kdl"
    "$bin/vmctl" -q up --file "$work/VMFile.kdl" >/dev/null
    "$bin/measure" heal "$XDG_DATA_HOME/vmctl" heal
done | sort -n >"$work/heals"
awk '{ v[NR] = $1 } END { printf "kill -9 -> new QEMU running: median %.1f ms, min %.1f, max %.1f (n %d)\n", v[int((NR + 1) / 2)], v[1], v[NR], NR }' "$work/heals"
"$bin/measure" spawn 10 sh -c 'echo "{\"execute\":\"qmp_capabilities\"}{\"execute\":\"cont\"}{\"execute\":\"quit\"}" | qemu-system-x86_64 -machine q35 -accel tcg -m 64 -nodefaults -display none -S -qmp stdio' -- /bin/true

#!/usr/bin/env bash
# SPDX-License-Identifier: MPL-2.0
# Noop VMs from nothing to Ready, durable, and what following them adds; then what many cost at
# rest. BENCH_VMS (10,000) is as many as rest, in files of 1,000.
source "$(dirname "$0")/common.bash"
vms=${BENCH_VMS:-10000}
noop_file 1000 "$work/VMFile.kdl"
until_ready() { "$bin/vmctl" -q up --detach --file "$work/VMFile.kdl" && "$bin/vmctl" -q wait --all --ready; }
for _ in 1 2 3; do
    "$bin/vmctl" controller start >/dev/null
    pid=$(controller)
    ticks=$(awk '{ print $14 + $15 }' "/proc/$pid/stat") written=$(proc_value "$pid" wchar io)
    timed "$work/detached" until_ready
    awk -v b="$ticks" '{ print ($14 + $15 - b) / 100 }' "/proc/$pid/stat" >>"$work/cpu" # of 1,000: ms each
    echo $((($(proc_value "$pid" wchar io) - written) / 1024 / 1000)) >>"$work/written"
    "$bin/vmctl" -q destroy --all >/dev/null
    timed "$work/followed" "$bin/vmctl" -q up --file "$work/VMFile.kdl"
    "$bin/vmctl" -q destroy --all >/dev/null
done
awk '{ print $1 / 1000 }' "$work/detached" >"$work/each"
row 11 '1,000 noop VMs to Ready, each' ms "$work/each" 0.4
row 11 "the controller's CPU, each" ms "$work/cpu" 0.4
row 11 'written, each' KiB "$work/written" 100
row 11 '`up` of 1,000, followed' ms "$work/followed" 1.3 '`up -d` and `wait`' "$work/detached"

for i in $(seq "$((vms / 1000))"); do
    sed "s/vm \"vm/vm \"f$i-/" "$work/VMFile.kdl" >"$work/$i.kdl"
    "$bin/vmctl" -q up --detach --file "$work/$i.kdl" >/dev/null
done
"$bin/vmctl" -q wait --all --ready
pid=$(controller)
switches() { awk '/ctxt_switches/ { n += $2 } END { print n }' "/proc/$pid/task/"*/status; }
before=$(switches)
sleep "${BENCH_IDLE_SECONDS:-20}"
echo $(($(switches) - before)) >"$work/switches"
echo $(($(proc_value "$pid" VmRSS status) / 1024)) >"$work/rss"
row 9 "context switches of ${BENCH_IDLE_SECONDS:-20} s at rest, $vms VMs" '' "$work/switches" 0
row 9 "resident, $vms VMs" MiB "$work/rss" 64

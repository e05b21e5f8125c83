#!/usr/bin/env bash
# SPDX-License-Identifier: MPL-2.0
# Noop VMs from nothing to Ready, durable, and what following them adds; then what many cost at
# rest. BENCH_VMS (10,000) is as many as rest, in files of 1,000. Each run has a data directory of its
# own and leaves its files: README.md, "10 and 11, files".
source "$(dirname "$0")/common.bash"
vms=${BENCH_VMS:-10000}
noop_file 1000 "$work/VMFile.kdl"
until_ready() { "$bin/vmctl" -q up --detach --file "$work/VMFile.kdl" && "$bin/vmctl" -q wait --all --ready; }
own=$XDG_DATA_HOME
for i in 1 2 3; do
    export XDG_DATA_HOME=$own/detached$i
    "$bin/vmctl" controller start >/dev/null
    pid=$(controller)
    ticks=$(awk '{ print $14 + $15 }' "/proc/$pid/stat") written=$(proc_value "$pid" wchar io)
    timed "$work/detached" until_ready
    awk -v b="$ticks" '{ print ($14 + $15 - b) / 100 }' "/proc/$pid/stat" >>"$work/cpu" # of 1,000: ms each
    echo $((($(proc_value "$pid" wchar io) - written) / 1024 / 1000)) >>"$work/written"
    "$bin/vmctl" controller stop >/dev/null
    export XDG_DATA_HOME=$own/followed$i
    "$bin/vmctl" controller start >/dev/null
    timed "$work/followed" "$bin/vmctl" -q up --file "$work/VMFile.kdl"
    "$bin/vmctl" controller stop >/dev/null
done
export XDG_DATA_HOME=$own
awk '{ print $1 / 1000 }' "$work/detached" >"$work/each"
row 11 '1,000 noop VMs to Ready, each' ms "$work/each" 0.4
row 11 "the controller's CPU, each" ms "$work/cpu" 0.4
row 11 'written, each' KiB "$work/written" 100
row 11 '`up` of 1,000, followed' ms "$work/followed" 1.3 '`up -d` and `wait`' "$work/detached"

for i in $(seq "$((vms / 1000))"); do
    sed "s/vm \"vm/vm \"f$i-/" "$work/VMFile.kdl" >"$work/$i.kdl"
done
all_until_ready() {
    local i
    for i in $(seq "$((vms / 1000))"); do "$bin/vmctl" -q up --detach --file "$work/$i.kdl"; done
    "$bin/vmctl" -q wait --all --ready
}
timed "$work/all" all_until_ready
pid=$(controller)
awk -v n="$vms" '{ print $1 / n }' "$work/all" >"$work/each-of-all"
row 11 "$vms, each" ms "$work/each-of-all" 1.3 'of 1,000' "$work/each"
switches() { awk '/ctxt_switches/ { n += $2 } END { print n }' "/proc/$pid/task/"*/status; }
before=$(switches)
sleep "${BENCH_IDLE_SECONDS:-20}"
echo $(($(switches) - before)) >"$work/switches"
echo $(($(proc_value "$pid" VmRSS status) / 1024)) >"$work/rss"
row 9 "context switches of ${BENCH_IDLE_SECONDS:-20} s at rest, $vms VMs" '' "$work/switches" 0
row 9 "resident, $vms VMs" MiB "$work/rss" 64

#!/usr/bin/env bash
# SPDX-License-Identifier: MPL-2.0
# kill -9 of vmctld among 100 VMs, three of them real: until a new one has adopted all and the next
# command is answered. Then what an idle controller costs.
source "$(dirname "$0")/common.bash"
noop_file 97 "$work/noop.kdl"
qemu-img create -q -f qcow2 "$work/disk.qcow2" 64M
for i in 1 2 3; do
    printf 'vm "real%d" { image "disk.qcow2"; memory 64; accel "tcg"; stop-timeout 0 }\n' "$i"
done >"$work/real.kdl"
"$bin/vmctl" -q up --file "$work/noop.kdl" >/dev/null
"$bin/vmctl" -q up --file "$work/real.kdl" >/dev/null
pids() { "$bin/vmctl" list | awk '/^real/ { print $6 }'; }
controller() { "$bin/vmctl" controller status -o json | jq .pid; }
is_gone() { [ ! -e "/proc/$1" ] || grep -q '^State:.*Z' "/proc/$1/status"; }
before=$(pids)
for _ in $(seq "$runs"); do
    pid=$(controller)
    kill -9 "$pid"
    until is_gone "$pid"; do :; done
    timed "$work/adopt" "$bin/vmctl" -q up --file "$work/real.kdl"
    [ "$(pids)" = "$before" ]
done
figure "kill -9 of vmctld until the next \`up\` is done, 100 VMs" "$work/adopt"

pid=$(controller)
switches() { awk '/ctxt_switches/ { n += $2 } END { print n }' "/proc/$pid/task/"*/status; }
begin=$(switches)
sleep "${BENCH_IDLE_SECONDS:-20}"
echo "idle for ${BENCH_IDLE_SECONDS:-20} s with 100 VMs: $(($(switches) - begin)) context switches, $(awk '/VmRSS/ { print $2, $3 }' "/proc/$pid/status") resident"

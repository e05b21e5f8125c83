#!/usr/bin/env bash
# SPDX-License-Identifier: MPL-2.0
# kill -9 of QEMU until `vmctl wait --stopped` has exited, against the death itself.
source "$(dirname "$0")/common.bash"
small_vm one | sed 's/memory 64/memory 64; restart "never"/' >"$work/VMFile.kdl"
die() { kill -9 "$1"; until is_gone "$1"; do :; done; }
# It follows: it sleeps, with a loop to sleep in.
is_asleep() {
    readlink "/proc/$1/fd/"* | grep -q eventpoll && grep -q '^State:.*S' "/proc/$1/status"
}
die_noticed() { # QEMU WAITING : nothing else is run meanwhile, not to be measured with it
    local begin=$EPOCHREALTIME gone
    die "$1"
    gone=$EPOCHREALTIME
    wait "$2"
    awk -v a="$begin" -v b="$gone" -v c="$EPOCHREALTIME" -v death="$work/death" -v notice="$work/notice" \
        'BEGIN { print (b - a) * 1000 >>death; print (c - a) * 1000 >>notice }'
}
for _ in $(seq "$runs"); do
    "$bin/vmctl" -q up --file "$work/VMFile.kdl" >/dev/null
    "$bin/vmctl" -q wait one --stopped >/dev/null &
    waiting=$!
    until is_asleep "$waiting"; do sleep 0.05; done
    die_noticed "$("$bin/vmctl" list | awk '/^one/ { print $6 }')" "$waiting"
done
row 4 'kill -9 of QEMU until `wait --stopped` exits' ms "$work/notice" 1.5 'QEMU is gone' "$work/death"

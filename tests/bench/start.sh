#!/usr/bin/env bash
# SPDX-License-Identifier: MPL-2.0
# `vmctl up` of a new VM whose image is there, until it runs: wish, overlay, ports, QEMU, records.
# Then its end by `destroy`. Floors: an overlay by qemu-img and a bare QEMU of the same command line
# until its guest runs, and its end by SIGTERM.
source "$(dirname "$0")/common.bash"
small_vm one >"$work/VMFile.kdl"
"$bin/vmctl" -q up --file "$work/VMFile.kdl" >/dev/null # starts vmctld, warms caches
bare_of one
"$bin/vmctl" -q destroy one >/dev/null
for _ in $(seq "$runs"); do
    timed "$work/overlay-made" bare_overlay
    bare_running "$work/bare-start" "$work/bare-end"
    timed "$work/up" "$bin/vmctl" -q up --file "$work/VMFile.kdl"
    timed "$work/destroy" "$bin/vmctl" -q destroy one
done
paste "$work/overlay-made" "$work/bare-start" | awk '{ print $1 + $2 }' >"$work/start"
row 2 '`up` of a new VM until it runs' ms "$work/up" 1.3 'overlay and bare QEMU' "$work/start"
row 5 '`destroy` of a running VM' ms "$work/destroy" 3 'SIGTERM until QEMU is gone' "$work/bare-end"

#!/usr/bin/env bash
# SPDX-License-Identifier: MPL-2.0
# kill -9 of QEMU until a new QEMU runs, first crash, against a bare QEMU of its command line.
source "$(dirname "$0")/common.bash"
small_vm heal >"$work/VMFile.kdl"
"$bin/vmctl" -q up --file "$work/VMFile.kdl" >/dev/null
bare_of heal
bare_overlay
for i in $(seq "$runs"); do
    # a new generation forgets the last crash, so that each run is a first one
    sed -i "s/stop-timeout .*}/stop-timeout $((30 + i)) }/" "$work/VMFile.kdl"
    "$bin/vmctl" -q up --file "$work/VMFile.kdl" >/dev/null
    "$bin/measure" heal "$XDG_DATA_HOME/vmctl" heal >>"$work/heal"
    bare_running "$work/bare-start" "$work/bare-end"
done
row 3 'kill -9 of QEMU until a new one runs' ms "$work/heal" 1.2 'bare QEMU' "$work/bare-start"

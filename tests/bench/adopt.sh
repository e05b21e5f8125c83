#!/usr/bin/env bash
# SPDX-License-Identifier: MPL-2.0
# kill -9 of vmctld among 1,000 VMs, three of them real, until a new one has looked at all: until a
# command about one that had to wait for it returns. And the bytes that it wrote meanwhile.
source "$(dirname "$0")/common.bash"
noop_file 997 "$work/noop.kdl"
for i in 1 2 3; do small_vm "real$i"; done >"$work/real.kdl"
"$bin/vmctl" -q up --file "$work/noop.kdl" >/dev/null
"$bin/vmctl" -q up --file "$work/real.kdl" >/dev/null
pids() { "$bin/vmctl" list | awk '/^real/ { print $6 }'; }
before=$(pids)
for _ in $(seq "$runs"); do
    pid=$(controller)
    kill -9 "$pid"
    until is_gone "$pid"; do :; done
    timed "$work/adopt" "$bin/vmctl" -q up --file "$work/real.kdl"
    [ "$(pids)" = "$before" ]
    echo $(($(proc_value "$(controller)" wchar io) / 1024)) >>"$work/written"
done
row 10 'kill -9 of vmctld until `up` is done, 1,000 VMs' ms "$work/adopt" 60
row 10 'bytes written meanwhile' KiB "$work/written" 64

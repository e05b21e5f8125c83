#!/usr/bin/env bash
# SPDX-License-Identifier: MPL-2.0
# `vmctl list` with 100 and 1,000 VMs in the store, against /bin/true in the same run. Goal: at most
# 3 ms with 100.
source "$(dirname "$0")/common.bash"
for count in 100 1000; do
    noop_file "$count" "$work/VMFile.kdl"
    "$bin/vmctl" -q up --file "$work/VMFile.kdl" >/dev/null
    [ "$("$bin/vmctl" list | grep -c Ready)" = "$count" ]
    echo "list of $count VMs:"
    "$bin/measure" spawn "${BENCH_RUNS:-200}" "$bin/vmctl" list -- /bin/true
done

#!/usr/bin/env bash
# SPDX-License-Identifier: MPL-2.0
# `vmctl up` of a new VM whose image is there, until it runs: wish, overlay, ports, QEMU, records.
# Then its end by `destroy`. The floor is a bare QEMU to "running" and out again.
source "$(dirname "$0")/common.bash"
qemu-img create -q -f qcow2 "$work/disk.qcow2" 64M
printf 'vm "one" { image "disk.qcow2"; memory 64; accel "tcg"; stop-timeout 0 }\n' >"$work/VMFile.kdl"
"$bin/vmctl" -q up --file "$work/VMFile.kdl" >/dev/null # starts vmctld, warms caches
"$bin/vmctl" -q destroy one >/dev/null
for _ in $(seq "$runs"); do
    timed "$work/bare" bare_qemu
    timed "$work/up" "$bin/vmctl" -q up --file "$work/VMFile.kdl"
    timed "$work/destroy" "$bin/vmctl" -q destroy one
done
figure "vmctl up of a new VM" "$work/up" "$work/bare"
figure "vmctl destroy of a running VM" "$work/destroy" "$work/bare"

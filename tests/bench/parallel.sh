#!/usr/bin/env bash
# SPDX-License-Identifier: MPL-2.0
# Ten VMs of one VMFile until all run, against ten bare QEMUs started at once.
source "$(dirname "$0")/common.bash"
qemu-img create -q -f qcow2 "$work/disk.qcow2" 64M
for i in $(seq 10); do
    printf 'vm "vm%d" { image "disk.qcow2"; memory 64; accel "tcg"; stop-timeout 0 }\n' "$i"
done >"$work/VMFile.kdl"
bare_ten() {
    local i
    for i in $(seq 10); do bare_qemu & done
    wait
}
"$bin/vmctl" -q up --file "$work/VMFile.kdl" >/dev/null
for _ in 1 2 3 4 5; do
    "$bin/vmctl" -q destroy --all >/dev/null
    timed "$work/bare" bare_ten
    timed "$work/up" "$bin/vmctl" -q up --file "$work/VMFile.kdl"
done
figure "vmctl up of 10 VMs" "$work/up" "$work/bare"

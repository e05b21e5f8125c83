#!/usr/bin/env bash
# SPDX-License-Identifier: MPL-2.0
# Ten VMs of one VMFile until all run, against ten bare QEMUs started at once.
source "$(dirname "$0")/common.bash"
for i in $(seq 10); do small_vm "vm$i"; done >"$work/VMFile.kdl"
bare_ten() {
    local i
    for i in $(seq 10); do bare_qemu & done
    wait
}
"$bin/vmctl" -q up --file "$work/VMFile.kdl" >/dev/null
for _ in $(seq "$((runs / 4 + 1))"); do
    "$bin/vmctl" -q destroy --all >/dev/null
    timed "$work/bare" bare_ten
    timed "$work/up" "$bin/vmctl" -q up --file "$work/VMFile.kdl"
done
row 6 '`up` of ten VMs until all run' ms "$work/up" 1.15 'ten bare QEMUs' "$work/bare"

#!/usr/bin/env bash
# SPDX-License-Identifier: MPL-2.0
# A watched VMFile is saved, by rename as editors do, until QEMU is started for the VM it brings.
source "$(dirname "$0")/common.bash"
small_vm first >"$work/VMFile.kdl"
"$bin/vmctl" -q up --watch --file "$work/VMFile.kdl" >/dev/null
started() { pgrep -f "guest=$1,.*$work" >/dev/null; }
save() {
    mv "$work/new.kdl" "$work/VMFile.kdl"
    until started "$1"; do :; done
}
for i in $(seq "$runs"); do
    { cat "$work/VMFile.kdl"; small_vm "vm$i"; } >"$work/new.kdl"
    timed "$work/save" save "vm$i"
    timed "$work/look" started "vm$i"
    "$bin/vmctl" -q wait "vm$i" --running >/dev/null
    "$bin/vmctl" -q stop "vm$i" >/dev/null
done
row 13 'save of a watched VMFile until QEMU is executed' ms "$work/save" 40
row 13 'one look for that QEMU' ms "$work/look" -

#!/usr/bin/env bash
# SPDX-License-Identifier: MPL-2.0
# `vmctl up` of a new VM whose image is there, until it runs: wish, overlay, ports, QEMU, records.
# Then its end by `destroy`. Floors: a bare QEMU with a new overlay to "running" and out again, and
# its end by SIGTERM.
source "$(dirname "$0")/common.bash"
small_vm one >"$work/VMFile.kdl"
bare() {
    rm -f "$work/overlay"
    qemu-img create -q -f qcow2 -b "$work/disk.qcow2" -F qcow2 "$work/overlay"
    bare_qemu
}
end_bare() {
    local pid
    qemu-system-x86_64 -machine q35 -accel tcg -m 64 -nodefaults -display none -pidfile "$work/pid" -daemonize
    pid=$(cat "$work/pid")
    timed "$work/term" end "$pid"
}
end() { kill "$1"; until is_gone "$1"; do :; done; }
"$bin/vmctl" -q up --file "$work/VMFile.kdl" >/dev/null # starts vmctld, warms caches
"$bin/vmctl" -q destroy one >/dev/null
for _ in $(seq "$runs"); do
    timed "$work/bare" bare
    end_bare
    timed "$work/up" "$bin/vmctl" -q up --file "$work/VMFile.kdl"
    timed "$work/destroy" "$bin/vmctl" -q destroy one
done
row 2 '`up` of a new VM until it runs' ms "$work/up" 1.3 'bare QEMU and overlay' "$work/bare"
row 5 '`destroy` of a running VM' ms "$work/destroy" 3 'SIGTERM until QEMU is gone' "$work/term"

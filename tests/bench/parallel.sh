#!/usr/bin/env bash
# SPDX-License-Identifier: MPL-2.0
# Ten VMs of one VMFile until all run, against ten bare QEMUs, started at once with the command line
# that vmctl gives its own and an overlay that is there. Each keeps running until the last one does:
# the firmware of those that run takes processor time from those that start.
source "$(dirname "$0")/common.bash"
for i in $(seq 10); do small_vm "vm$i"; done >"$work/VMFile.kdl"
"$bin/vmctl" -q up --file "$work/VMFile.kdl" >/dev/null
bare_of vm1
mkfifo "$work/running" "$work/end"
exec 5<>"$work/running" 6<>"$work/end"
for i in $(seq 10); do bare_overlay "$i"; done
bare_one() {
    {
        echo '{"execute":"qmp_capabilities"}{"execute":"cont"}'
        read -r _ <&6
        echo '{"execute":"quit"}'
    } | "${bare[@]/"$work/overlay"/"$work/overlay$1"}" -vnc "unix:$work/vnc$1" |
        { grep -m 1 RESUME >&5 && cat >/dev/null; }
}
bare_ten() {
    local i
    pids=()
    for i in $(seq 10); do
        bare_one "$i" &
        pids+=($!)
    done
    for i in $(seq 10); do read -r _ <&5; done
}
end_bare() {
    local i
    for i in $(seq 10); do echo >&6; done
    wait "${pids[@]}"
}
rounds() { # BARE-FILE UP-FILE
    local _
    for _ in $(seq "$((runs / 4 + 1))"); do
        "$bin/vmctl" -q destroy --all >/dev/null
        timed "$1" bare_ten
        end_bare
        timed "$2" "$bin/vmctl" -q up --file "$work/VMFile.kdl"
    done
}
rounds "$work/bare" "$work/up"
row 6 '`up` of ten VMs until all run' ms "$work/up" 1.15 'ten bare QEMUs' "$work/bare"
busy=()
trap 'kill "${busy[@]}" || :; finish' EXIT # they would never end
for _ in $(seq "$(nproc)"); do
    (while :; do :; done) &
    busy+=($!)
done
rounds "$work/bare-busy" "$work/up-busy"
kill "${busy[@]}"
trap finish EXIT
row 6 'the same while each processor has other work' ms "$work/up-busy" 1.3 'ten bare QEMUs' "$work/bare-busy"

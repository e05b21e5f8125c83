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
    for i in $(seq 10); do bare_one "$i" & done
    for i in $(seq 10); do read -r _ <&5; done
}
end_bare() {
    local i
    for i in $(seq 10); do echo >&6; done
    wait
}
for _ in $(seq "$((runs / 4 + 1))"); do
    "$bin/vmctl" -q destroy --all >/dev/null
    timed "$work/bare" bare_ten
    end_bare
    timed "$work/up" "$bin/vmctl" -q up --file "$work/VMFile.kdl"
done
row 6 '`up` of ten VMs until all run' ms "$work/up" 1.15 'ten bare QEMUs' "$work/bare"

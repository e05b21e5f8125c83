#!/usr/bin/env bash
# SPDX-License-Identifier: MPL-2.0
# The tiny guest woken from a template's memory: a job in a copy against one that boots; until it
# runs and until its sshd greets against a script that gives the same QEMU command line the same memory, without an
# identity; many at once; and the memory that one takes.
source "$(dirname "$0")/common.bash"
guest=$("$(dirname "$0")/../guest/build" | tail -n 1)
rounds=$((runs / 4 + 1))
cat >"$work/VMFile.kdl" <<END
vm "guest" { image "$guest"; memory 192; accel "tcg"; ssh { user "root" }; cloud-init; warm "require" }
END
job() { "$bin/vmctl" -q run --rm --file "$work/VMFile.kdl" "$@" -- true; }
job >/dev/null # makes the template

for _ in $(seq "$rounds"); do
    timed "$work/woken" job
    timed "$work/cold" job --cold
done
row 17 '`run --rm` of a guest that is woken, with an identity' ms "$work/woken" 0.17 'one that boots' "$work/cold"

for _ in $(seq "$((rounds / 2 + 1))"); do
    pids=()
    begin=$EPOCHREALTIME
    for _ in 1 2 3 4; do
        job >/dev/null &
        pids+=($!)
    done
    wait "${pids[@]}"
    awk -v a="$begin" -v b="$EPOCHREALTIME" 'BEGIN { printf "%.1f\n", (b - a) * 1000 }' >>"$work/four"
done
row 17 'the same, four at once' ms "$work/four" - 'one' "$work/woken"

until_running() {
    "$bin/vmctl" -q up --detach --file "$work/VMFile.kdl"
    "$bin/vmctl" -q wait guest --running
}
for _ in $(seq "$rounds"); do
    timed "$work/runs" until_running
    "$bin/vmctl" -q destroy guest >/dev/null
done

# ---- the bare script ----

pss() { awk '$1 == "Pss:" { print $2 / 1024 }' "/proc/$1/smaps_rollup"; }
"$bin/vmctl" -q up --file "$work/VMFile.kdl" >/dev/null
pid=$(cat "$XDG_DATA_HOME/vmctl/vms/guest/pidfile")
pss "$pid" >"$work/pss"
template=$(ls -d "$XDG_DATA_HOME"/vmctl/templates/[0-9a-f]*)
mapfile -d '' -t words <"/proc/$pid/cmdline"
port=$((20000 + $$ % 10000))
command=()
for word in "${words[@]}"; do # its sockets are nobody's here
    case $word in
    socket,id=*) word=null,${word#socket,} word=${word%%,fd=*} ;;
    user,id=*) word+=,hostfwd=tcp:127.0.0.1:$port-:22 ;;
    unix:*) word=none ;;
    */overlay.qcow2) word=${word%"$XDG_DATA_HOME"*}$work/bare.qcow2 ;;
    */pidfile) word=$work/bare.pid ;;
    esac
    command+=("$word")
done
feed() {
    printf '%s\n' '{"execute":"qmp_capabilities"}' \
        '{"execute":"migrate-set-capabilities","arguments":{"capabilities":[{"capability":"x-ignore-shared","state":true}]}}' \
        "{\"execute\":\"migrate-incoming\",\"arguments\":{\"uri\":\"fd:9\"}}" '{"execute":"cont"}'
    until [ -e "$work/greeted" ]; do read -rt 0.05 <> <(:) || true; done
    echo '{"execute":"quit"}'
}
qemu=
trap '[ -z "$qemu" ] || kill "$qemu"; finish' EXIT
for _ in $(seq "$rounds"); do
    rm -f "$work/greeted"
    begin=$EPOCHREALTIME
    qemu-img create -q -f qcow2 -F qcow2 -b "$template/disk.qcow2" "$work/bare.qcow2"
    : >"$work/bare.log"
    feed | "${command[@]}" -qmp stdio 9<"$template/machine-state" >"$work/bare.log" 2>&1 &
    qemu=$! # not later: the process of <(:) would count as the last one
    until grep -q RESUME "$work/bare.log"; do read -rt 0.005 <> <(:) || true; done
    awk -v a="$begin" -v b="$EPOCHREALTIME" 'BEGIN { printf "%.1f\n", (b - a) * 1000 }' >>"$work/bare-runs"
    greeted=$("$bin/measure" greeting "$port")
    : >"$work/greeted"
    wait "$qemu"
    qemu=
    awk -v a="$begin" -v b="$greeted" 'BEGIN { printf "%.1f\n", (b - a) * 1000 }' >>"$work/bare"
done
row 17 'until its guest runs, from its VMFile' ms "$work/runs" 1.25 'a script, with an overlay' "$work/bare-runs"
row 17 '`run --rm` against a script, until sshd greets, without an identity' ms "$work/woken" - \
    'the script' "$work/bare"

"$bin/vmctl" -q restart guest >/dev/null
pss "$(cat "$XDG_DATA_HOME/vmctl/vms/guest/pidfile")" >"$work/pss-cold"
row 17 'memory of one that was woken (Pss)' MiB "$work/pss" 0.5 'one that booted' "$work/pss-cold"

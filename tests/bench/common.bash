# SPDX-License-Identifier: MPL-2.0
# What the benches share: a data directory of their own, time taken around commands, and the rows
# that `run` makes a table of.
# shellcheck shell=bash
set -euo pipefail
bin=${VMCTL_BIN:?the directory of vmctl, vmctld and measure}
runs=${BENCH_RUNS:-20}
work=$(mktemp -d)
export XDG_DATA_HOME=$work/data

finish() {
    "$bin/vmctl" -q destroy --all >/dev/null 2>&1 || true
    "$bin/vmctl" controller stop >/dev/null 2>&1 || true
    [ ! -s "$work/nginx.pid" ] || kill "$(cat "$work/nginx.pid")"
    rm -rf "$work"
}
trap finish EXIT

# timed FILE COMMAND... : appends the milliseconds that the command took.
timed() {
    local file=$1 begin=$EPOCHREALTIME
    shift
    "$@" >/dev/null
    awk -v a="$begin" -v b="$EPOCHREALTIME" 'BEGIN { printf "%.3f\n", (b - a) * 1000 }' >>"$file"
}

# pairs RUNS FILE FLOOR-FILE COMMAND... -- FLOOR... : both in turn, by measure.c, for what takes a
# few milliseconds.
pairs() {
    "$bin/measure" spawn "$1" "${@:4}" >"$work/pairs"
    cut -d' ' -f1 "$work/pairs" >>"$2"
    cut -d' ' -f2 "$work/pairs" >>"$3"
}

median() { sort -n "$1" | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }

p90() { sort -n "$1" | awk '{ v[NR] = $1 } END { print v[int(NR * 0.9 + 0.99)] }'; }

# row GOAL WHAT UNIT FILE LIMIT [FLOOR FLOOR-FILE] : a figure, the median of FILE, of goal number
# GOAL of the table in README.md. LIMIT is what the figure, or with a floor its ratio to the floor's
# median, may be at most ("-": says nothing).
row() {
    local floor=${7:+$(median "$7")}
    awk -v goal="$1" -v what="$2" -v unit="$3" -v v="$(median "$4")" -v n="$(wc -l <"$4")" -v limit="$5" \
        -v floor="${6:-}" -v f="$floor" 'BEGIN {
        OFS = "\t"
        ratio = f > 0 ? v / f : ""
        got = ratio == "" ? v : ratio
        verdict = limit == "-" ? "" : got <= limit ? "met" : "missed"
        print goal, what, sprintf("%.4g", v), unit, n, floor, f == "" ? "" : sprintf("%.4g", f),
            ratio == "" ? "" : sprintf("%.2f", ratio), limit == "-" ? "" : limit, verdict }'
}

# skip GOAL WHAT WHY : a row without a figure.
skip() { printf '%s\t%s\t\t\t0\t%s\t\t\t\tskipped\n' "$@"; }

# has PROGRAM... : whether what a peer needs is installed.
has() { type -P "$@" >/dev/null; }

# bare_of VM : the array `bare` becomes the command line of the running VM without the sockets and
# files that vmctl has opened for it, and with "$work/overlay" for its disk. It gives up root.
bare_of() {
    local argv i overlay=$XDG_DATA_HOME/vmctl/vms/$1/overlay.qcow2
    mapfile -d '' -t argv <"/proc/$("$bin/vmctl" get "$1" -o json | jq .status.instance.pid)/cmdline"
    bare=()
    for ((i = 0; i < ${#argv[@]}; i++)); do
        case ${argv[i]} in
        -chardev | -mon | -serial | -vnc | -pidfile) i=$((i + 1)) ;;
        *) bare+=("${argv[i]/"$overlay"/"$work/overlay"}") ;;
        esac
        case ${argv[i]} in *,chardev=*) unset 'bare[-1]' 'bare[-1]' ;; esac
    done
    bare+=(-qmp stdio)
    chmod 711 "$work"
}
bare_overlay() { # [NUMBER]
    rm -f "$work/overlay${1:-}"
    qemu-img create -q -f qcow2 -b "$work/disk.qcow2" -F qcow2 "$work/overlay${1:-}"
    chmod 666 "$work/overlay${1:-}"
}
# bare_running STARTS ENDS : appends the milliseconds until its guest runs and until it is dead.
bare_running() {
    "$bin/measure" running "${bare[@]}" -vnc "unix:$work/vnc" >"$work/bare" 2>"$work/bare.log"
    cut -d' ' -f1 "$work/bare" >>"$1"
    cut -d' ' -f2 "$work/bare" >>"$2"
}

small_vm() { # NAME
    [ -e "$work/disk.qcow2" ] || qemu-img create -q -f qcow2 "$work/disk.qcow2" 64M
    printf 'vm "%s" { image "disk.qcow2"; memory 64; accel "tcg"; stop-timeout 0 }\n' "$1"
}

noop_file() { # COUNT FILE
    local i
    truncate -s 1M "$work/disk.img"
    for i in $(seq "$1"); do
        printf 'vm "vm%04d" { backend "noop"; image "disk.img"; provision "shell" { inline "true" } }\n' "$i"
    done >"$2"
}

controller() { "$bin/vmctl" controller status -o json | jq .pid; }
is_gone() { [ ! -e "/proc/$1" ] || grep -q '^State:.*Z' "/proc/$1/status"; }
proc_value() { awk -v key="$2:" '$1 == key { print $2 }' "/proc/$1/$3"; } # PID KEY FILE

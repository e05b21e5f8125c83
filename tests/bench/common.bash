# SPDX-License-Identifier: MPL-2.0
# What the benches share: a data directory of their own, and time taken around commands.
# shellcheck shell=bash
set -euo pipefail
bin=${VMCTL_BIN:?the directory of vmctl, vmctld and measure}
runs=${BENCH_RUNS:-20}
work=$(mktemp -d)
export XDG_DATA_HOME=$work/data

finish() {
    "$bin/vmctl" -q destroy --all >/dev/null 2>&1 || true
    "$bin/vmctl" controller stop >/dev/null 2>&1 || true
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

# figure WHAT FILE [FLOOR-FILE] : median, least and most; with a floor the ratio of the medians.
figure() {
    local what=$1 file=$2 floor=${3:-}
    sort -n "$file" -o "$file"
    awk -v what="$what" '{ v[NR] = $1 } END {
        printf "%s: median %.2f ms (%.2f - %.2f, n %d)", what, v[int((NR + 1) / 2)], v[1], v[NR], NR }' "$file"
    if [ -n "$floor" ]; then
        awk -v m="$(median "$file")" -v f="$(median "$floor")" 'BEGIN { printf "; floor %.2f ms, ratio %.2f", f, m / f }'
    fi
    echo
}

median() { sort -n "$1" | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }

# A QEMU as small as the benches' VMs, from its start until its guest runs, and out again.
bare_qemu() {
    echo '{"execute":"qmp_capabilities"}{"execute":"cont"}{"execute":"quit"}' |
        qemu-system-x86_64 -machine q35 -accel tcg -m 64 -nodefaults -display none -S -qmp stdio >/dev/null
}

noop_file() { # COUNT FILE
    local i
    truncate -s 1M "$work/disk.img"
    for i in $(seq "$1"); do
        printf 'vm "vm%04d" { backend "noop"; image "disk.img"; provision "shell" { inline "true" } }\n' "$i"
    done >"$2"
}

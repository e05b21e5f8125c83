#!/usr/bin/env bash
# SPDX-License-Identifier: MPL-2.0
# kill.sh [EVERY]: SIGKILL at the N-th call that changes something, for every N (or every EVERY-th):
# vmctld through a whole life of a VM (noop and QEMU backend), then vmctl in each of its commands. The
# world after each step must be that of the undisturbed run, no QEMU started twice, nothing left.
# TEST_JOBS at once. ONLY="vmctld noop 12" or "vmctl noop up 3" replays one and shows it.
set -u
here=$(cd "$(dirname "$0")" && pwd)
. "$here/scenario.bash"

# run_vmctld LIFE N
run_vmctld() {
    export FAULT_DO=kill FAULT_AT=$2 FAULT_TOKEN=$work/token
    local name
    for name in "${STEPS[@]}"; do
        with_fault vmctld step "$name" >"$work/out.$name" 2>&1 || { echo "step $name: exit $?"; cat "$work/out.$name"; }
        [ "$name" = down ] || world
    done
    unset FAULT_DO
}

# run_vmctl LIFE STEP N: killed, and then given again as its user would
run_vmctl() {
    local name
    for name in "${STEPS[@]}"; do
        if [ "$name" = "$2" ]; then
            FAULT_DO=kill FAULT_AT=$3 FAULT_TOKEN=$work/token with_fault vmctl step "$name" >"$work/out.killed" 2>&1
        fi
        step "$name" >"$work/out.$name" 2>&1 || { echo "step $name: exit $?"; cat "$work/out.$name"; }
        [ "$name" = down ] || world
    done
}

# one SERIES LIFE ARGUMENT... : a run in a directory of its own, compared; the first one is what
# the others are compared with
one() {
    local series=$1 life=$2 reference=$PARENT/reference.$2
    scratch "$(mktemp -d "$PARENT/run.XXXXXX")" "$life"
    "run_$@" 2>"$work/errors" | number_ids >"$work/world"
    finish >>"$work/world"
    [ "$life" != qemu ] || echo "launches $(wc -l <"$work/launches")" >>"$work/world"
    crashes >>"$work/world"
    if [ -e "$reference" ]; then
        compare "$work/world" "$reference" "$*"
    else
        cp "$work/world" "$reference"
    fi
    clean_up
}

# How many calls the program makes: the largest number in the log of a counting run.
count_vmctld() { # LIFE
    local name
    scratch "$(mktemp -d "$PARENT/run.XXXXXX")" "$1"
    export FAULT_DO=kill FAULT_AT=0 FAULT_LOG=$work/log
    for name in "${STEPS[@]}"; do with_fault vmctld step "$name" >/dev/null 2>&1; done
    unset FAULT_DO
    finish >/dev/null
    sort -n "$work/log" | tail -n 1 | cut -d' ' -f1
    clean_up
}

# A line "STEP N" for each.
count_vmctl() { # LIFE
    local name
    scratch "$(mktemp -d "$PARENT/run.XXXXXX")" "$1"
    for name in "${STEPS[@]}"; do
        FAULT_DO=kill FAULT_AT=0 FAULT_LOG=$work/log.$name with_fault vmctl step "$name" >/dev/null 2>&1
        echo "$name $(sort -n "$work/log.$name" | tail -n 1 | cut -d' ' -f1)"
    done
    finish >/dev/null
    clean_up
}

list_runs() { # EVERY
    local life name last n
    for life in $LIVES; do
        last=$(count_vmctld $life)
        for ((n = 1; n <= last; n += $1)); do echo "vmctld $life $n"; done
        while read -r name last; do
            for ((n = 1 + (${#name} % $1); n <= last; n += $1)); do echo "vmctl $life $name $n"; done
        done < <(count_vmctl $life)
    done
}

if [ "${1:-}" = --one ]; then
    shift
    one "$@"
    exit
fi
PARENT=$(scratch_parent)
export PARENT
trap 'rm -rf "$PARENT"' EXIT
for life in $LIVES; do
    one vmctl $life none 0
    ! grep -E '^step .*: exit|^launches 0' "$PARENT/reference.$life" && grep -q 'nothing lives' "$PARENT/reference.$life" ||
        { echo "the undisturbed run failed:"; cat "$PARENT/reference.$life"; exit 1; }
done
if [ -n "${ONLY:-}" ]; then echo "$ONLY"; else list_runs "${1:-1}"; fi >"$PARENT/runs"
run_all kill "$here/kill.sh"

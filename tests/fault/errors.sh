#!/usr/bin/env bash
# SPDX-License-Identifier: MPL-2.0
# errors.sh [EVERY]: the N-th call that can fail so fails with ENOSPC, EIO, EMFILE, ENOMEM or EAGAIN,
# for every N (or every EVERY-th): once, and for a disk that is full or broken from then on. A command
# may fail, with an error of ours and a status the manual knows; nothing crashes; when the fault is
# gone the same command succeeds, and the world is that of the undisturbed run.
# TEST_JOBS at once. ONLY="vmctld noop EIO once 12" replays one and shows it.
set -u
here=$(cd "$(dirname "$0")" && pwd)
# Not `warm`: where a template cannot be made, the image is taken instead, and that is no other error.
LIVES=${LIVES:-noop qemu watch disks volumes saved renamed project nets tunnel agent}
. "$here/scenario.bash"
ERRORS="ENOSPC EIO EMFILE ENOMEM EAGAIN"

# What has happened on the way is not what is compared: failures that were counted; trash, which is
# swept when the next vmctld starts; the reserve, which is kept aside again ten minutes after it was
# given up; that a recreation that failed, and was asked for again, may have kept two disks; whether a
# guest's clock was looked at after a resume; and whether the fault or the text was what kept a broken
# VMFile from being read when it was last looked at (it is looked at again every 30 s).
settled() {
    local kept='      \{(?:(?!\n      \}).)*"name": "recreated-[^"]*"(?:(?!\n      \}).)*\n      \}'
    sed '/^ *"clock": {$/,/^ *},\{0,1\}$/d' |
        perl -0777 -pe "1 while s/($kept),\n$kept/\$1/s; s/^(\S+\/snapshots\/ID\.qcow2 600\n)\1+/\$1/gm" |
        grep -vE '"(count|total|lastCause|lastMessage|lastExitStatus|lastFailedIid|notBefore|generation|observedGeneration|appliedGeneration)":|"message": "WORK/project/VMFile.kdl:' |
        grep -vE '#|^\./(trash/|reserve )'
}

# A failure must name its error and have a status of the table in vmctl(1).
check_failure() { # STATUS OUTPUT
    case $1 in
    1 | 4 | 5 | 6) ;;
    2) grep -q '^error\[vmctl::vmfile::not_found\]: cannot ' "$2" || { echo "exit 2"; cat "$2"; } ;;
    *) echo "exit $1"; cat "$2" ;;
    esac
    grep -q '^error\[vmctl::' "$2" || { echo "exit $1 without an error:"; cat "$2"; }
}

# run PROGRAM LIFE ERROR once|sticky N
run() {
    local name status
    export FAULT_DO=$3 FAULT_AT=$5 FAULT_TOKEN=$work/token
    [ "$4" = once ] || export FAULT_STICKY=1
    for name in "${STEPS[@]}"; do
        patience=3s
        with_fault "$1" step "$name" >"$work/out.$name" 2>&1
        status=$?
        if [ $status != 0 ]; then
            check_failure $status "$work/out.$name"
            : >"$work/token.over"
            patience=60s
            # A first failure may be told late, when its record could not be written at the time.
            step "$name" >"$work/out.$name.2" 2>&1 || step "$name" >"$work/out.$name.3" 2>&1 ||
                { echo "$name, again: exit $?"; cat "$work/out.$name" "$work/out.$name".[23]; }
        fi
        [ ! -e "$work/token" ] || : >"$work/token.over" # what is left to be done is done by itself
        [ "$name" = down ] || world
    done
    unset FAULT_DO FAULT_STICKY
}

one() {
    local reference=$PARENT/reference.$2
    scratch "$(mktemp -d "$PARENT/run.XXXXXX")" "$2"
    run "$@" 2>"$work/errors" | number_ids | settled >"$work/world"
    finish >>"$work/world"
    crashes >>"$work/world"
    if [ -e "$reference" ]; then
        compare "$work/world" "$reference" "$*"
    else
        cp "$work/world" "$reference"
    fi
    clean_up
}

# How many calls of a process this error can befall.
count() { # PROGRAM LIFE ERROR
    local name
    scratch "$(mktemp -d "$PARENT/run.XXXXXX")" "$2"
    export FAULT_DO=$3 FAULT_AT=0 FAULT_LOG=$work/log
    for name in "${STEPS[@]}"; do with_fault "$1" step "$name" >/dev/null 2>&1; done
    unset FAULT_DO
    finish >/dev/null
    sort -n "$work/log" 2>/dev/null | tail -n 1 | cut -d' ' -f1
    clean_up
}

list_runs() { # EVERY
    local life program error last n offset=0
    for life in $LIVES; do
        for program in vmctld vmctl; do
            for error in $ERRORS; do
                last=$(count $program $life $error)
                offset=$(((offset + 1) % $1)) # not the same calls for each
                for ((n = 1 + offset; n <= ${last:-0}; n += $1)); do
                    echo "$program $life $error once $n"
                    case $error in ENOSPC | EIO) echo "$program $life $error sticky $n" ;; esac
                done
            done
        done
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
    one none $life none once 0
    ! grep -qE '^exit|again: exit' "$PARENT/reference.$life" && grep -q 'nothing lives' "$PARENT/reference.$life" ||
        { echo "the undisturbed run failed:"; cat "$PARENT/reference.$life"; exit 1; }
done
if [ -n "${ONLY:-}" ]; then echo "$ONLY"; else list_runs "${1:-1}"; fi >"$PARENT/runs"
run_all errors "$here/errors.sh"

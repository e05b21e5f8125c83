#!/usr/bin/env bash
# SPDX-License-Identifier: MPL-2.0
# chaos.sh [KILLS [BACKEND]]: ten VMs are brought up, changed, stopped and destroyed without a pause
# while vmctld is killed with SIGKILL at random moments, KILLS times. No guest that nobody wanted
# stopped may get another process, and nothing may be left at the end. BACKEND: qemu (with
# tests/support/fakeqemu.c in QEMU's place), nets (the same on two project networks, whose switches
# are killed, too) or noop. CHAOS_SEED=N repeats a run's choices.
set -u
here=$(cd "$(dirname "$0")" && pwd)
. "$here/scenario.bash"
kills=${1:-1000} backend=${2:-qemu}
seed=${CHAOS_SEED:-$$}
N_VMS=10
RANDOM=$seed
failures=0

fail() {
    failures=$((failures + 1))
    echo "FAILED (CHAOS_SEED=$seed): $*"
}

pause() { read -rt "$1" <> <(:) || :; }

# The five even ones live through all of it and are never asked to stop; the odd ones come and go.
write_project() { # MEMORY
    local i more='network "none"; accel "tcg"'
    case $backend in
    noop) more='backend "noop"' ;;
    nets) more='network "project"; network "project" name="back"; accel "tcg"' ;;
    esac
    for ((i = 0; i < N_VMS; i++)); do
        printf 'vm "vm%d" { image "%s"; memory %d; %s; }\n' $i "$work/image" $((i % 2 ? $1 : 512)) "$more"
    done >VMFile.new
    mv VMFile.new VMFile.kdl
}

# A command may lose its controller and fail for that; what it asked for stays asked for.
churn() {
    local vm memory
    while [ -e "$work/go" ]; do
        vm=vm$((RANDOM % (N_VMS / 2) * 2 + 1))
        memory=$((256 + RANDOM % 4 * 128))
        case $((RANDOM % 6)) in
        0) vmctl destroy "$vm" -q --timeout 20s ;;
        1) vmctl stop "$vm" -q --timeout 20s ;;
        2) write_project $memory; vmctl up -q --restart --timeout 20s ;;
        3) vmctl up -q --name "$vm" --timeout 20s ;;
        4) vmctl restart "$vm" -q --timeout 20s ;;
        5) vmctl up -q -d ;;
        esac >>"$work/out.churn" 2>&1
    done
}

controller_pid() { vmctl controller status -o json 2>/dev/null | sed -n 's/.*"pid": \([0-9]*\).*/\1/p'; }

switches() { find /proc/[0-9]*/cwd -lname "$data/networks/*" 2>/dev/null | cut -d/ -f3; }
kill_a_switch() {
    local pids
    mapfile -t pids < <(switches)
    [ ${#pids[@]} = 0 ] || kill -9 "${pids[RANDOM % ${#pids[@]}]}" 2>/dev/null
}

# One that is just starting is hit as well as one at work.
kill_controllers() {
    local n=0 pid
    while [ $n -lt "$kills" ] && [ -e "$work/go" ]; do
        pid=$(controller_pid)
        if [ -n "$pid" ]; then
            pause "0.$((RANDOM % 2))$((RANDOM % 10))$((RANDOM % 10))"
            kill -9 "$pid" 2>/dev/null && n=$((n + 1))
            [ "$backend" != nets ] || [ $((RANDOM % 2)) = 0 ] || kill_a_switch
        fi
        vmctl controller start >>"$work/out.start" 2>&1
    done
    echo $n >"$work/killed"
}

# "vm0 IID": which instance each of those has that nobody may have restarted
steady() {
    local i
    for ((i = 0; i < N_VMS; i += 2)); do
        vmctl status vm$i -o json | sed -nE "s/.*\"(iid|count)\": (.*)/vm$i \1 \2/p"
    done
}

# For QEMU the process itself, whatever the records say.
lives() { processes | grep -E 'fakeqemu -name guest=vm[02468],' | cut -d' ' -f1 | sort; }

scratch "$(scratch_parent)/chaos" "$backend"
trap clean_up EXIT
write_project 512
vmctl up -q >"$work/out.up" 2>&1 || { cat "$work/out.up"; fail "the first up"; }
steady >"$work/before"
lives >"$work/lives.before"
: >"$work/go"
churn &
churner=$!
kill_controllers
rm "$work/go"
wait "$churner"
killed=$(<"$work/killed")
[ "$killed" = "$kills" ] || fail "only $killed of $kills kills"

write_project 512
vmctl up -q --restart --timeout 120s >"$work/out.end" 2>&1 || { fail "the last up"; cat "$work/out.end"; }
steady >"$work/after"
lives >"$work/lives.after"
[ "$(wc -l <"$work/before")" -ge $N_VMS ] || fail "no instances to compare"
diff "$work/before" "$work/after" || fail "a guest was restarted"
diff "$work/lives.before" "$work/lives.after" || fail "a QEMU was replaced"
vmctl list | grep -vE '^NAME|Ready' && fail "not all are ready"
vmctl down -q --destroy --timeout 120s >"$work/out.down" 2>&1 || { fail "the last down"; cat "$work/out.down"; }
[ -z "$(dump "$data")" ] || { fail "records or leases are left:"; dump "$data"; }
[ -z "$(ls -A "$data/vms" "$data/trash" 2>/dev/null | grep -v ':$' | grep .)" ] || { fail "files are left:"; find "$data/vms" "$data/trash"; }
left=$(finish)
[ "$left" = "end: nothing lives" ] || fail "processes are left: $left"
crashes && fail "a crash"
[ $failures = 0 ] || tail -n 40 "$data/controller.log"
echo "chaos: $killed kills of vmctld over $N_VMS VMs ($backend, seed $seed), $failures failures"
[ $failures = 0 ]

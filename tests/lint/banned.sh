#!/usr/bin/env bash
# SPDX-License-Identifier: MPL-2.0
# Functions and words that have no place here, each with the reason.
set -u
cd "${1:-.}" || exit 2
failed=0
ban() {
    local pattern=$1 reason=$2 where=${3:-"specs store controller reconcilers cli"}
    # shellcheck disable=SC2086
    if grep -rnE --include='*.[ch]' "$pattern" $where | grep -vE '^[^:]+:[0-9]+: *(/\*|\*)'; then
        echo "    ^ $reason"
        failed=1
    fi
}
ban '\b(strcpy|sprintf|gets|strtok|alloca)\(' 'writes without a limit'
ban '\bsystem\(|\bpopen\(' 'goes through a shell: use controller/loop/child.h'
ban '\bsleep\(|\busleep\(' 'blocks: use a timer'
ban 'kill\([a-z_>.-]+, 0\)' 'a zombie counts as alive: use a pidfd'
ban '\b(TODO|FIXME|XXX)\b' 'finish it or leave it out'
ban '\bexit\(' 'only main may end the process' "specs store controller/[a-l]*.c controller/[n-z]*.c reconcilers"
ban 'ev_default_loop|EV_DEFAULT' "libev's default loop reaps every child"
ban '\b(sleep|usleep)\(' 'tests wait for conditions' "tests/unit tests/sim"
if grep -rnE --include='*.bats' '^[[:space:]]+! ' tests; then
    echo "    ^ never fails a test: refute COMMAND, or run !"
    failed=1
fi
exit $failed

# SPDX-License-Identifier: MPL-2.0
# What all tests of the built programs share. VMCTL_BIN: where vmctl and vmctld are [default:
# build/bin of the source tree].

PATH=${VMCTL_BIN:-$(dirname "${BASH_SOURCE[0]}")/../../build/bin}:$PATH

# await [SECONDS] COMMAND... : until the command succeeds [default: for a minute], or fails the test
await() {
    local deadline=$((SECONDS + 60))
    if [[ $1 =~ ^[0-9]+$ ]]; then
        deadline=$((SECONDS + $1))
        shift
    fi
    until "$@"; do
        ((SECONDS < deadline)) || { echo "never: $*"; return 1; }
        read -rt 0.05 <> <(:) || :
    done
}

# fails STATUS COMMAND... : it ends with this status
fails() {
    local wanted=$1
    shift
    run "$@"
    echo "$output"
    [ "$status" -eq "$wanted" ] || { echo "status $status instead of $wanted: $*"; return 1; }
}

# refute COMMAND... : it fails. `! COMMAND` would not fail a test (bats, "Gotchas").
refute() {
    if "$@"; then echo "succeeded: $*"; return 1; fi
}

# has LINE : the output of `run` has exactly this line
has() {
    grep -Fxq -- "$1" <<<"$output" || { echo "no line '$1' in:"; echo "$output"; return 1; }
}

# says TEXT... : the output of `run` has all of these
says() {
    local text
    for text; do
        [[ $output == *"$text"* ]] || { echo "no '$text' in:"; echo "$output"; return 1; }
    done
}

# The controller's pid; nothing before it has told it, which is a moment after it holds its lock.
controller_pid() { vmctl controller status -o json | jq -r '.pid // empty'; }
knows_controller() { [ -n "$(controller_pid)" ]; }

# kill_hard PID... : kill -9, and wait for their ends, whoever reaps them: a zombie counts as gone
# when none of its threads is left, which would hold its files open and with them its locks.
kill_hard() {
    local pid
    kill -9 "$@"
    for pid; do await has_ended "$pid"; done
}
has_ended() { ! grep -hs '^State:' "/proc/$1"/task/*/status | grep -qv '[ZX] ('; }

# kill_controller [PID...] : and these. While it is on its way out, vmctl takes it for alive.
kill_controller() { kill_hard "$(controller_pid)" "$@"; }
